"""`convolution`: cross-correlation with a flipped kernel, and why a network does not need the flip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.lessons.notation import grid, sum_of_products
from cnncli.lessons.numbers import random_input
from cnncli.lessons.page import Block, Figures, Heading, Page, Paragraph, Table, TryNext
from cnncli.lessons.sliding_window import SlidingWindow, matrix
from cnncli.lessons.topic import OperationTopic

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.lessons.reference import DescentStep

_SHOWN_STEPS = (0, 1, 2, 3, 5, 50)
_RANDOM_MARGIN = 8
"""Rows and columns by which the random input exceeds the kernel."""
_MAX_LEARNED = 64
"""Weights up to which learning takes no noticeable time."""


@dataclass(frozen=True, kw_only=True)
class Convolution(OperationTopic):
    """Cross-correlation with a flipped kernel, and why a network does not need the flip.

    Examples:

      cnncli explain convolution --kernel '[[1,2],[2,1]]'
    """

    name = "convolution"

    def page(self) -> Page:
        x, k, window = self.read()
        is_symmetric = k.equal(k.flip(0, 1))
        return Page(
            "Convolution: the kernel is flipped",
            Paragraph(
                "In mathematics, a convolution flips the kernel along both axes (it rotates it by 180 degrees) and "
                "then does the same as cross-correlation:"
            ),
            *_compared(x, k, window),
            Heading("When are the two equal?"),
            Paragraph(
                "They are equal for every input if and only if the flip does not change the kernel. That holds for a "
                f"blur, for example. It {'also holds' if is_symmetric else 'does not hold'} for the kernel above."
            ),
            *_symmetric_example(x),
            Heading("Why a network does not need the flip"),
            *(_learned(k) if k.numel() <= _MAX_LEARNED else [Paragraph("(This part needs a smaller kernel.)")]),
            TryNext("explain convolution --kernel '[[1,2],[2,1]]'", "explain learn-kernel", "explain backward"),
        )


def _compared(x: Tensor, kernel: Tensor, window: SlidingWindow) -> list[Block]:
    """Both operations on the same numbers, with the first window of each."""
    from cnncli.lessons.reference import conv2d, corr2d

    first = window.positions(x)[0]
    blocks: list[Block] = []
    for name, title, used, result in (
        ("cross-correlation", "kernel", kernel, corr2d(x, kernel, **window.settings)),
        ("convolution", "flipped kernel", kernel.flip(0, 1), conv2d(x, kernel, **window.settings)),
    ):
        figures = (matrix(x, "input"), "*", grid(used, title), "=", matrix(result, name))
        blocks += [Figures(*figures), sum_of_products(first.patch, used, first.products(used).sum().item())]
    return blocks


def _symmetric_example(x: Tensor) -> list[Block]:
    """A kernel that the flip does not change."""
    from cnncli.lessons.reference import conv2d, corr2d

    kernel = x.new_tensor([[1, 2], [2, 1]])
    if min(x.shape) < 2:
        return []
    figures = (
        grid(kernel, "kernel = flipped kernel"),
        matrix(corr2d(x, kernel), "cross-correlation"),
        "=",
        matrix(conv2d(x, kernel), "convolution"),
    )
    return [Figures(*figures)]


def _learned(kernel: Tensor) -> list[Block]:
    """The same filter learned with either operation."""
    from cnncli.lessons.reference import conv2d, corr2d, optimal_learning_rate

    kh, kw = kernel.shape
    x = random_input(max(kh, kw) + _RANDOM_MARGIN)
    target, rate = corr2d(x, kernel), optimal_learning_rate(x, (kh, kw))
    by_corr, by_conv = (_descent(operation, x, kernel, target, rate) for operation in (corr2d, conv2d))
    rows = tuple((str(a.step), f"{a.loss:.4f}", f"{b.loss:.4f}") for a, b in zip(by_corr, by_conv, strict=True))
    return [
        Paragraph(
            "A network learns its kernels. Give two layers the same random input and the same target output: the "
            "cross-correlation of the input with the kernel above. One layer computes a cross-correlation, the other a "
            "convolution. Both start with a kernel of zeros and learn by gradient descent:"
        ),
        Table(("step", "loss, cross-correlation", "loss, convolution"), rows),
        Figures(
            grid(by_corr[-1].kernel, "learned, cross-correlation", decimals=2),
            grid(by_conv[-1].kernel, "learned, convolution", decimals=2),
            grid(by_conv[-1].kernel.flip(0, 1), "the latter, flipped", decimals=2),
        ),
        Paragraph(
            "The losses are equal at every step, and each learned kernel is the other one flipped. So both layers "
            "compute the same output for every input. That is why deep learning libraries leave the flip out and still "
            "call the operation a convolution."
        ),
    ]


def _descent(
    operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor, target: Tensor, rate: float
) -> list[DescentStep]:
    from cnncli.lessons.reference import gradient_descent

    learned = kernel.new_zeros(kernel.shape).requires_grad_()
    steps = gradient_descent(lambda: operation(x, learned), learned, target, learning_rate=rate, steps=_SHOWN_STEPS[-1])
    return [each for each in steps if each.step in _SHOWN_STEPS]
