"""How far an epoch is: written by the loop, read by whoever draws it, neither waiting for the other."""

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Mean loss per image, and the fraction of images classified rightly."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Sums:
    """Running sums over the training batches of an epoch.

    They stay on the device: reading them waits until the device has come that far, so only `score` does.
    """

    loss: Tensor
    correct: Tensor
    images: int

    @staticmethod
    def zero(device: torch.device) -> "Sums":
        """No batch yet."""
        return Sums(torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0)

    def plus(self, loss: Tensor, correct: Tensor, images: int) -> "Sums":
        """One more batch: its mean loss, and how many of its images were classified rightly."""
        return Sums(self.loss + loss * images, self.correct + correct, self.images + images)

    def score(self) -> Score:
        """The means; not a number where there was no batch."""
        if not self.images:
            return Score(float("nan"), float("nan"))
        return Score(float(self.loss) / self.images, int(self.correct) / self.images)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a progress display shows.

    Attributes:
        epoch, epochs: the epoch under way, from 1, and how many there will be.
        step, steps: steps taken in this epoch, and how many it has.
        loss, accuracy: means over the epoch so far; not a number before its first step.
        images_per_second: over the part of the epoch that was trained without interruption.
        seconds_per_step: likewise; 0 before its first step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_per_step: float


class Progress:
    """The state of the loop for a display that polls it from another thread.

    `write` swaps in one tuple, which no reader can see half-written, and leaves tensors where they are.
    `read` fetches the numbers from the device; if that takes a while, it is the reader who waits.
    """

    def __init__(self) -> None:
        self._now: tuple[int, int, int, int, Sums | None, int, int, float, float] = (
            0,
            0,
            0,
            0,
            None,
            0,
            0,
            0.0,
            0.0,
        )

    def begin(self, *, epoch: int, epochs: int, step: int, steps: int, sums: Sums) -> None:
        """An epoch begins, or goes on at a step within it."""
        now = perf_counter()
        self._now = (epoch, epochs, step, steps, sums, step, sums.images, now, now)

    def write(self, step: int, sums: Sums) -> None:
        """A step was taken."""
        epoch, epochs, _, steps, _, steps_before, images_before, began, _ = self._now
        self._now = (epoch, epochs, step, steps, sums, steps_before, images_before, began, perf_counter())

    def read(self) -> Reading:
        """The state as of the last step."""
        epoch, epochs, step, steps, sums, steps_before, images_before, began, ended = self._now
        score = sums.score() if sums else Score(float("nan"), float("nan"))
        images = sums.images - images_before if sums else 0
        return Reading(
            epoch=epoch,
            epochs=epochs,
            step=step,
            steps=steps,
            loss=score.loss,
            accuracy=score.accuracy,
            images_per_second=images / (ended - began) if ended > began else 0.0,
            seconds_per_step=(ended - began) / (step - steps_before) if step > steps_before else 0.0,
        )
