"""The progress of an epoch, written by the loop and read by a display; neither waits for the other."""

from dataclasses import dataclass, replace
from math import nan
from time import perf_counter

import torch
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Mean loss per image, and the fraction of images classified correctly.

    Of images that were evaluated, also the macro-averaged scores and, with enough classes, the top-k accuracy; see
    `Evaluation`.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float | None = None
    macro_precision: float | None = None
    macro_f1: float | None = None
    top_k_accuracy: float | None = None


EVALUATED_SCORES = ("balanced_accuracy", "macro_precision", "macro_f1", "top_k_accuracy")
"""The scores of images that were evaluated, besides loss and accuracy."""


@dataclass(frozen=True)
class Sums:
    """Running sums over the training batches of an epoch.

    They stay on the device: reading them waits for it, so only `score` does.
    """

    loss: Tensor
    correct: Tensor
    images: int

    @staticmethod
    def zero(device: torch.device) -> "Sums":
        """Before the first batch."""
        return Sums(torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0)

    def plus(self, loss: Tensor, correct: Tensor, images: int) -> "Sums":
        """With one more batch: its mean loss, its correct predictions and its size."""
        return Sums(self.loss + loss * images, self.correct + correct, self.images + images)

    def score(self) -> Score:
        """The means; NaN before the first batch."""
        if not self.images:
            return Score(nan, nan)
        return Score(float(self.loss) / self.images, int(self.correct) / self.images)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The state of an epoch after a step.

    Attributes:
        epoch, epochs: the current epoch, from 1, and how many there will be.
        step, steps: steps taken in this epoch, and how many it has.
        sums: over those steps.
        first_step, first_images: steps and images of the epoch before it was resumed.
        seconds: since the epoch began or was resumed.
    """

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    sums: Sums | None = None
    first_step: int = 0
    first_images: int = 0
    seconds: float = 0.0

    @property
    def score(self) -> Score:
        """Means over the epoch so far; NaN before its first step. Waits for the device."""
        return Score(nan, nan) if self.sums is None else self.sums.score()

    @property
    def images_per_second(self) -> float:
        """Since the epoch began or was resumed; 0 before the first step."""
        images = 0 if self.sums is None else self.sums.images - self.first_images
        return images / self.seconds if self.seconds else 0.0

    @property
    def seconds_per_step(self) -> float:
        """Since the epoch began or was resumed; 0 before the first step."""
        steps = self.step - self.first_step
        return self.seconds / steps if steps else 0.0


class Progress:
    """The state of the loop, for a display in another thread.

    `write` replaces one immutable object, which no reader can see half-written, and does not wait for the device.
    """

    def __init__(self) -> None:
        self._reading = Reading()
        self._began = 0.0

    def begin(self, *, epoch: int, epochs: int, step: int, steps: int, sums: Sums) -> None:
        """Begin an epoch, or resume it after a step."""
        self._began = perf_counter()
        self._reading = Reading(
            epoch=epoch, epochs=epochs, step=step, steps=steps, sums=sums, first_step=step, first_images=sums.images
        )

    def write(self, step: int, sums: Sums) -> None:
        """Record a step."""
        self._reading = replace(self._reading, step=step, sums=sums, seconds=perf_counter() - self._began)

    def read(self) -> Reading:
        """The state after the last step."""
        return self._reading
