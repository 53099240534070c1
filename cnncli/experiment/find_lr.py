"""The learning-rate range test: a short training whose learning rate rises from step to step.

Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, log, log10
from typing import Any

from torch import Tensor

from cnncli.drawing.chart import Chart, Curve
from cnncli.errors import DivergedError
from cnncli.experiment.setup import Experiment
from cnncli.experiment.train import build_step
from cnncli.training.progress import Sums
from cnncli.training.step import NonFiniteStep

STEPS = 200
LOWEST, HIGHEST = 1e-6, 10.0
_SMOOTHING = 0.9
_DIVERGED = 4.0
"""The test ends where the smoothed loss is so many times its minimum."""
_SAFETY = 10.0
"""Factor between the suggestion and the learning rate of the lowest loss, beyond which training becomes unstable."""


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The losses of a learning-rate range test.

    Attributes:
        learning_rates: of each step, ascending by a constant factor.
        losses: of the batch before each step.
        smoothed: their exponential moving averages.
        diverged: whether the test ended because the loss became too high or was not finite.
        suggestion: a learning rate to start with: a tenth of that of the lowest smoothed loss.
        field: of the config that it is for.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool
    suggestion: float
    field: str

    @property
    def best(self) -> int:
        """The step of the lowest smoothed loss."""
        return min(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    def explanation(self) -> str:
        """Why the suggestion was made."""
        lowest = self.learning_rates[self.best]
        end = f"above {self.learning_rates[-1]:.2g} the training diverges" if self.diverged else "it did not diverge"
        return (
            f"the smoothed loss is lowest at {lowest:.2g} ({self.smoothed[self.best]:.3f}), and {end}; "
            f"a tenth of that rate leaves a margin: --set {self.field}={self.suggestion:.2g}"
        )

    def rows(self, most: int) -> list[tuple[float, float, float]]:
        """Learning rate, loss and smoothed loss of up to `most` steps, evenly spaced, with the last one."""
        count = len(self.learning_rates)
        chosen = sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
        return [(self.learning_rates[i], self.losses[i], self.smoothed[i]) for i in chosen]

    def chart(self) -> Chart:
        """The losses over the learning rate; single losses that are far above are omitted."""
        limit = max(self.smoothed[: self.best + 1]) * 1.5
        ratio = self.learning_rates[1] / self.learning_rates[0]
        positions = [
            (1 + round(log(10.0**power / LOWEST, ratio)), f"1e{power:d}")
            for power in range(round(log10(LOWEST)), round(log10(HIGHEST)) + 1)
        ]
        shown = [
            Curve(label=label, mark=mark, values=tuple(value if value <= limit else None for value in values))
            for label, mark, values in (("loss", "l", self.losses), ("smoothed", "s", self.smoothed))
        ]
        return Chart(
            title="loss by learning rate",
            curves=tuple(shown),
            x_title="learning rate",
            x_labels=tuple((position, label) for position, label in positions if position <= len(self.losses)),
        )

    def as_record(self) -> dict[str, Any]:
        """The test as JSON values."""
        return {
            "learning_rates": list(self.learning_rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
            "diverged": self.diverged,
            "suggestion": self.suggestion,
            "field": self.field,
        }


def find_learning_rate(experiment: Experiment, *, stop: Callable[[], bool] = lambda: False) -> RangeTest:
    """Train with a rising learning rate until the loss is too high, or for `STEPS` steps.

    The weights of the experiment change; it must not be trained afterward.

    Args:
        experiment: not trained yet, in one process.
        stop: called after every step; once it is true the test ends.

    Raises:
        DivergedError: the loss is not finite before the learning rate matters.
    """
    training, step = experiment.training, build_step(experiment)
    training.schedule = rate = _rising
    training.model.train()
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    for images, targets in _batches(experiment):
        training.sums = Sums.zero(training.device)
        try:
            step.take(images, targets, len(images))
            step.guard.check()
            loss = training.sums.score().loss
        except NonFiniteStep:
            loss = float("nan")
        if diverged := not isfinite(loss):
            break
        losses.append(loss)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING ** len(losses)))
        diverged = smoothed[-1] > _DIVERGED * min(smoothed)
        if diverged or stop():
            break
    if len(losses) < 2:
        raise DivergedError(
            f"the loss is not finite at a learning rate of {rate(len(losses)):.2g}",
            remedy="check the network and the data: cnncli inspect shows the layers",
        )
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    return RangeTest(
        learning_rates=tuple(map(rate, range(len(losses)))),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        diverged=diverged,
        suggestion=float(f"{rate(lowest) / _SAFETY:.2g}"),
        field=f"train.optimizer.{experiment.config.train.optimizer.type}.lr",
    )


def _rising(step: int) -> float:
    """The learning rate of a step, from 0."""
    rate: float = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
    return rate


def _batches(experiment: Experiment) -> Iterator[tuple[Tensor, Tensor]]:
    """As many batches as there are steps, of as many epochs as needed."""
    epochs = -(-STEPS // len(experiment.train))
    batches = (batch for epoch in range(1, epochs + 1) for batch in experiment.train.epoch(epoch))
    for _, batch in zip(range(STEPS), batches, strict=False):
        yield batch
