"""`learn-kernel`: a kernel found by gradient descent from an input and a target output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

import numpy as np
import typer

from cnncli.errors import UsageError
from cnncli.layers import format_size
from cnncli.lessons.notation import format_fixed, grid
from cnncli.lessons.numbers import BLUR, EDGE, SHARPEN, SOBEL_X, Filter, random_input, read_tensor
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Paragraph, Step, Table, TryNext
from cnncli.lessons.sliding_window import SlidingWindow, matrix
from cnncli.lessons.topic import InputOption, KernelOption, Topic

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.lessons.reference import DescentStep

Target: TypeAlias = Literal["edge", "sobel", "blur", "sharpen"]
TARGETS: dict[Target, Filter] = {"edge": EDGE, "sobel": SOBEL_X, "blur": BLUR, "sharpen": SHARPEN}

_STEPS = 50
_SIDE = 12
_MAX_WEIGHTS, _MAX_PRODUCTS = 64, 20_000
"""With more, the loops of the reference operations take too long."""
_SHOWN_LOSSES = (0, 1, 2, 5, 10, 20, 50)
_SHOWN_KERNELS = (0, 2, 10, 50)


@dataclass(frozen=True, kw_only=True)
class LearnKernel(Topic):
    """A kernel found by gradient descent from an input and a target output.

    Examples:

      cnncli explain learn-kernel --target sobel

      cnncli explain learn-kernel --kernel '[[1,0,-1]]'
    """

    name = "learn-kernel"

    target: Annotated[Target, typer.Option("--target", case_sensitive=False, help="The kernel to learn.")] = "edge"
    input: InputOption = None
    kernel: KernelOption = None

    def page(self) -> Page:
        x, kernel = self._read()
        course, learning_rate = learn(x, kernel)
        output = SlidingWindow.read(kernel.shape).correlate(x, kernel)
        return Page(
            f"Learning a kernel: {self.target if self.kernel is None else 'your kernel'}",
            Paragraph(
                "Kernels need not be designed by hand. Give a layer an input and the output that you want, and let "
                "gradient descent change its kernel until it computes that output."
            ),
            Figures(matrix(x, "input"), "->", matrix(output, "target output")),
            Heading("Gradient descent"),
            Formula("loss = sum over i, j of (Y[i, j] - target[i, j])^2"),
            Formula(f"kernel = kernel - {learning_rate:.4f} x gradient of the loss"),
            Paragraph("The layer has one kernel and no bias. Its kernel is initialized with zeros."),
            _losses(course, kernel),
            *(
                Step(f"after {each.step} steps", Figures(grid(each.kernel[0, 0], decimals=3)))
                for each in course
                if each.step in _SHOWN_KERNELS
            ),
            Heading("The result"),
            *_result(course[-1], kernel),
            TryNext(
                *(f"explain learn-kernel --target {name}" for name in get_args(Target) if name != self.target),
                "explain learn-kernel --kernel '[[1,0,-1]]'",
                "explain backward",
            ),
        )

    def _read(self) -> tuple[Tensor, Tensor]:
        """The input (H, W) and the kernel (kh, kw); by default, the input is random or has two vertical edges."""
        kernel = read_tensor(self.kernel, "--kernel", (2,), np.array(TARGETS[self.target], dtype=np.float64))
        default = random_input(max(_SIDE, *(2 * n for n in kernel.shape))).numpy()
        if self.kernel is None and self.target == "edge":
            default = np.ones((6, 8))
            default[:, 2:6] = 0
        x = read_tensor(self.input, "--input", (2,), default)
        window = SlidingWindow.read(kernel.shape)
        window.check_fits(x.shape)
        if kernel.numel() > _MAX_WEIGHTS or kernel.numel() * math.prod(window.output_size(x.shape)) > _MAX_PRODUCTS:
            raise UsageError(
                f"a kernel of {format_size(kernel.shape)} on an input of {format_size(x.shape)} takes too long to "
                "learn here",
                remedy=f"give a kernel of at most {_MAX_WEIGHTS} numbers and an input of about 32x32",
            )
        return x, kernel


def learn(x: Tensor, kernel: Tensor) -> tuple[list[DescentStep], float]:
    """Learn `kernel` (kh, kw) from x (H, W) and `corr2d(x, kernel)`: every step, and the learning rate."""
    from torch import nn

    from cnncli.lessons.reference import Conv2D, corr2d, gradient_descent, optimal_learning_rate

    kh, kw = kernel.shape
    rate = optimal_learning_rate(x, (kh, kw))
    layer = Conv2D(1, 1, (kh, kw), bias=False).double()
    nn.init.zeros_(layer.weight)
    images, target = x[None, None], corr2d(x, kernel)[None, None]  # (1, 1, H, W), (1, 1, OH, OW)
    steps = gradient_descent(lambda: layer(images), layer.weight, target, learning_rate=rate, steps=_STEPS)
    return list(steps), rate


def _losses(course: list[DescentStep], target: Tensor) -> Table:
    rows = tuple(
        (str(each.step), f"{each.loss:.4f}", f"{_error(each, target):.4f}")
        for each in course
        if each.step in _SHOWN_LOSSES
    )
    return Table(("step", "loss", "largest error of a weight"), rows)


def _result(last: DescentStep, target: Tensor) -> list[Block]:
    error = _error(last, target)
    if error < 0.01:
        verdict = f"Every weight is within 0.01 of the target (largest error: {format_fixed(error, 6)})."
    elif last.loss < 1e-6:
        verdict = (
            "The output is right, but the kernel is a different one: on this input both kernels compute the same "
            "output. Give an --input with more variety."
        )
    else:
        verdict = (
            f"After {last.step} steps the kernel has not converged yet: some patterns are much rarer in this input "
            "than others."
        )
    figures = (grid(last.kernel[0, 0], "learned", decimals=3), grid(target, "target", decimals=3))
    return [Figures(*figures), Paragraph(verdict)]


def _error(state: DescentStep, target: Tensor) -> float:
    """The largest absolute difference between a learned weight and the target."""
    return (state.kernel[0, 0] - target).abs().max().item()
