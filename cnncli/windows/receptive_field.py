"""What the units of one axis of a layer see of the input."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

from cnncli.windows.closed_form import ClosedForm
from cnncli.windows.window import Window


@dataclass(frozen=True)
class AxisReceptiveField:
    """What the units of one axis of a layer see of the input.

    A field is kept twice: as the real pixels that each unit sees, which is exact for every window, and in closed form,
    where one exists, which counts padding as pixels outside the image.

    Attributes:
        seen: for every unit the set of input pixels it sees, as a bit mask (bit p is pixel p).
        cycle: the closed form, or None where there is none.
        jump: input pixels from one unit to the next, on average.
        smallest: of the paths that lead here, the one that sees least; one for every jump that paths have, none where
            every path reads the whole input.
        largest: likewise the one that sees most.
    """

    seen: tuple[int, ...]
    cycle: ClosedForm | None
    jump: Fraction
    smallest: tuple[ClosedForm, ...]
    largest: tuple[ClosedForm, ...]

    @classmethod
    def of_input(cls, size: int) -> "AxisReceptiveField":
        """The field of the input itself: pixel i sees pixel i."""
        cycle = ClosedForm.of_input()
        return cls(tuple(1 << i for i in range(size)), cycle, Fraction(1), (cycle,), (cycle,))

    def through(self, window: Window) -> "AxisReceptiveField":
        """The field of a layer whose units read these units through `window`."""
        size = len(self.seen)
        return AxisReceptiveField(
            seen=_seen(self.seen, window),
            cycle=self.cycle and self.cycle.through(window, size),
            jump=self.jump * window.scale(size),
            smallest=_present(path.through(window, size) for path in self.smallest),
            largest=_present(path.through(window, size) for path in self.largest),
        )

    def everything(self, units: int) -> "AxisReceptiveField":
        """The field of `units` units that each read every one of these."""
        seen = 0
        for mask in self.seen:
            seen |= mask
        return AxisReceptiveField((seen,) * units, cycle=None, jump=self.jump, smallest=(), largest=())

    def blind(self) -> "AxisReceptiveField":
        """The same units, were they to see nothing."""
        return replace(self, seen=(0,) * len(self.seen))

    @classmethod
    def union(cls, fields: Sequence["AxisReceptiveField"]) -> "AxisReceptiveField":
        """The field of units that read the same position of several layers; a layer of one unit is read by all."""
        units = max(len(field.seen) for field in fields)
        seen = [0] * units
        for field in fields:
            assert len(field.seen) in (1, units), "branches that meet have one size, or one position"
            masks = field.seen if len(field.seen) == units else field.seen * units
            seen = [a | b for a, b in zip(seen, masks, strict=True)]
        lined_up = [field for field in fields if len(field.seen) == units]
        cycles = [field.cycle for field in lined_up if field.cycle is not None]
        return cls(
            seen=tuple(seen),
            cycle=ClosedForm.union(cycles) if len(cycles) == len(fields) else None,
            jump=max(field.jump for field in lined_up),
            smallest=_extreme([path for field in lined_up for path in field.smallest], sign=1),
            largest=_extreme([path for field in lined_up for path in field.largest], sign=-1),
        )

    def interval(self, unit: int) -> tuple[int, int] | None:
        """First and last real pixel that a unit sees; None where it sees none."""
        return interval(self.seen[unit])

    @property
    def size(self) -> int:
        """Pixels that the unit which sees most spans: with padding if there is a closed form, else inside the image."""
        return max(self.sizes, default=0) if self.cycle is None else self.cycle.size

    @cached_property
    def sizes(self) -> list[int]:
        """Pixels from the first to the last that each unit sees, inside the image."""
        return [mask.bit_length() - (mask & -mask).bit_length() + 1 if mask else 0 for mask in self.seen]


def interval(mask: int) -> tuple[int, int] | None:
    """First and last pixel of a bit mask; None where it is empty."""
    return ((mask & -mask).bit_length() - 1, mask.bit_length() - 1) if mask else None


@lru_cache(maxsize=64)  # height and width, and layers of one kind side by side, ask the same
def _seen(seen: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """The pixels that each unit sees which reads units that see `seen`."""
    size = len(seen)
    result = []
    for unit in range(window.output_size(size)):
        mask = 0
        for position in window.reads(unit, size):
            if 0 <= position < size:
                mask |= seen[position]
        result.append(mask)
    return tuple(result)


def _present(paths: Iterable[ClosedForm | None]) -> tuple[ClosedForm, ...]:
    return tuple(path for path in paths if path is not None)


def _extreme(paths: Iterable[ClosedForm], *, sign: int) -> tuple[ClosedForm, ...]:
    """For every jump the path of the smallest size, or of the largest where `sign` is -1."""
    best: dict[Fraction, ClosedForm] = {}
    for path in paths:
        kept = best.get(path.jump)
        if kept is None or sign * path.size < sign * kept.size:
            best[path.jump] = path
    return tuple(best.values())
