"""`padding`, `stride` and `dilation`: how the window slides, the output sizes, and how often each pixel is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers import format_size
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Pair, Paragraph, Table, TryNext
from cnncli.lessons.sliding_window import (
    SlidingWindow,
    correlation_steps,
    equation,
    index_formula,
    legend,
    matrix,
    size_formula,
)
from cnncli.lessons.topic import DilationOption, OperationTopic, PaddingOption, StrideOption
from cnncli.windows import AxisReceptiveField, Sliding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Padding(OperationTopic):
    """A border of zeros: sizes before and after, and what the border loses without it.

    Examples:

      cnncli explain padding --padding 2
    """

    name = "padding"

    padding: PaddingOption = "1"

    def page(self) -> Page:
        x, k, window = self.read()
        without = SlidingWindow(window.size, stride=window.stride, dilation=window.dilation)
        return Page(
            "Padding: a border of zeros",
            Paragraph(
                "The window must stay inside the input. So without padding the output is smaller than the input, and "
                "pixels at the border are read less often than those in the middle. A border of zeros around the input "
                "gives the window more positions."
            ),
            *_example(x, k, window, {"without padding": without, _setting("padding", window.padding): window}),
            Heading("What the border loses"),
            Paragraph("Each number says how many windows read the pixel:"),
            _readings(x, {"without padding": without, "with padding": window}),
            Paragraph("The loss grows from layer to layer. A 28x28 image through five layers with 3x3 kernels:"),
            _five_layers(),
            Paragraph(
                'For an odd kernel, padding (kernel - 1) / 2 keeps the size. Configs call that "padding: same". It has '
                "a price: outputs at the border are partly computed from zeros, which are not in the image."
            ),
            TryNext("explain padding --padding 2", "explain stride", "explain receptive-field vgg-fashion"),
        )


@dataclass(frozen=True, kw_only=True)
class Stride(OperationTopic):
    """Larger steps: sizes before and after, and which pixels are never read.

    Examples:

      cnncli explain stride --stride 2 --padding 0
    """

    name = "stride"

    stride: StrideOption = "3,2"
    padding: PaddingOption = "1"

    def page(self) -> Page:
        x, k, window = self.read()
        compared = {
            "stride 1": SlidingWindow(window.size, padding=window.padding, dilation=window.dilation),
            _setting("stride", window.stride): window,
        }
        return Page(
            "Stride: the window takes larger steps",
            Paragraph(
                "With stride s the window moves s pixels at a time, so the output has about 1/s of the rows and "
                "columns. A stride makes feature maps smaller without a pooling layer."
            ),
            *_example(x, k, window, compared),
            Heading("Which pixels are never read"),
            Paragraph(
                "The division is rounded down: a last step that does not fit is left out, and the pixels after the "
                "last window are never read. A stride larger than the kernel also skips pixels between the windows. "
                "Each number says how many windows read the pixel:"
            ),
            _readings(x, compared),
            _unread_column(),
            TryNext("explain stride --stride 2 --padding 0", "explain pooling", "explain receptive-field resnet-mnist"),
        )


@dataclass(frozen=True, kw_only=True)
class Dilation(OperationTopic):
    """A kernel with gaps: a larger window with the same number of weights.

    Examples:

      cnncli explain dilation --padding 1
    """

    name = "dilation"

    dilation: DilationOption = "2"

    def page(self) -> Page:
        x, k, window = self.read()
        compared = {
            "dilation 1": SlidingWindow(window.size, stride=window.stride, padding=window.padding),
            _setting("dilation", window.dilation): window,
        }
        span = format_size(axis.span for axis in window.axes)
        return Page(
            "Dilation: a kernel with gaps",
            Paragraph(
                "With dilation d the weights of the kernel are d pixels apart. The window gets larger, and the number "
                f"of weights stays the same: here {format_size(window.size)} weights span {span} pixels."
            ),
            *_example(x, k, window, compared),
            Heading("What the border loses"),
            Paragraph("A larger window has fewer positions. Each number says how many windows read the pixel:"),
            _readings(x, compared),
            Heading("A large receptive field with few layers"),
            *_receptive_fields(),
            TryNext("explain dilation --padding 1", "explain receptive-field dilated", "inspect dilated"),
        )


def _setting(name: str, pair: Pair) -> str:
    """`padding 1`, or `stride 3 down, 2 across`."""
    return f"{name} {pair[0]}" if pair[0] == pair[1] else f"{name} {pair[0]} down, {pair[1]} across"


def _example(x: Tensor, kernel: Tensor, window: SlidingWindow, compared: Mapping[str, SlidingWindow]) -> list[Block]:
    """The operation step by step, and the output size with and without the setting."""
    result = window.correlate(x, kernel)
    sizes = {name: each.output_size(x.shape) for name, each in compared.items()}
    rows = tuple(
        (name, format_size(x.shape), format_size(size) if min(size) > 0 else "does not fit")
        for name, size in sizes.items()
    )
    return [
        index_formula(window),
        legend(window),
        *correlation_steps(x, kernel, window, result),
        equation(x, kernel, result, window),
        Heading("Sizes before and after"),
        Table(("", "input", "output"), rows),
        *size_formula(x.shape, window),
    ]


def _readings(x: Tensor, compared: Mapping[str, SlidingWindow]) -> Figures:
    """How many windows read each pixel, for every window that fits."""
    from cnncli.inspection.units import reads_per_pixel

    height, width = x.shape
    return Figures(
        *(
            matrix(x.new_tensor(reads_per_pixel(window.axes, (height, width))), name)
            for name, window in compared.items()
            if min(window.output_size(x.shape)) > 0
        )
    )


def _five_layers() -> Table:
    """Output sizes of five 3x3 layers with and without padding."""
    rows = []
    for name, pad in (("without padding", 0), ("with padding 1", 1)):
        sides = [28]
        for _ in range(5):
            sides.append(Sliding(kernel=3, before=pad, after=pad).output_size(sides[-1]))
        rows.append((name, *(format_size((side, side)) for side in sides), f"{sides[-1] ** 2 / sides[0] ** 2:.0%}"))
    return Table(("", "input", *(f"layer {i}" for i in range(1, 6)), "kept"), tuple(rows))


def _unread_column() -> Paragraph:
    """The border that a common layer never reads."""
    axis = Sliding(kernel=3, stride=2)
    units = axis.output_size(28)
    last = max(axis.reads(units - 1, 28))
    return Paragraph(
        f"Example: a 3x3 kernel with stride 2 and no padding has {units} positions along 28 columns. The last one ends "
        f"at column {last}, so column 27 is never read."
    )


def _receptive_fields() -> list[Block]:
    """Three 3x3 layers with growing dilation, and with a constant one, which leaves gaps."""
    rows = []
    for dilations in ((1, 1, 1), (1, 2, 4), (2, 2, 2)):
        receptive_field, sizes = AxisReceptiveField.of_input(33), []
        for each in dilations:
            receptive_field = receptive_field.through(Sliding(kernel=3, dilation=each))
            assert receptive_field.closed_form is not None, "a convolution has a closed form"
            sizes.append(receptive_field.closed_form.size)
        used = receptive_field.masks[0].bit_count()
        rows.append((_join(dilations), _join(sizes), f"{used} of {sizes[-1]}"))
    return [
        Paragraph("The receptive field (RF) of three stacked 3x3 convolutions, in pixels per axis:"),
        Table(("dilations", "RF after each", "pixels used"), tuple(rows)),
        Formula("RF grows by dilation x (kernel - 1): 3 + 2x2 + 4x2 = 15"),
        Paragraph(
            "With a constant dilation of 2, the weights of all layers fall on every second pixel. The others are never "
            "used."
        ),
    ]


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
