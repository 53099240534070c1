"""`channels`: input channels are summed, and each kernel makes one output channel.

Letters: C input channels, O output channels, (H, W) input, (kh, kw) kernel, (OH, OW) output.
"""

from typing import TYPE_CHECKING

import numpy as np

from cnncli.errors import UsageError
from cnncli.layers import format_shape
from cnncli.lessons.notation import format_number, format_sum, grid, sum_of_products
from cnncli.lessons.numbers import K, X, read_tensor
from cnncli.lessons.options import DilationOption, InputOption, KernelOption, PaddingOption, StrideOption
from cnncli.lessons.page import (
    Block,
    Figures,
    Formula,
    Grid,
    Heading,
    Heatmap,
    Operator,
    Page,
    Paragraph,
    Step,
    Table,
    TryNext,
)
from cnncli.lessons.sliding_window import SlidingWindow, input_with_window, matrix

if TYPE_CHECKING:
    from torch import Tensor

X_TWO = np.stack([X, X + 1])
"""Two input channels, (2, 3, 3)."""
K_TWO = np.stack([K, K + 1])
"""A kernel for two input channels, (2, 2, 2)."""
K_THREE = np.stack([K_TWO, K_TWO + 1, K_TWO + 2])
"""Three such kernels, (3, 2, 2, 2)."""


def channels(
    input_: InputOption = None,
    kernel: KernelOption = None,
    stride: StrideOption = "1",
    padding: PaddingOption = "0",
    dilation: DilationOption = "1",
) -> Page:
    """Input channels are summed; each kernel makes one output channel.

    Examples:

      cnncli explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'
    """
    x, kernels, window = read_layer(input_, kernel, stride, padding, dilation)
    return Page(
        "Channels: several in, several out",
        (
            Paragraph(
                "A color image has three channels, and the input of a layer inside a network may have hundreds. The "
                "kernel then has one slice for each input channel. Each slice is cross-correlated with its own channel,"
                " and the results are added:"
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
                (
                    "explain channels --input '[[[1,2]],[[3,4]]]' --kernel '[[[1]],[[10]]]'",
                    "explain kernel lenet5",
                    "explain 1x1",
                )
            ),
        ),
    )


def read_layer(
    input_: str | None, kernel: str | None, stride: str, padding: str, dilation: str
) -> "tuple[Tensor, Tensor, SlidingWindow]":
    """An input (C, H, W), kernels (O, C, kh, kw) and how they slide, as options give them.

    A kernel (C, kh, kw) counts as one of several. By default the numbers are those of the lecture; for an input with
    another number of channels, two kernels are counted up from 0.

    Raises:
        UsageError: an option cannot be read, the numbers of channels differ, or the kernels do not fit.
    """
    x = read_tensor(input_, "--input", (3,), X_TWO)
    counted = np.arange(len(x) * K.size, dtype=np.float64).reshape(len(x), *K.shape)
    kernels = read_tensor(
        kernel, "--kernel", (3, 4), K_THREE if len(x) == len(X_TWO) else np.stack([counted, counted + 1])
    )
    if kernels.ndim == 3:
        kernels = kernels[None]
    if kernels.shape[1] != len(x):
        raise UsageError(
            f"the input has {len(x)} channels, but each kernel has {kernels.shape[1]} slices",
            remedy="give --kernel one slice for each channel of --input",
        )
    window = SlidingWindow.read(kernels.shape[2:], stride, padding, dilation)
    window.check_fits(x.shape[1:])
    return x, kernels, window


def _input_channels(x: "Tensor", kernel: "Tensor", window: SlidingWindow) -> list[Block]:
    """The first window in each channel, then all windows."""
    from cnncli.lessons.reference import corr2d, corr2d_multi_in

    blocks: list[Block] = []
    sums = []
    maps: list[Grid | Heatmap | Operator] = []
    for c, (channel, slice_) in enumerate(zip(x, kernel, strict=True)):
        first = window.positions(channel)[0]
        products = first.products(slice_)
        sums.append(products.sum().item())
        figures = (
            input_with_window(channel, first, window, f"channel {c}"),
            Operator("*"),
            grid(slice_, f"slice {c}"),
            Operator("="),
            grid(products, "products"),
        )
        formula = sum_of_products(first.patch, slice_, sums[-1])
        blocks.append(Step(f"first window, channel {c}", (Figures(figures), formula)))
        maps += [Operator("+" if c else ""), matrix(corr2d(channel, slice_, **window.settings), f"channel {c}")]
    total = Formula(f"{format_sum(sums)} = {format_number(sum(sums))}")
    output = matrix(corr2d_multi_in(x, kernel, **window.settings), "output")
    return [
        *blocks,
        Step("first window, sum over the channels", (total,)),
        Step("all windows", (Figures((*maps[1:], Operator("="), output)),)),
    ]


def _output_channels(x: "Tensor", kernels: "Tensor", window: SlidingWindow) -> list[Block]:
    """Each kernel with its slices, and the output channel it makes."""
    from cnncli.lessons.reference import corr2d_multi_in_out

    outputs = corr2d_multi_in_out(x, kernels, **window.settings)
    return [
        Step(f"kernel {o}", (Figures((*slices(kernel), Operator("->"), matrix(output, f"output channel {o}"))),))
        for o, (kernel, output) in enumerate(zip(kernels, outputs, strict=True))
    ]


def slices(kernel: "Tensor") -> list[Grid]:
    """The slices of a kernel (C, kh, kw)."""
    return [grid(slice_, f"slice {c}") for c, slice_ in enumerate(kernel)]


def _shapes(x: "Tensor", kernels: "Tensor", window: SlidingWindow) -> Table:
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
