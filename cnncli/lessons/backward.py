"""`backward`: the gradients of a convolution are a correlation and a convolution."""

import torch
from torch import Tensor

from cnncli.lessons.notation import K, X, given, grid, number, worked
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Prose, Sign, TryNext, Values
from cnncli.lessons.reference import corr2d, corr2d_backward, spread, stops
from cnncli.lessons.walk import Sweep, equation, in_full, padded_grid

_MOST_TERMS = 9


def backward(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about the way back through a cross-correlation."""
    x_, kernel_ = given(x, X), given(kernel, K)
    (height, width), (kh, kw) = x_.shape, kernel_.shape
    sweep.check_fits((height, width), (kh, kw))
    moves = {"stride": sweep.stride, "padding": sweep.padding, "dilation": sweep.dilation}
    result = corr2d(x_, kernel_, **moves)
    upstream = torch.arange(1, result.numel() + 1, dtype=x_.dtype).reshape(result.shape)
    by_hand = corr2d_backward(x_, kernel_, upstream, **moves)
    by_autograd = _autograd(x_, kernel_, upstream, sweep)
    return Page(
        "Backward: the gradient of a convolution is a convolution",
        (
            Prose("Forward, as always:"),
            equation(x_, kernel_, result, sweep),
            Prose(
                "To learn, a network asks how a loss L changes with every number. From the layers above comes its "
                "gradient G for each number of the output. Take a loss that weighs the outputs with 1, 2, 3, ...:"
            ),
            Formula(_loss(upstream)),
            Figures((in_full(upstream, "G = dL/dY"),)),
            Heading("For the kernel: the input correlated with G"),
            Prose(
                "Each weight took part in every output, multiplied by the pixel below it. So its gradient is the sum "
                "of those pixels, weighed with G: the window that slides over the input now is G itself."
            ),
            Formula("dL/dK[a, b] = sum over i, j of " + _place(sweep) + " x G[i, j]"),
            *_for_kernel(x_, upstream, by_hand.kernel, sweep),
            Heading("For the input: G convolved with the kernel"),
            Prose(
                "Each pixel was multiplied by one weight after the other while the window passed, the last weight "
                "first. So the kernel is turned by 180 degrees, and slides over G, framed with zeros so that it "
                "reaches every pixel: a convolution in the true sense."
            ),
            *_for_input(kernel_, upstream, by_hand.x, sweep),
            Heading("Against autograd"),
            *_comparison(by_hand.kernel, by_hand.x, by_autograd),
            TryNext(
                (
                    "explain backward --stride 2 --padding 1",
                    "explain learn-kernel",
                    "explain convolution",
                )
            ),
        ),
    )


def _loss(upstream: Tensor) -> str:
    terms = [f"{number(value)} Y[{i}, {j}]" for i, row in enumerate(upstream.tolist()) for j, value in enumerate(row)]
    return "L = " + " + ".join(terms[:_MOST_TERMS]) + (" + ..." if len(terms) > _MOST_TERMS else "")


def _place(sweep: Sweep) -> str:
    """The pixel below weight (a, b) when the window makes output (i, j)."""
    axes = []
    for letter, tap, s, p, d in zip("ij", "ab", sweep.stride, sweep.padding, sweep.dilation, strict=True):
        axes.append(f"{s if s > 1 else ''}{letter} + {d if d > 1 else ''}{tap}" + (f" - {p}" if p else ""))
    return f"X[{axes[0]}, {axes[1]}]"


def _for_kernel(x: Tensor, upstream: Tensor, gradient: Tensor, sweep: Sweep) -> list[Block]:
    blocks: list[Block] = [
        Figures(
            (
                padded_grid(x, sweep.padding, "input") if max(x.shape) <= _MOST_TERMS else in_full(x, "input"),
                Sign("*"),
                in_full(spread(upstream, sweep.stride), "G" if max(sweep.stride) == 1 else "G, spread"),
                Sign("="),
                in_full(gradient, "dL/dK"),
            )
        )
    ]
    if upstream.numel() <= _MOST_TERMS:
        height, width = upstream.shape
        first = stops(x, (height, width), padding=sweep.padding, dilation=sweep.stride, stride=sweep.dilation)[0]
        blocks.append(worked(first.window, upstream, gradient[0, 0].item(), name="dL/dK[0, 0]"))
    return blocks


def _for_input(kernel: Tensor, upstream: Tensor, gradient: Tensor, sweep: Sweep) -> list[Block]:
    kh, kw = kernel.shape
    frame = (sweep.dilation[0] * (kh - 1), sweep.dilation[1] * (kw - 1))
    spread_out = spread(upstream, sweep.stride)
    framed = max(n + 2 * f for n, f in zip(spread_out.shape, frame, strict=True)) <= _MOST_TERMS
    blocks: list[Block] = [
        Figures(
            (
                padded_grid(spread_out, frame, "G, framed") if framed else in_full(spread_out, "G"),
                Sign("*"),
                grid(kernel.flip(0, 1), "turned kernel"),
                Sign("="),
                in_full(gradient, "dL/dX"),
            )
        )
    ]
    if framed:
        row, column = (size // 2 for size in gradient.shape)
        for stop in stops(spread_out, (kh, kw), padding=frame, dilation=sweep.dilation):
            if stop.output == (row + sweep.padding[0], column + sweep.padding[1]):
                name = f"dL/dX[{row}, {column}]"
                blocks.append(worked(stop.window, kernel.flip(0, 1), gradient[row, column].item(), name=name))
    return blocks


def _autograd(x: Tensor, kernel: Tensor, upstream: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
    """The gradients for kernel and input as torch works them out from the forward pass."""
    x, kernel = x.clone().requires_grad_(), kernel.clone().requires_grad_()
    y = corr2d(x, kernel, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    for_kernel, for_x = torch.autograd.grad(y, (kernel, x), upstream)
    return for_kernel, for_x


def _comparison(kernel: Tensor, x: Tensor, by_autograd: tuple[Tensor, Tensor]) -> list[Block]:
    differences = [(ours - theirs).abs().max().item() for ours, theirs in zip((kernel, x), by_autograd, strict=True)]
    return [
        Prose("What torch works out by itself from the forward pass:"),
        Figures((in_full(by_autograd[0], "dL/dK, autograd"), in_full(by_autograd[1], "dL/dX, autograd"))),
        Formula(f"largest difference from the numbers above: {number(max(differences))}"),
    ]
