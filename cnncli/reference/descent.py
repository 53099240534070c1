"""Finding a kernel by gradient descent, and how large its steps may be.

Letters: (H, W) input, (kh, kw) kernel, (OH, OW) output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.reference.stops import stops


@dataclass(frozen=True)
class Descended:
    """Where the descent is after `step` steps: the loss with this kernel, and a copy of the kernel."""

    step: int
    loss: float
    kernel: Tensor


def descend(
    predict: Callable[[], Tensor], kernel: Tensor, target: Tensor, *, rate: float, steps: int
) -> Iterator[Descended]:
    """Change a kernel, step by step, so that a prediction comes nearer to a target.

    The loss is the sum of squared differences. Each step takes away `rate` times its gradient.

    Args:
        predict: what the kernel makes of the input, in the shape of `target`.
        kernel: a leaf that requires gradients; it is changed in place.
        target: what should come out.
        rate: the learning rate.
        steps: how many to take.

    Yields:
        `steps + 1` times: at the start, then after each step.
    """
    for step in range(steps + 1):
        loss = (predict() - target).square().sum()
        yield Descended(step, loss.item(), kernel.detach().clone())
        (gradient,) = torch.autograd.grad(loss, kernel)
        with torch.no_grad():
            kernel -= rate * gradient


def steady_rate(x: Tensor, window: tuple[int, int]) -> float:
    """The learning rate at which descent on the squared difference of `corr2d(x, kernel)` is fastest.

    The loss is a bowl whose curvatures are twice the eigenvalues of `P^T P`, with the patches of x as the rows of P.
    The rate that shrinks the flattest and the steepest direction alike is 2 / (flattest + steepest) (Polyak, 1964).
    Directions in which the bowl is flat altogether, because x never shows them, do not count.

    Args:
        x: (H, W).
        window: (kh, kw) of the kernel.

    Returns:
        The rate; 0 if x is zero under every window, so that nothing can be learned from it.
    """
    patches = torch.stack([stop.window.reshape(-1) for stop in stops(x, window)])  # (OH OW, kh kw)
    curvatures = 2 * torch.linalg.eigvalsh(patches.T @ patches)
    steepest = curvatures.max().item()
    seen = curvatures[curvatures > steepest * 1e-9]
    return 2 / (seen.min().item() + steepest) if len(seen) else 0.0
