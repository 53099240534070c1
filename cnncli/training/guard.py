"""Keeps numbers that are not finite out of the weights: a step that would put them there is not taken."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

_CHECK_EVERY = 50


class NotFinite(Exception):  # noqa: N818  a message from the guard to the loop, which turns it into a DivergedError
    """The loss or the gradient of a step was not finite; the weights are as they were before it."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class Guard(Protocol):
    """Takes optimizer steps, or refuses them."""

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        ...

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, *, clip_norm: float | None, number: int) -> None:
        """Take step `number` if it is finite. Raises NotFinite, perhaps some steps late.

        `loss` is that of the whole batch, where `backward` gets that of a share of it.
        """
        ...

    def settle(self) -> None:
        """Raise NotFinite now, if it is due."""
        ...


def guard_for(device: torch.device) -> Guard:
    """The guard that costs least on a device."""
    return SkippingGuard(device) if device.type == "cuda" else WaitingGuard()


class WaitingGuard:
    """Looks at every loss and gradient before the step. On the CPU, looking does not mean waiting."""

    def backward(self, loss: Tensor) -> None:
        """See `Guard`."""
        torch.autograd.backward(loss)

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, *, clip_norm: float | None, number: int) -> None:
        """See `Guard`; raises at once."""
        norm = _clip(optimizer, clip_norm)
        if not bool(torch.isfinite(loss + norm)):
            raise NotFinite(number)
        optimizer.step()

    def settle(self) -> None:
        """See `Guard`; there is never anything left."""


class SkippingGuard:
    """Lets the device itself skip the step, so that the loop need not wait for it at every one.

    Waiting would leave a GPU idle while the next kernels are being launched. `torch.amp.GradScaler` has what
    is needed: it looks for numbers that are not finite on the device, and the fused optimizers read that
    finding in their kernel and leave weights and moments alone. Its scale stays 1, which changes no gradient.
    (RMSprop is not fused; there the scaler itself waits at every step, which is correct, only slower.)

    That skips one step. `_poison`, 0 as long as all is well and NaN from the first bad loss or norm on, is
    multiplied into every later loss and thereby keeps all later steps from being taken too: whenever the loop
    comes to look, the weights are those before the first bad step.
    """

    def __init__(self, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type, init_scale=1.0, growth_interval=2**31 - 1)
        self._poison = torch.zeros((), device=device)
        self._good_steps = torch.zeros((), dtype=torch.int64, device=device)
        self._first: int | None = None
        self._last = 0

    def backward(self, loss: Tensor) -> None:
        """See `Guard`."""
        # 0 times infinity is NaN as well. In a group it reaches the other processes with the gradient.
        self._poison = self._poison + 0 * loss.detach()
        torch.autograd.backward(self._scaler.scale(loss * (1 + self._poison)))

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, *, clip_norm: float | None, number: int) -> None:
        """See `Guard`; raises within 50 steps."""
        self._first = self._first or number
        self._last = number
        self._scaler.unscale_(optimizer)
        norm = _clip(optimizer, clip_norm)
        self._poison = self._poison + 0 * norm
        self._good_steps = self._good_steps + (self._poison == 0)
        self._scaler.step(optimizer)
        self._scaler.update()
        if number % _CHECK_EVERY == 0:
            self.settle()

    def settle(self) -> None:
        """See `Guard`; waits for the device."""
        if self._first is None:
            return
        first_bad = self._first + int(self._good_steps)
        if first_bad <= self._last:
            raise NotFinite(first_bad)


def _clip(optimizer: torch.optim.Optimizer, clip_norm: float | None) -> Tensor:
    """Shorten the gradient to `clip_norm` if it is longer; its length before."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = get_total_norm([p.grad for p in parameters])
    if clip_norm is not None:
        clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm
