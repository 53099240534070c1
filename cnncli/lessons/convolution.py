"""`convolution`: the kernel turned by 180 degrees, and why it makes no difference to a network."""

from collections.abc import Callable

import torch
from torch import Tensor

from cnncli.lessons.notation import K, X, given, grid, noise, worked
from cnncli.lessons.page import Block, Figures, Heading, Page, Prose, Sign, Table, TryNext, Values
from cnncli.lessons.reference import Descended, conv2d, corr2d, descend, steady_rate
from cnncli.lessons.walk import Sweep, first_stop, in_full

_SHOWN = (0, 1, 2, 3, 5, 50)
"""Steps of the descent; the last one is its end."""
_NOISE_MARGIN = 8
_MOST_LEARNED = 64


def convolution(x: Values | None, kernel: Values | None, sweep: Sweep) -> Page:
    """The page about convolution in the sense of mathematics."""
    x_, kernel_ = given(x, X), given(kernel, K)
    (height, width), (kh, kw) = x_.shape, kernel_.shape
    sweep.check_fits((height, width), (kh, kw))
    return Page(
        "Convolution: the kernel turned around",
        (
            Prose(
                "A convolution, as mathematics has it, turns the kernel by 180 degrees, so upside down and left to "
                "right, and then does what cross-correlation does:"
            ),
            *_beside(x_, kernel_, sweep),
            Heading("When do the two agree?"),
            Prose(
                "For every input just when the kernel looks the same after the turn, as a blur does. "
                + ("This kernel does." if torch.equal(kernel_, kernel_.flip(0, 1)) else "This kernel does not.")
            ),
            *_symmetric(x_),
            Heading("Why it makes no difference to a network"),
            *(_learned(kernel_) if kernel_.numel() <= _MOST_LEARNED else [Prose("(Shown for smaller kernels.)")]),
            TryNext(
                (
                    "explain convolution --kernel '[[1,2],[2,1]]'",
                    "explain learn-kernel",
                    "explain backward",
                )
            ),
        ),
    )


def _beside(x: Tensor, kernel: Tensor, sweep: Sweep) -> list[Block]:
    """Both operations on the same numbers, with the first window of each."""
    (kh, kw), turned = kernel.shape, kernel.flip(0, 1)
    moves = {"stride": sweep.stride, "padding": sweep.padding, "dilation": sweep.dilation}
    first = first_stop(x, (kh, kw), sweep)
    blocks: list[Block] = []
    for name, used, result in (
        ("cross-correlation", kernel, corr2d(x, kernel, **moves)),
        ("convolution", turned, conv2d(x, kernel, **moves)),
    ):
        kernel_title = "kernel" if used is kernel else "turned kernel"
        figures = (in_full(x, "input"), Sign("*"), grid(used, kernel_title), Sign("="), in_full(result, name))
        blocks += [Figures(figures), worked(first.window, used, first.products(used).sum().item())]
    return blocks


def _symmetric(x: Tensor) -> list[Block]:
    """A kernel that is its own turn."""
    kernel = torch.tensor([[1.0, 2], [2, 1]], dtype=x.dtype)
    if min(x.shape) < 2:
        return []
    figures = (
        grid(kernel, "kernel = turned kernel"),
        in_full(corr2d(x, kernel), "correlation"),
        Sign("="),
        in_full(conv2d(x, kernel), "convolution"),
    )
    return [Figures(figures)]


def _learned(kernel: Tensor) -> list[Block]:
    """The same filter learned through either operation, on an input in which every pattern occurs."""
    kh, kw = kernel.shape
    x = noise(max(kh, kw) + _NOISE_MARGIN)
    target, rate = corr2d(x, kernel), steady_rate(x, (kh, kw))
    one, other = (_descent(operation, x, kernel, target, rate) for operation in (corr2d, conv2d))
    rows = tuple((str(a.step), _loss(a.loss), _loss(b.loss)) for a, b in zip(one, other, strict=True))
    return [
        Prose(
            "Nobody writes the kernel of a layer down: it is learned. Show two layers the same input (random numbers, "
            "so that every pattern is in it) and ask both for the same output: what cross-correlation with the kernel "
            "above makes of it. One layer computes a cross-correlation, the other a true convolution; both begin with "
            "zeros and take gradient steps:"
        ),
        Table(("step", "loss, correlation", "loss, convolution"), rows),
        Figures(
            (
                grid(one[-1].kernel, "learned, correlation", decimals=2),
                grid(other[-1].kernel, "learned, convolution", decimals=2),
                grid(other[-1].kernel.flip(0, 1), "the latter turned", decimals=2),
            )
        ),
        Prose(
            "The losses are the same at every step, and each kernel is the other one turned: both layers now make the "
            "same of every input. Learning has made the difference vanish, and libraries leave the turn out."
        ),
    ]


def _descent(
    operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor, target: Tensor, rate: float
) -> list[Descended]:
    learned = torch.zeros_like(kernel, requires_grad=True)
    course = descend(lambda: operation(x, learned), learned, target, rate=rate, steps=_SHOWN[-1])
    return [each for each in course if each.step in _SHOWN]


def _loss(loss: float) -> str:
    return f"{loss:.4f}"
