"""Fields in closed form: the pixels that every unit sees, padding included, as a pattern that repeats.

A stack of convolutions needs one pattern: unit i sees `start + i * jump` to `end + i * jump` (Araujo, Norris and Sim,
"Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). Transposed convolutions, interpolation
and unequal adaptive bins make units take turns, and need as many patterns as there are turns. Padding counts as pixels
outside the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import Self

from cnncli.windows.window import Window

LONGEST = 2048
"""Turns that are followed; where there would be more, no closed form is given."""


@dataclass(frozen=True)
class Pattern:
    """Some pixels: bit i of `mask` is pixel `start + i`. Bit 0 is set, unless there are none."""

    start: int
    mask: int

    @property
    def end(self) -> int:
        """The last pixel."""
        return self.start + self.mask.bit_length() - 1

    @property
    def size(self) -> int:
        """Pixels from the first to the last, both included."""
        return self.mask.bit_length()

    @property
    def used(self) -> int:
        """Pixels that are really in it: fewer than `size` where there are holes."""
        return self.mask.bit_count()

    def shifted(self, pixels: int) -> "Pattern":
        """The same pattern further on."""
        return Pattern(self.start + pixels, self.mask)

    @classmethod
    def union(cls, patterns: Sequence["Pattern"]) -> "Pattern":
        """All pixels that are in any of them."""
        there = [each for each in patterns if each.mask]
        if not there:
            return cls(0, 0)
        start = min(each.start for each in there)
        mask = 0
        for each in there:
            mask |= each.mask << (each.start - start)
        return cls(start, mask)


@dataclass(frozen=True)
class ClosedForm:
    """Unit `q * len(patterns) + r` sees `patterns[r]`, shifted by `q * step` pixels."""

    patterns: tuple[Pattern, ...]
    step: int

    @classmethod
    def of_input(cls) -> Self:
        """Pixel i sees pixel i."""
        return cls((Pattern(0, 1),), 1)

    @property
    def jump(self) -> Fraction:
        """Pixels from one unit to the next, on average."""
        return Fraction(self.step, len(self.patterns))

    @property
    def even(self) -> bool:
        """Whether all units see the same pattern, evenly spaced."""
        return len(self.patterns) == 1

    @property
    def size(self) -> int:
        """The largest size of a pattern."""
        return max(pattern.size for pattern in self.patterns)

    @property
    def center(self) -> Fraction:
        """The middle of what unit 0 sees; the mean over one turn, moved back to unit 0, where units take turns."""
        there = [(i, each) for i, each in enumerate(self.patterns) if each.mask]
        middles = (Fraction(each.start + each.end, 2) - i * self.jump for i, each in there)
        return sum(middles, Fraction(0)) / max(1, len(there))

    def pattern(self, unit: int) -> Pattern:
        """What a unit sees; also of units before the first and after the last, which a padded position would be."""
        turn, place = divmod(unit, len(self.patterns))
        return self.patterns[place].shifted(turn * self.step)

    def through(self, window: Window, size: int) -> "ClosedForm | None":
        """The cycle of units that read these `size` units through `window`; None where it would be too long."""
        return _through(self, window, size)

    @classmethod
    def union(cls, cycles: Sequence["ClosedForm"]) -> "ClosedForm | None":
        """The cycle of units that read the same position of several layers; None where these drift apart."""
        if len({cycle.jump for cycle in cycles}) > 1:
            return None
        turns = lcm(*(len(cycle.patterns) for cycle in cycles))
        if turns > LONGEST:
            return None
        patterns = tuple(Pattern.union([cycle.pattern(unit) for cycle in cycles]) for unit in range(turns))
        return cls(patterns, int(turns * cycles[0].jump))


@lru_cache(maxsize=256)
def _through(cycle: ClosedForm, window: Window, size: int) -> ClosedForm | None:
    repeats = window.cycle(size)
    if repeats is None:
        return None
    units, positions = repeats
    times = len(cycle.patterns) // gcd(len(cycle.patterns), positions)
    if units * times > LONGEST:
        return None
    patterns = tuple(
        Pattern.union([cycle.pattern(tap) for tap in window.taps(unit, size)]) for unit in range(units * times)
    )
    return ClosedForm(patterns, times * positions // len(cycle.patterns) * cycle.step)
