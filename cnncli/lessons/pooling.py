"""`pooling`: one number for each window of each channel, and what that makes a network blind to.

Letters: C channels, (H, W) input, (kh, kw) window, (OH, OW) output.
"""

import torch
from torch import Tensor

from cnncli.errors import UsageError
from cnncli.lessons.notation import X, by, given, number, operand
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heading, Page, Picture, Prose, Sign, Step, TryNext
from cnncli.lessons.page import Values as Numbers
from cnncli.lessons.reference import Stop, pool2d, stops
from cnncli.lessons.walk import (
    MOST_STOPS,
    Pair,
    Sweep,
    in_full,
    output_so_far,
    rest_of_walk,
    size_formula,
    stop_title,
    window_on_input,
)


def pooling(x: Numbers | None, window: Pair, sweep: Sweep) -> Page:
    """The page about pools, for an input (H, W) or (C, H, W)."""
    x_ = given(x, X)
    channels = x_ if x_.ndim == 3 else x_[None]
    height, width = channels.shape[1:]
    sweep.check_fits((height, width), window)
    if any(2 * p > k for p, k in zip(sweep.padding, window, strict=True)):
        raise UsageError(
            f"--padding: {by(sweep.padding)} is more than half of the window {by(window)}",
            remedy="a window must not lie in the padding alone; pad less or give a larger --window",
        )
    return Page(
        "Pooling: one number for each window",
        (
            Prose(
                "A pool has no weights. Its window slides like a kernel's, and what lies below becomes one number: the "
                "largest (max-pooling) or the mean (average pooling)."
            ),
            *_walk(channels[0], window, sweep),
            Heading("How large is the output?"),
            *size_formula((height, width), window, sweep),
            *([] if x is not None else _stride_and_padding()),
            Heading("Every channel on its own"),
            *_per_channel(channels if x_.ndim == 3 else torch.stack([x_, x_ + 1]), window, sweep),
            Heading("A pixel to the right"),
            *_shifted(None if x is None else channels[0], window),
            TryNext(
                (
                    "explain pooling --window 3 --padding 1",
                    "explain pooling --input '[[9,1,1,1],[1,1,1,9]]' --stride 2",
                    "explain stride",
                )
            ),
        ),
    )


def _walk(x: Tensor, window: Pair, sweep: Sweep) -> list[Block]:
    """Every stop of the window on x (H, W), with the largest number and the mean."""
    largest, mean = _pooled(x, window, sweep)
    every = stops(x, window, stride=sweep.stride, padding=sweep.padding, fill=-torch.inf)
    steps: list[Block] = []
    for i, stop in enumerate(every[:MOST_STOPS]):
        maxima, means = (output_so_far(result, every[: i + 1]) for result in (largest, mean))
        figures = (window_on_input(x, stop, sweep), Sign("max"), maxima, Sign("mean"), means)
        steps.append(
            Step(
                stop_title(i, len(every), stop),
                (Figures(figures), *_worked(stop, largest[stop.output].item(), mean[stop.output].item())),
            )
        )
    padded = "Padding (the dots) never wins the maximum, and counts as zeros in the mean."
    return [*([Prose(padded)] if any(sweep.padding) else []), *steps, *rest_of_walk(len(every))]


def _worked(stop: Stop, largest: float, mean: float) -> tuple[Formula, Formula]:
    """The maximum over the real numbers under a window, and the mean of all, in which padding counts as zeros."""
    under = stop.window.reshape(-1).tolist()
    real = ", ".join(number(value) for value in under if value > -torch.inf)
    added = " + ".join(operand(number(value)) if value > -torch.inf else "0" for value in under)
    return Formula(f"max({real}) = {number(largest)}"), Formula(f"({added}) / {len(under)} = {number(mean)}")


def _pooled(x: Tensor, window: Pair, sweep: Sweep) -> tuple[Tensor, Tensor]:
    return (
        pool2d(x, window, mode="max", stride=sweep.stride, padding=sweep.padding),
        pool2d(x, window, mode="average", stride=sweep.stride, padding=sweep.padding),
    )


def _stride_and_padding() -> list[Block]:
    """Windows that touch, and windows that start outside."""
    x = torch.arange(16, dtype=X.dtype).reshape(4, 4)
    return [
        Heading("Stride and padding"),
        Prose(
            "In a network the window usually moves by its own size, so that windows touch and do not overlap. That is "
            "what a pool does unless it is given another stride. Padding works as in a convolution:"
        ),
        Figures(
            (
                in_full(x, "input"),
                Sign("->"),
                in_full(pool2d(x, 2), "max 2x2, stride 2"),
                in_full(pool2d(x, 2, padding=1), "max 2x2, stride 2, padding 1"),
            )
        ),
    ]


def _per_channel(channels: Tensor, window: Pair, sweep: Sweep) -> list[Block]:
    """Channels (C, H, W) before and after."""
    largest, _ = _pooled(channels, window, sweep)
    count = f"{len(channels)} channel{'s' * (len(channels) > 1)}"
    befores: list[Grid | Picture] = [in_full(each, f"channel {c}") for c, each in enumerate(channels)]
    afters: list[Grid | Picture] = [in_full(each, f"max of channel {c}") for c, each in enumerate(largest)]
    return [
        Prose(f"A pool adds nothing across channels: {count} in, {count} out."),
        Figures((*befores, Sign("->"), *afters)),
    ]


def _shifted(x: Tensor | None, window: Pair) -> list[Block]:
    """The same input moved to the right, and what the pool makes of it."""
    if x is None:
        x = torch.zeros(4, 6, dtype=X.dtype)
        x[:, 2], x[1, 4] = 1, 5
    blocks: list[Block] = []
    first = pool2d(x, window)
    for by_pixels in (0, 1, 2):
        moved = torch.zeros_like(x)
        moved[:, by_pixels:] = x[:, : x.shape[1] - by_pixels]
        pooled = pool2d(moved, window)
        stayed = int((pooled == first).sum())
        title = "as it is" if not by_pixels else f"moved by {by_pixels}: {stayed} of {first.numel()} answers stay"
        blocks.append(
            Step(title, (Figures((in_full(moved, "input"), Sign("->"), in_full(pooled, f"max {by(window)}"))),))
        )
    return [
        Prose(
            "Max-pooling says that something was found, and roughly where. As long as the largest number stays in its "
            "window, its answer stays too; a convolution's output would have moved along."
        ),
        *blocks,
        Prose("Once it has crossed into the next window, the answer moves: pooling forgives small shifts, not all."),
    ]
