"""`learn-kernel`: a kernel found by gradient descent, from nothing but an input and what should come of it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.lessons.notation import by, fixed, grid, noise
from cnncli.lessons.page import Block, Figures, Formula, Heading, Page, Prose, Sign, Step, Table, TryNext, Values
from cnncli.lessons.reference import BLUR, EDGE, SHARPEN, SOBEL, Conv2D, Descended, Kernel, corr2d, descend, steady_rate
from cnncli.lessons.walk import Sweep, in_full

TARGETS: dict[str, Kernel] = {"edge": EDGE, "sobel": SOBEL, "blur": BLUR, "sharpen": SHARPEN}
"""What can be asked for by name."""

_STEPS = 50
_NOISE_SIDE = 12
_MOST_WEIGHTS, _MOST_PRODUCTS = 64, 20_000
"""Beyond these the loops of the definition take longer than anybody waits."""
_SHOWN = (0, 1, 2, 5, 10, 20, 50)
_DRAWN = (0, 2, 10, 50)


@dataclass(frozen=True)
class _Task:
    """What is learned: a kernel (kh, kw) that makes `wanted` (OH, OW) of x (H, W)."""

    name: str
    x: Tensor
    kernel: Tensor
    wanted: Tensor


def learn_kernel(target: str, x: Values | None, kernel: Values | None) -> Page:
    """The page about learning a kernel: one of TARGETS, or the user's own."""
    task = _task(target, x, kernel)
    course, rate = learn(task.x, task.kernel)
    return Page(
        f"Learning a kernel: {task.name}",
        (
            Prose(
                "Nobody has to know the numbers of a kernel. Give a layer an input and the output it should have made, "
                "and let gradient descent change its kernel until it does."
            ),
            Figures((in_full(task.x, "input"), Sign("->"), in_full(task.wanted, "wanted output"))),
            Heading("The descent"),
            Formula("loss = sum over i, j of (Y[i, j] - wanted[i, j])^2"),
            Formula(f"kernel = kernel - {rate:.4f} x gradient of the loss"),
            Prose("The layer is this project's own Conv2D with one kernel and no bias. It begins with zeros."),
            _table(course, task.kernel),
            *_kernels(course),
            Heading("What was found"),
            *_outcome(course[-1], task),
            TryNext(
                (
                    *(f"explain learn-kernel --target {name}" for name in TARGETS if name != target),
                    "explain learn-kernel --kernel '[[1,0,-1]]'",
                    "explain backward",
                )
            ),
        ),
    )


def learn(x: Tensor, kernel: Tensor) -> tuple[list[Descended], float]:
    """Learn `kernel` (kh, kw) from x (H, W) and `corr2d(x, kernel)` alone: the course of it, and the rate."""
    kh, kw = kernel.shape
    rate = steady_rate(x, (kh, kw))
    layer = Conv2D(1, 1, (kh, kw), bias=False).double()
    nn.init.zeros_(layer.weight)
    images, wanted = x[None, None], corr2d(x, kernel)[None, None]  # (1, 1, H, W), (1, 1, OH, OW)
    return list(descend(lambda: layer(images), layer.weight, wanted, rate=rate, steps=_STEPS)), rate


def _task(target: str, x: Values | None, kernel: Values | None) -> _Task:
    """The target by name or the user's own, on the input that belongs to it or the user's own."""
    known = torch.tensor(TARGETS[target], dtype=torch.float64)
    kernel_ = known if kernel is None else torch.from_numpy(kernel)
    if x is not None:
        x_ = torch.from_numpy(x)
    else:
        x_ = (
            _bars() if kernel is None and target == "edge" else noise(max(_NOISE_SIDE, *(2 * n for n in kernel_.shape)))
        )
    (height, width), (kh, kw) = x_.shape, kernel_.shape
    sweep = Sweep()
    sweep.check_fits((height, width), (kh, kw))
    outputs = sweep.output_size((height, width), (kh, kw))
    if kernel_.numel() > _MOST_WEIGHTS or kernel_.numel() * outputs[0] * outputs[1] > _MOST_PRODUCTS:
        raise UsageError(
            f"a kernel of {by((kh, kw))} on an input of {by((height, width))} takes too long to learn here",
            remedy=f"give a kernel of at most {_MOST_WEIGHTS} numbers and an input of about 32x32",
        )
    return _Task("your kernel" if kernel is not None else target, x_, kernel_, corr2d(x_, kernel_))


def _bars() -> Tensor:
    """White, with black in the middle: the edges are where the color changes."""
    x = torch.ones(6, 8, dtype=torch.float64)
    x[:, 2:6] = 0
    return x


def _table(course: list[Descended], target: Tensor) -> Table:
    rows = tuple(
        (str(each.step), f"{each.loss:.4f}", f"{_distance(each, target):.4f}") for each in course if each.step in _SHOWN
    )
    return Table(("step", "loss", "farthest weight from the target"), rows)


def _kernels(course: list[Descended]) -> list[Block]:
    """The kernel on its way."""
    return [
        Step(f"after {each.step} steps", (Figures((grid(each.kernel[0, 0], decimals=3),)),))
        for each in course
        if each.step in _DRAWN
    ]


def _outcome(end: Descended, task: _Task) -> list[Block]:
    distance = _distance(end, task.kernel)
    if distance < 0.01:
        said = f"Every weight is within 0.01 of the target (the farthest is off by {fixed(distance, 6)})."
    elif end.loss < 1e-6:
        said = (
            "The output is right, and yet the kernel is another one: this input does not show everything that tells "
            "the two apart. Give an --input with more variety."
        )
    else:
        said = f"After {end.step} steps it is still on its way: this input shows some patterns far more than others."
    figures = (grid(end.kernel[0, 0], "learned", decimals=3), grid(task.kernel, "target", decimals=3))
    return [Figures(figures), Prose(said)]


def _distance(each: Descended, target: Tensor) -> float:
    return (each.kernel[0, 0] - target).abs().max().item()
