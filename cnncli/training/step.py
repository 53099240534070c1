"""One optimizer step: forward, loss, backward, clip, update, average."""

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from cnncli.training.device import is_out_of_memory
from cnncli.training.process_group import Group
from cnncli.training.profile import Profile, Span, unmeasured
from cnncli.training.state import Training

_log = logging.getLogger(__name__)

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


Forward = Callable[[Tensor], Tensor]


class Step:
    """Takes steps of a training.

    Args:
        training: what is trained; its counters and sums move on with every step.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016).
        clip_norm: longest gradient that is let through unshortened.
        bf16: whether convolutions and linears compute in bfloat16; weights, loss and gradients stay float32.
        compiled: whether to run the model through `torch.compile`; only where one process trains alone.
        profile: told what the time is spent on, and of every step.
        group: the processes that take the step together, each on its share of the batch.

    Attributes:
        guard: of the training's device.
        span: names what the time is spent on.
        group: as given.
        random_before: the state of the CPU's random numbers before the last step.
    """

    def __init__(
        self,
        training: Training,
        *,
        label_smoothing: float,
        clip_norm: float | None,
        bf16: bool,
        compiled: bool,
        profile: Profile | None,
        group: Group,
    ) -> None:
        self._training = training
        self._label_smoothing = label_smoothing
        self._clip_norm = clip_norm
        self._bf16 = bf16
        self._profile = profile
        self.group = group
        self.span: Span = unmeasured if profile is None else profile.span
        self.guard = guard_for(training.device)
        self.random_before = torch.get_rng_state()
        # Once for a training, however often its loop stops and goes on.
        if training.replicated is None:
            training.replicated = group.replicated(training.model)
        self._plain: Forward = training.replicated
        self._forward: Forward = self._plain
        if compiled:
            assert group.size == 1, "if one of several compiles in vain, it exchanges numbers that the others do not"
            if training.compiled is None:  # not `or`: a compiled model that is asked for its truth asks for its length
                training.compiled = torch.compile(training.replicated)
            self._forward = training.compiled

    def take(self, images: Tensor, labels: Tensor, whole: int) -> None:
        """One step on images (N, C, H, W) and labels (N,).

        Args:
            images, labels: what this process has of the batch.
            whole: images in the batch, those of other processes included.

        Raises:
            NotFinite: by the guard; then neither weights nor counters have moved.
        """
        training = self._training
        self.random_before = torch.get_rng_state()
        rate = training.schedule(training.step)
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        loss, logits = self._forward_and_backward(images, labels, whole)
        loss, correct = self.group.over_all(loss.detach(), (logits.detach().argmax(dim=1) == labels).sum())
        with self.span("optimizer"):
            self.guard.step(training.optimizer, loss, clip_norm=self._clip_norm, number=training.step + 1)
        if training.average:
            with self.span("average"):
                training.average.update(training.step)
        training.sums = training.sums.plus(loss, correct, whole)
        training.step += 1
        training.step_in_epoch += 1
        if self._profile is not None:
            self._profile.step()

    def loss(
        self, forward: Forward, images: Tensor, labels: Tensor, weight: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss to be made small, and the logits (N, classes), both float32.

        It is the mean over the images, or, with a weight, that times their sum.
        """
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            logits = forward(images)
        logits = logits.float()
        if weight is None:
            return F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing), logits
        losses = F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing, reduction="sum")
        return losses * weight, logits

    def _forward_and_backward(self, images: Tensor, labels: Tensor, whole: int) -> tuple[Tensor, Tensor]:
        try:
            return self._gradients(images, labels, whole)
        except Exception as error:
            # Compilers fail in many ways, and late: at the first call, at the first backward, at the first
            # batch of another size. What is not their fault fails again without them.
            if self._forward is self._plain or is_out_of_memory(error):
                raise
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            _log.warning(f"torch.compile does not work here ({first_line}); training goes on without it")
            self._forward = self._training.compiled = self._plain
            return self._gradients(images, labels, whole)

    def _gradients(self, images: Tensor, labels: Tensor, whole: int) -> tuple[Tensor, Tensor]:
        self._training.optimizer.zero_grad(set_to_none=True)
        with self.span("forward"), self.group.whole_batch(whole):
            loss, logits = self.loss(self._forward, images, labels, self.group.weight(whole))
        with self.span("backward"):
            self.guard.backward(loss)
        return loss, logits
