"""`kernel`: the weights and biases of a layer, how many there are, and what determines their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers import format_shape, format_size
from cnncli.lessons.channels import slices
from cnncli.lessons.notation import format_number, grid, operand
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Paragraph, Step, Table, TryNext
from cnncli.lessons.sliding_window import SlidingWindow, matrix
from cnncli.lessons.topic import LayerTopic
from cnncli.options import DATA_DIR, ConfigArgument, DataDirOption

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.config import Config


@dataclass(frozen=True, kw_only=True)
class Kernels(LayerTopic):
    """The weights and biases of a layer: how many kernels, and how deep.

    Examples:

      cnncli explain kernel quickstart
    """

    name = "kernel"

    config: ConfigArgument = "lenet5"
    data_dir: DataDirOption = DATA_DIR

    def page(self) -> Page:
        from cnncli.config.config import read_config

        network = read_config(self.config, data_dir=self.data_dir)
        x, kernels, window = self.read()
        out_channels, in_channels, kh, kw = kernels.shape
        weights = kernels.numel()
        return Page(
            "Kernels: what a layer learns",
            Paragraph(
                "A convolutional layer has out_channels kernels. Each kernel has in_channels slices, one for each "
                "input channel, and one bias, which is added to every number of its output. Each kernel makes one "
                f"feature map. So out_channels is the number of kernels and of feature maps (here {out_channels}), and "
                f"in_channels is only the depth of each kernel (here {in_channels})."
            ),
            *_feature_maps(x, kernels, window),
            Heading("How many parameters?"),
            Formula(
                f"weights: out_channels x in_channels x {format_size((kh, kw))} = "
                f"{format_shape((out_channels, in_channels, kh, kw))} = {weights}"
            ),
            Formula(f"biases: out_channels = {out_channels}"),
            Formula(f"parameters: {weights} + {out_channels} = {weights + out_channels}"),
            Paragraph("The size of the input does not matter: the same kernels slide over small and large images."),
            Heading(f"The kernels of {network.name}"),
            _table(network),
            TryNext("explain kernel quickstart", "inspect lenet5", "explain channels", "explain learn-kernel"),
        )


def _feature_maps(x: Tensor, kernels: Tensor, window: SlidingWindow) -> list[Block]:
    """Each kernel with its slices, its bias (1, 2, 3, ...) and its feature map."""
    from cnncli.lessons.reference import corr2d_multi_in_out

    steps: list[Block] = []
    maps = corr2d_multi_in_out(x, kernels, **window.settings)
    for o, (kernel, without_bias) in enumerate(zip(kernels, maps, strict=True)):
        bias = o + 1
        first = without_bias[0, 0].item()
        figures = (
            *slices(kernel),
            "+",
            grid(x.new_full((1, 1), bias), "bias"),
            "->",
            matrix(without_bias + bias, f"feature map {o}"),
        )
        formula = Formula(f"first number: {operand(format_number(first))} + {bias} = {format_number(first + bias)}")
        steps.append(Step(f"kernel {o}", Figures(*figures), formula))
    return steps


def _table(config: Config) -> Table:
    """The convolutions of a config: their kernels and parameters."""
    rows = []
    for node in config.network.nodes:
        if (kernels := node.description.kernels) is not None:
            rows.append(
                (
                    node.name,
                    str(kernels.count),
                    str(kernels.depth),
                    format_size((kernels.height, kernels.width)),
                    f"{kernels.weights:,}",
                    str(kernels.biases),
                    format_shape(node.shape),
                )
            )
    return Table(("layer", "kernels", "depth", "size", "weights", "biases", "feature maps"), tuple(rows))
