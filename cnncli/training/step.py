"""One optimizer step: forward, loss, backward, clip, update, moving average.

Letters for shapes: N images of this process, C channels, H height, W width.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from cnncli.training.device import is_out_of_memory
from cnncli.training.loss import CROSS_ENTROPY, Loss
from cnncli.training.process_group import ALONE, ProcessGroup
from cnncli.training.profile import Profile, Span, unmeasured
from cnncli.training.state import Training

_log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]

_CHECK_EVERY = 50
"""Steps between two checks where they are deferred."""
_FOUND_INF = "found_inf"
"""Attribute by which `torch.amp.GradScaler` makes fused optimizers skip a step."""


class NonFiniteStep(Exception):  # noqa: N818  the loop turns it into a DivergedError
    """The loss or gradient of a step was not finite; the weights are those before the step."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


def can_defer_checks(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the device itself can skip steps: fused optimizers on CUDA."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return fused and _device(optimizer).type == "cuda"


def _device(optimizer: torch.optim.Optimizer) -> torch.device:
    parameters: list[Tensor] = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return parameters[0].device


class FiniteGuard:
    """Takes optimizer steps while loss and gradient are finite.

    On the CPU each step is checked before it is taken. On a GPU that would wait for the device at every step. There the
    device decides: fused optimizers change nothing where `found_inf` is 1, and it stays 1 from the first bad step on.
    Whenever a deferred check looks, the weights are those before that step.

    Args:
        optimizer: takes the steps.
        deferred: see `can_defer_checks`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, deferred: bool) -> None:
        self._optimizer = optimizer
        self._deferred = deferred
        self._first: int | None = None
        self._last = 0
        if deferred:
            device = _device(optimizer)
            self._found_inf = torch.zeros((), device=device)
            self._good_steps = torch.zeros((), dtype=torch.int64, device=device)
            setattr(optimizer, _FOUND_INF, self._found_inf)

    def step(self, loss: Tensor, *, clip_norm: float | None, number: int) -> None:
        """Clip the gradient and take step `number`.

        Args:
            loss: of the whole batch.
            clip_norm: the largest norm of the gradient.
            number: from 1.

        Raises:
            NonFiniteStep: this step is not finite or, with deferred checks, one of the last 50.
        """
        finite = torch.isfinite(loss + _clip(self._optimizer, clip_norm))
        if not self._deferred:
            if not bool(finite):
                raise NonFiniteStep(number)
            self._optimizer.step()
            return
        self._first, self._last = self._first or number, number
        self._found_inf.clamp_(min=(~finite).to(self._found_inf.dtype))
        self._good_steps += self._found_inf == 0
        self._optimizer.step()
        if number % _CHECK_EVERY == 0:
            self.check()

    def reset(self) -> None:
        """Forget all steps so far, after the training has returned to an earlier one."""
        self._first, self._last = None, 0
        if self._deferred:
            self._found_inf.zero_()
            self._good_steps.zero_()

    def check(self) -> None:
        """Wait for the device; raise NonFiniteStep if one of the steps so far was not finite."""
        if self._first is not None and (bad := self._first + int(self._good_steps)) <= self._last:
            raise NonFiniteStep(bad)


def _clip(optimizer: torch.optim.Optimizer, clip_norm: float | None) -> Tensor:
    """Scale the gradient down to `clip_norm` if it is longer; returns its norm before."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = get_total_norm([p.grad for p in parameters])
    if clip_norm is not None:
        clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm


class Step:
    """Takes training steps.

    Args:
        training: what is trained; its counters and sums advance with every step.
        loss: the loss to minimize.
        clip_norm: the largest norm of the gradient.
        bf16: whether convolutions and linear layers compute in bfloat16; weights, loss and gradients stay float32.
        compiled: whether to run the model through `torch.compile`; only with one process.
        accumulate: the gradient of a batch is the sum of those of so many parts, computed one after another.
        profile: measures the parts of a step.
        group: the processes that take each step together.

    Attributes:
        guard: takes the optimizer steps.
        shard: what this process computes of each batch.
        span: names what time is spent on, for the profile.
        rng_before: state of the CPU's random number generator before the last step.
    """

    def __init__(
        self,
        training: Training,
        *,
        loss: Loss = CROSS_ENTROPY,
        clip_norm: float | None = None,
        bf16: bool = False,
        compiled: bool = False,
        accumulate: int = 1,
        profile: Profile | None = None,
        group: ProcessGroup = ALONE,
    ) -> None:
        assert group.size == 1 or not compiled, "a process whose compiler fails would wait for the others forever"
        self.training = training
        self.group = group
        self.shard = replace(group.shard, parts=accumulate)
        self.span: Span = unmeasured if profile is None else profile.span
        self.guard = FiniteGuard(training.optimizer, deferred=can_defer_checks(training.optimizer))
        self.rng_before = torch.get_rng_state()
        self._loss = loss
        self._clip_norm = clip_norm
        self._bf16 = bf16
        self._profile = profile
        training.freeze()
        self._uncompiled: Forward = group.replicate(training.model)
        self._forward: Forward = torch.compile(training.model) if compiled else self._uncompiled

    def begin_epoch(self) -> None:
        """Freeze and unfreeze layers for the epoch to come."""
        if self.training.freeze() and self.group.size > 1:
            # Gradients are averaged of those parameters that are trained when the replica is made.
            del self._uncompiled, self._forward
            self._uncompiled = self._forward = self.group.replicate(self.training.model)

    def take(self, images: Tensor, targets: Tensor, batch_size: int) -> None:
        """Take one step on the shard of this process.

        Args:
            images: (N, C, H, W).
            targets: labels (N,); or the share of each class (N, K), of which the larger one counts as the label.
            batch_size: images in the whole batch.

        Raises:
            NonFiniteStep: by the guard; neither weights nor counters have changed since the bad step.
        """
        training = self.training
        self.rng_before = torch.get_rng_state()
        for parameters in training.optimizer.param_groups:
            parameters["lr"] = training.learning_rate(training.step) * parameters.get("lr_scale", 1.0)
        loss, logits = self._forward_and_backward(images, targets, batch_size)
        labels = targets.argmax(dim=1) if targets.is_floating_point() else targets
        loss, correct = self.group.reduce(loss.detach(), (logits.detach().argmax(dim=1) == labels).sum())
        with self.span("optimizer"):
            self.guard.step(loss, clip_norm=self._clip_norm, number=training.step + 1)
        if training.ema:
            with self.span("moving average"):
                training.ema.update(training.step)
        training.sums = training.sums.plus(loss, correct, batch_size)
        training.step += 1
        training.step_in_epoch += 1
        if self._profile is not None:
            self._profile.step()

    def loss(
        self, forward: Forward, images: Tensor, targets: Tensor, weight: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss to minimize, a float32 scalar, and the logits (N, classes) in float32.

        The loss is the mean over the images or, with a weight, the weight times their sum.
        """
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            logits = forward(images)
        logits = logits.float()
        if weight is None:
            return self._loss(logits, targets), logits
        return self._loss(logits, targets, reduction="sum") * weight, logits

    def _forward_and_backward(self, images: Tensor, targets: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        try:
            return self._gradients(images, targets, batch_size)
        except Exception as error:
            # Compilers fail in many ways, and late: at the first call, at the first backward pass, at the first batch
            # of another size. An error that is not the compiler's occurs again without it.
            if self._forward is self._uncompiled or is_out_of_memory(error):
                raise
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            _log.warning(f"torch.compile failed ({first_line}); training continues without it")
            self._forward = self._uncompiled
            return self._gradients(images, targets, batch_size)

    def _gradients(self, images: Tensor, targets: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        self.training.optimizer.zero_grad(set_to_none=True)
        parts = list(self.parts(images, targets, batch_size))
        weight = self.group.loss_weight(batch_size)
        if len(parts) > 1 and weight is None:
            weight = 1 / batch_size
        losses, all_logits = [], []
        for number, (some, their_targets, count) in enumerate(parts, 1):
            with self.group.gradients_kept(self._forward) if number < len(parts) else nullcontext():
                with self.span("forward"), self.group.sync_batch(count):
                    loss, logits = self.loss(self._forward, some, their_targets, weight)
                with self.span("backward"):
                    torch.autograd.backward(loss)
            losses.append(loss.detach())
            all_logits.append(logits.detach())
        return (losses[0], all_logits[0]) if len(parts) == 1 else (torch.stack(losses).sum(), torch.cat(all_logits))

    def parts(self, images: Tensor, targets: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """The parts of a batch that are computed one after another.

        Args:
            images, targets: the shard of this process.
            batch_size: images in the whole batch.

        Yields:
            The images and targets of this process, and the number of images of the part in all processes.
        """
        start = 0
        for part in self.shard.parts_of(batch_size):
            count = part.stop - part.start
            own = self.group.shard.of(count)
            end = start + own.stop - own.start
            yield images[start:end], targets[start:end], count
            start = end
