"""`learn-kernel`: a kernel found by gradient descent from an input and a target output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

import numpy as np
import typer

from cnncli.errors import UsageError
from cnncli.lessons.filters import BLUR, EDGE, SHARPEN, SOBEL_X, Filter
from cnncli.lessons.notation import format_fixed, format_size, grid
from cnncli.lessons.numbers import random_input, read_tensor
from cnncli.lessons.page import (
    Block,
    Figures,
    Formula,
    Heading,
    Operator,
    Page,
    Paragraph,
    Step,
    Table,
    TryNext,
    Values,
)
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


@dataclass(frozen=True)
class _Task:
    """A kernel (kh, kw) to be learned from x (H, W) and the output (OH, OW)."""

    name: str
    x: Tensor
    kernel: Tensor
    output: Tensor


@dataclass(frozen=True, kw_only=True)
class LearnKernel(Topic):
    """A kernel found by gradient descent from an input and a target output.

    Examples:

      cnncli explain learn-kernel --target sobel

      cnncli explain learn-kernel --kernel '[[1,0,-1]]'
    """

    name = "learn-kernel"

    target: Annotated[Target, typer.Option("--target", help="The kernel to learn.")] = "edge"
    input: InputOption = None
    kernel: KernelOption = None

    def page(self) -> Page:
        """See `Topic`."""
        task = _read_task(self.target, self.input, self.kernel)
        course, learning_rate = learn(task.x, task.kernel)
        return Page(
            f"Learning a kernel: {task.name}",
            (
                Paragraph(
                    "Kernels need not be designed by hand. Give a layer an input and the output that you want, and let "
                    "gradient descent change its kernel until it computes that output."
                ),
                Figures((matrix(task.x, "input"), Operator("->"), matrix(task.output, "target output"))),
                Heading("Gradient descent"),
                Formula("loss = sum over i, j of (Y[i, j] - target[i, j])^2"),
                Formula(f"kernel = kernel - {learning_rate:.4f} x gradient of the loss"),
                Paragraph("The layer has one kernel and no bias. Its kernel is initialized with zeros."),
                _losses(course, task.kernel),
                *(
                    Step(f"after {each.step} steps", (Figures((grid(each.kernel[0, 0], decimals=3),)),))
                    for each in course
                    if each.step in _SHOWN_KERNELS
                ),
                Heading("The result"),
                *_result(course[-1], task),
                TryNext(
                    (
                        *(f"explain learn-kernel --target {name}" for name in get_args(Target) if name != self.target),
                        "explain learn-kernel --kernel '[[1,0,-1]]'",
                        "explain backward",
                    )
                ),
            ),
        )


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


def _read_task(target: Target, input_: str | None, kernel: str | None) -> _Task:
    """The task as options give it; by default a random input, or bright and dark bars for the edge detector."""
    from cnncli.lessons.reference import corr2d

    k = read_tensor(kernel, "--kernel", (2,), np.array(TARGETS[target], dtype=np.float64))
    if kernel is None and target == "edge":
        default = _bars()
    else:
        default = random_input(max(_SIDE, *(2 * n for n in k.shape))).numpy()
    x = read_tensor(input_, "--input", (2,), default)
    window = SlidingWindow.read(k.shape)
    window.check_fits(x.shape)
    height, width = window.output_size(x.shape)
    if k.numel() > _MAX_WEIGHTS or k.numel() * height * width > _MAX_PRODUCTS:
        raise UsageError(
            f"a kernel of {format_size(k.shape)} on an input of {format_size(x.shape)} takes too long to learn here",
            remedy=f"give a kernel of at most {_MAX_WEIGHTS} numbers and an input of about 32x32",
        )
    return _Task(target if kernel is None else "your kernel", x, k, corr2d(x, k))


def _bars() -> Values:
    """Bright, dark, bright: two vertical edges, (6, 8)."""
    x = np.ones((6, 8))
    x[:, 2:6] = 0
    return x


def _losses(course: list[DescentStep], target: Tensor) -> Table:
    rows = tuple(
        (str(each.step), f"{each.loss:.4f}", f"{_error(each, target):.4f}")
        for each in course
        if each.step in _SHOWN_LOSSES
    )
    return Table(("step", "loss", "largest error of a weight"), rows)


def _result(last: DescentStep, task: _Task) -> list[Block]:
    error = _error(last, task.kernel)
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
    figures = (grid(last.kernel[0, 0], "learned", decimals=3), grid(task.kernel, "target", decimals=3))
    return [Figures(figures), Paragraph(verdict)]


def _error(state: DescentStep, target: Tensor) -> float:
    """The largest absolute difference between a learned weight and the target."""
    return (state.kernel[0, 0] - target).abs().max().item()
