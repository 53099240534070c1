"""One optimizer step: forward, loss, backward, clip, update, average."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.training.device import is_out_of_memory
from cnncli.training.guard import guard_for
from cnncli.training.profile import Profile, Span, unmeasured
from cnncli.training.state import Training

Forward = Callable[[Tensor], Tensor]


class Step:
    """Takes steps of a training.

    Args:
        training: what is trained; its counters and sums move on with every step.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al., 2016).
        clip_norm: longest gradient that is let through unshortened.
        bf16: whether convolutions and linears compute in bfloat16; weights, loss and gradients stay float32.
        compiled: whether to run the model through `torch.compile`.
        notify: takes a message for the user, such as that compiling failed.
        profile: told what the time is spent on, and of every step.

    Attributes:
        guard: of the training's device.
        span: names what the time is spent on.
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
        notify: Callable[[str], None],
        profile: Profile | None,
    ) -> None:
        self._training = training
        self._label_smoothing = label_smoothing
        self._clip_norm = clip_norm
        self._bf16 = bf16
        self._notify = notify
        self._profile = profile
        self.span: Span = unmeasured if profile is None else profile.span
        self.guard = guard_for(training.device)
        self.random_before = torch.get_rng_state()
        self._forward: Forward = training.model
        if compiled:  # once for a training, however often its loop stops and goes on
            training.compiled = training.compiled or torch.compile(training.model)
            self._forward = training.compiled

    def take(self, images: Tensor, labels: Tensor) -> None:
        """One step on images (N, C, H, W) and labels (N,).

        Raises:
            NotFinite: by the guard; then neither weights nor counters have moved.
        """
        training = self._training
        self.random_before = torch.get_rng_state()
        rate = training.schedule(training.step)
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        loss, logits = self._forward_and_backward(images, labels)
        with self.span("optimizer"):
            self.guard.step(training.optimizer, loss, clip_norm=self._clip_norm, number=training.step + 1)
        if training.average:
            with self.span("average"):
                training.average.update(training.step)
        training.sums = training.sums.plus(loss, logits, labels)
        training.step += 1
        training.step_in_epoch += 1
        if self._profile is not None:
            self._profile.step()

    def loss(self, forward: Forward, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss to be made small, and the logits (N, classes), both float32."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            logits = forward(images)
        logits = logits.float()
        return F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing), logits

    def _forward_and_backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return self._gradients(images, labels)
        except Exception as error:
            # Compilers fail in many ways, and late: at the first call, at the first backward, at the first
            # batch of another size. What is not their fault fails again without them.
            if self._forward is self._training.model or is_out_of_memory(error):
                raise
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            self._notify(f"torch.compile does not work here ({first_line}); training goes on without it")
            self._forward = self._training.compiled = self._training.model
            return self._gradients(images, labels)

    def _gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self._training.optimizer.zero_grad(set_to_none=True)
        with self.span("forward"):
            loss, logits = self.loss(self._forward, images, labels)
        with self.span("backward"):
            self.guard.backward(loss)
        return loss, logits
