"""What a chart of curves, usually over epochs, shows: values and axes, for pictures and for the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A value for each epoch, from epoch 1.

    Attributes:
        label: the text of the legend.
        mark: a character that stands for the curve in text.
        values: None where there is none.
    """

    label: str
    mark: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves on common axes.

    Attributes:
        title: what is drawn.
        curves: at least one of them has a value.
        percent: whether the values are fractions, to be written as percentages.
        x_title: what the positions of the values are.
        x_labels: positions, from 1, with their labels; None for numbers of epochs.
    """

    title: str
    curves: tuple[Curve, ...]
    percent: bool = False
    x_title: str = "epoch"
    x_labels: tuple[tuple[int, str], ...] | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs of the longest curve."""
        return max(len(curve.values) for curve in self.curves)

    def ticks(self, most: int) -> list[float]:
        """Round values in equal steps, from at or below the lowest value to at or above the highest; 2 to `most`."""
        values = [value for curve in self.curves for value in curve.values if value is not None]
        low, high = min(values), max(values)
        if high - low < 1e-9 * max(1.0, abs(high)):
            low, high = low - 0.005, high + 0.005
        step = next(each for each in _round_steps((high - low) / most) if ceil(high / each) - floor(low / each) < most)
        return [number * step for number in range(floor(low / step), ceil(high / step) + 1)]

    def x_ticks(self, most: int) -> list[tuple[int, str]]:
        """Positions with their labels; about `most` of them, if they are epochs."""
        if self.x_labels is not None:
            return list(self.x_labels)
        return [(epoch, str(epoch)) for epoch in epoch_ticks(self.epochs, most)]

    def format(self, value: float, *, step: float) -> str:
        """A value of the axis, with the digits that tell it from one that is `step` away."""
        scale = 100 if self.percent else 1
        digits = max(0, -floor(log10(step * scale) + 1e-9))
        return f"{value * scale:.{digits}f}" + "%" * self.percent


def _round_steps(least: float) -> Iterator[float]:
    """1, 2 or 5 times a power of ten: all of at least about `least`, ascending."""
    power = floor(log10(least))
    while True:
        yield from (factor * 10.0**power for factor in (1, 2, 5) if factor * 10.0**power >= 0.99 * least)
        power += 1


def epoch_ticks(epochs: int, most: int) -> list[int]:
    """The first epoch, and multiples of a round number up to the last; about `most` of them."""
    step = max(1, int(next(each for each in _round_steps(max(1.0, epochs / most)) if each >= 1)))
    return sorted({1, *range(step, epochs + 1, step)})


def segments(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The parts of a curve without gaps, each a list of epochs, from 1, with their values."""
    parts: list[list[tuple[int, float]]] = [[]]
    for epoch, value in enumerate(values, 1):
        if value is not None:
            parts[-1].append((epoch, value))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
