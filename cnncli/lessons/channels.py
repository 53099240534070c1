"""`channels`: input channels are summed, and each kernel makes one output channel.

Letters: C input channels, O output channels, (H, W) input, (kh, kw) kernel, (OH, OW) output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers import format_shape
from cnncli.lessons.notation import format_number, format_sum, grid, sum_of_products
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Heatmap, Page, Paragraph, Step, Table, TryNext
from cnncli.lessons.sliding_window import SlidingWindow, input_with_window, matrix
from cnncli.lessons.topic import LayerTopic

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Channels(LayerTopic):
    """Input channels are summed; each kernel makes one output channel.

    Examples:

      cnncli explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'
    """

    name = "channels"

    def page(self) -> Page:
        x, kernels, window = self.read()
        return Page(
            "Channels: several in, several out",
            Paragraph(
                "A color image has three channels, and the input of a layer inside a network may have hundreds. The "
                "kernel then has one slice for each input channel. Each slice is cross-correlated with its own "
                "channel, and the results are added:"
            ),
            *_input_channels(x, kernels[0], window),
            Heading("Several output channels"),
            Paragraph(
                "Whatever the number of input channels, one kernel makes one output channel. A layer with several "
                "output channels has several kernels, each as deep as the input, and stacks their outputs:"
            ),
            *_output_channels(x, kernels, window),
            Heading("The shapes"),
            Paragraph(
                "C is the number of input channels, O the number of output channels. H and W are height and width of "
                "the input, kh and kw those of a kernel, OH and OW those of the output."
            ),
            _shapes(x, kernels, window),
            TryNext(
                "explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'",
                "explain kernel lenet5",
                "explain 1x1",
            ),
        )


def _input_channels(x: Tensor, kernel: Tensor, window: SlidingWindow) -> list[Block]:
    """The first window in each channel, then all windows."""
    from cnncli.lessons.reference import corr2d_multi_in

    blocks: list[Block] = []
    sums = []
    maps: list[Grid | Heatmap | str] = []
    for c, (channel, slice_) in enumerate(zip(x, kernel, strict=True)):
        first = window.positions(channel)[0]
        products = first.products(slice_)
        sums.append(products.sum().item())
        figures = (
            input_with_window(channel, first, window, f"channel {c}"),
            "*",
            grid(slice_, f"slice {c}"),
            "=",
            grid(products, "products"),
        )
        formula = sum_of_products(first.patch, slice_, sums[-1])
        blocks.append(Step(f"first window, channel {c}", Figures(*figures), formula))
        maps += ["+" if c else "", matrix(window.correlate(channel, slice_), f"channel {c}")]
    total = Formula(f"{format_sum(sums)} = {format_number(sum(sums))}")
    output = matrix(corr2d_multi_in(x, kernel, **window.settings), "output")
    return [
        *blocks,
        Step("first window, sum over the channels", total),
        Step("all windows", Figures(*maps[1:], "=", output)),
    ]


def _output_channels(x: Tensor, kernels: Tensor, window: SlidingWindow) -> list[Block]:
    """Each kernel with its slices and its output channel."""
    from cnncli.lessons.reference import corr2d_multi_in_out

    outputs = corr2d_multi_in_out(x, kernels, **window.settings)
    return [
        Step(f"kernel {o}", Figures(*slices(kernel), "->", matrix(output, f"output channel {o}")))
        for o, (kernel, output) in enumerate(zip(kernels, outputs, strict=True))
    ]


def slices(kernel: Tensor) -> list[Grid]:
    """The slices of a kernel (C, kh, kw)."""
    return [grid(slice_, f"slice {c}") for c, slice_ in enumerate(kernel)]


def _shapes(x: Tensor, kernels: Tensor, window: SlidingWindow) -> Table:
    size = window.output_size(x.shape[1:])
    rows = (
        ("input", "C x H x W", format_shape(tuple(x.shape))),
        ("one kernel: a slice for each channel", "C x kh x kw", format_shape(tuple(kernels.shape[1:]))),
        ("the result for each slice", "C x OH x OW", format_shape((len(x), *size))),
        ("their sum: one output channel", "OH x OW", format_shape(size)),
        ("all kernels", "O x C x kh x kw", format_shape(tuple(kernels.shape))),
        ("output: a channel for each kernel", "O x OH x OW", format_shape((len(kernels), *size))),
    )
    return Table(("", "letters", "shape"), rows, text_columns=frozenset({1}))
