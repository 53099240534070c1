"""`pooling`: one number for each window of each channel, and what that means for small shifts.

Letters: C channels, (H, W) input, (kh, kw) window, (OH, OW) output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.errors import UsageError
from cnncli.layers import format_size
from cnncli.lessons.notation import format_number, operand
from cnncli.lessons.numbers import X, read_pair, read_tensor
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Pair, Paragraph, Step, TryNext
from cnncli.lessons.sliding_window import (
    SlidingWindow,
    input_with_window,
    matrix,
    output_so_far,
    size_formula,
    window_steps,
)
from cnncli.lessons.topic import InputOption, PaddingOption, StrideOption, Topic

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.lessons.reference import WindowPosition


@dataclass(frozen=True, kw_only=True)
class Pooling(Topic):
    """The maximum or the mean of each window, channel by channel.

    Examples:

      cnncli explain pooling --window 3 --padding 1
    """

    name = "pooling"

    input: InputOption = None
    window: Annotated[str, typer.Option("--window", metavar="N or H,W", help="Size of the window.")] = "2"
    stride: StrideOption = "1"
    padding: PaddingOption = "0"

    def page(self) -> Page:
        import torch

        x = read_tensor(self.input, "--input", (2, 3), X)
        channels = x if x.ndim == 3 else x[None]
        sliding = SlidingWindow.read(read_pair(self.window, option="--window", minimum=1), self.stride, self.padding)
        sliding.check_fits(channels.shape[1:])
        if any(2 * p > k for p, k in zip(sliding.padding, sliding.size, strict=True)):
            padding, size = format_size(sliding.padding), format_size(sliding.size)
            raise UsageError(
                f"--padding: {padding} is more than half of the window {size}",
                remedy="give less padding or a larger --window, so that no window covers padding only",
            )
        return Page(
            "Pooling: one number for each window",
            Paragraph(
                "A pooling layer has no weights. Its window slides like a kernel, and the numbers under it become one "
                "number: their maximum (max pooling) or their mean (average pooling)."
            ),
            *_steps(channels[0], sliding),
            Heading("How large is the output?"),
            *size_formula(channels.shape[1:], sliding),
            *(_stride_and_padding() if self.input is None else []),
            Heading("Each channel on its own"),
            *_channels(channels if x.ndim == 3 else torch.stack([x, x + 1]), sliding),
            Heading("Small shifts"),
            *_shifted(None if self.input is None else channels[0], sliding.size),
            TryNext(
                "explain pooling --window 3 --padding 1",
                "explain pooling --input '[[9,1,1,1],[1,1,1,9]]' --stride 2",
                "explain stride",
            ),
        )


def _steps(x: Tensor, window: SlidingWindow) -> list[Block]:
    """Every position of the window on x (H, W), with maximum and mean."""
    from cnncli.lessons.reference import pool2d

    maximum, mean = (
        pool2d(x, window.size, mode=mode, stride=window.stride, padding=window.padding) for mode in ("max", "average")
    )

    def describe(done: Sequence[WindowPosition]) -> tuple[Block, ...]:
        shown, largest, average = (
            input_with_window(x, done[-1], window),
            output_so_far(maximum, done),
            output_so_far(mean, done),
        )
        return Figures(shown, "max", largest, "mean", average), *_formulas(done[-1], maximum, mean)

    note = [Paragraph("Padding (the dots) is never the maximum, and counts as zeros in the mean.")]
    steps = window_steps(window.positions(x, fill=float("-inf")), describe)
    return [*note, *steps] if any(window.padding) else steps


def _formulas(position: WindowPosition, maximum: Tensor, mean: Tensor) -> tuple[Formula, Formula]:
    """The maximum over the numbers under a window, and the mean, in which padding (-inf in the patch) counts as 0."""
    numbers = position.patch.reshape(-1).tolist()
    real = ", ".join(format_number(value) for value in numbers if value > float("-inf"))
    added = " + ".join(operand(format_number(value)) if value > float("-inf") else "0" for value in numbers)
    largest, average = (format_number(result[position.output].item()) for result in (maximum, mean))
    return Formula(f"max({real}) = {largest}"), Formula(f"({added}) / {len(numbers)} = {average}")


def _stride_and_padding() -> list[Block]:
    """Windows that do not overlap, and windows that start in the padding."""
    import torch

    from cnncli.lessons.reference import pool2d

    x = torch.arange(16.0).reshape(4, 4)
    return [
        Heading("Stride and padding"),
        Paragraph(
            "In a network, the stride of a pooling layer usually equals the window, so that windows do not overlap; "
            "this is also the default. Padding works as in a convolution:"
        ),
        Figures(
            matrix(x, "input"),
            "->",
            matrix(pool2d(x, 2), "max 2x2, stride 2"),
            matrix(pool2d(x, 2, padding=1), "max 2x2, stride 2, padding 1"),
        ),
    ]


def _channels(channels: Tensor, window: SlidingWindow) -> list[Block]:
    """Channels (C, H, W) before and after."""
    from cnncli.lessons.reference import pool2d

    pooled = pool2d(channels, window.size, stride=window.stride, padding=window.padding)
    count = f"{len(channels)} channel{'s' * (len(channels) > 1)}"
    return [
        Paragraph(f"Pooling does not sum over the channels: {count} in, {count} out."),
        Figures(
            *(matrix(each, f"channel {c}") for c, each in enumerate(channels)),
            "->",
            *(matrix(each, f"max of channel {c}") for c, each in enumerate(pooled)),
        ),
    ]


def _shifted(x: Tensor | None, window: Pair) -> list[Block]:
    """The same input shifted to the right by 0, 1 and 2 pixels, and the outputs."""
    import torch

    from cnncli.lessons.reference import pool2d

    if x is None:
        x = torch.zeros(4, 6)
        x[:, 2], x[1, 4] = 1, 5
    steps: list[Block] = []
    original = pool2d(x, window)
    for shift in (0, 1, 2):
        shifted = torch.zeros_like(x)
        shifted[:, shift:] = x[:, : x.shape[1] - shift]
        pooled = pool2d(shifted, window)
        unchanged = f"{int((pooled == original).sum())} of {original.numel()} outputs unchanged"
        figures = (matrix(shifted, "input"), "->", matrix(pooled, f"max {format_size(window)}"))
        steps.append(Step(f"shifted by {shift}: {unchanged}" if shift else "original", Figures(*figures)))
    return [
        Paragraph(
            "Max pooling says that a pattern was found, and roughly where. As long as the maximum stays inside the "
            "same window, the output does not change; the output of a convolution would shift with the input."
        ),
        *steps,
        Paragraph(
            "Once the maximum moves into the next window, the output changes: max pooling is invariant to small shifts "
            "only, and not to all of them."
        ),
    ]
