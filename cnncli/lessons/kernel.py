"""`kernel`: the weights and biases of a layer, how many there are, and what decides that."""

import torch

from cnncli.config.config import Config
from cnncli.layers import format_shape
from cnncli.lessons.channels import layer_numbers, slices
from cnncli.lessons.notation import by, grid, number, operand
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Page, Picture, Prose, Sign, Step, Table, TryNext
from cnncli.lessons.page import Values as Numbers
from cnncli.lessons.reference import corr2d_multi_in_out
from cnncli.lessons.walk import Sweep, in_full


def kernel(x: Numbers | None, kernels: Numbers | None, sweep: Sweep, config: Config) -> Page:
    """The page about the kernels of a layer, for an input (C, H, W), kernels (O, C, kh, kw), and a config's layers."""
    x_, kernels_ = layer_numbers(x, kernels, sweep)
    out_channels, in_channels, kh, kw = kernels_.shape
    biases = torch.arange(1, out_channels + 1, dtype=x_.dtype)
    maps = corr2d_multi_in_out(x_, kernels_, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    weights = kernels_.numel()
    return Page(
        "Kernels: what a layer learns",
        (
            Prose(
                "A convolutional layer has out_channels kernels. Each has in_channels slices, one for each channel of "
                "its input, and a single bias that is added everywhere. Each kernel makes one feature map. So "
                f"out_channels says how many kernels and feature maps there are ({out_channels} here), and in_channels "
                f"only how deep each kernel is ({in_channels} here)."
            ),
            *(
                _one_map(o, slices(one), bias, in_full(map_ + bias, f"feature map {o}"), map_[0, 0].item())
                for o, (one, bias, map_) in enumerate(zip(kernels_, biases.tolist(), maps, strict=True))
            ),
            Heading("How many numbers is that?"),
            Formula(
                f"weights: out_channels x in_channels x {by((kh, kw))} = "
                f"{format_shape((out_channels, in_channels, kh, kw))} = {weights}"
            ),
            Formula(f"biases: out_channels = {out_channels}"),
            Formula(f"parameters: {weights} + {out_channels} = {weights + out_channels}"),
            Prose("The size of the input does not come into it: the same kernels slide over small and large pictures."),
            Heading(f"The kernels of {config.name}"),
            _table(config),
            TryNext(
                (
                    "explain kernel quickstart",
                    "inspect lenet5",
                    "explain channels",
                    "explain learn-kernel",
                )
            ),
        ),
    )


def _one_map(o: int, slices_: list[Grid], bias: float, feature_map: Grid | Picture, first: float) -> Block:
    figures = Figures((*slices_, Sign("+"), grid(torch.tensor([[bias]]), "bias"), Sign("->"), feature_map))
    added = Formula(f"first number: {operand(number(first))} + {operand(number(bias))} = {number(first + bias)}")
    return Step(f"kernel {o}", (figures, added))


def _table(config: Config) -> Table:
    """Every convolution of a config: its kernels, and the numbers in them."""
    rows = []
    for node in config.network.nodes:
        if (kernels := node.description.kernels) is not None:
            rows.append(
                (
                    node.name,
                    str(kernels.count),
                    str(kernels.depth),
                    by((kernels.height, kernels.width)),
                    f"{kernels.weights:,}",
                    str(kernels.biases),
                    format_shape(node.shape),
                )
            )
    return Table(("layer", "kernels", "depth", "size", "weights", "biases", "feature maps"), tuple(rows))
