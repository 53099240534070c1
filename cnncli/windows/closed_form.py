"""Receptive fields in closed form: a pattern of pixels, padding included, that repeats from unit to unit.

A stack of convolutions needs one pattern: unit i sees `start + i * jump` to `end + i * jump` (Araujo, Norris and Sim,
"Computing Receptive Fields of Convolutional Neural Networks", Distill 2019). After a transposed convolution, an
interpolation or an adaptive pool with unequal bins, the patterns of several units alternate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd, lcm
from typing import Self

from cnncli.limits import MAX_READS
from cnncli.windows.window import Window

MAX_PATTERNS = 2048
"""A closed form with more alternating patterns is not computed."""
MAX_SPAN = 2**20
"""Nor is one whose patterns span more pixels, padding included ..."""
MAX_BITS = 2**33
"""... or that is made of more bits: patterns x positions read x pixels."""


@dataclass(frozen=True)
class Pattern:
    """A set of pixels: bit i of `mask` is pixel `start + i`. Bit 0 is set, unless the set is empty."""

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
        """Number of pixels in the set: less than `size` if there are holes."""
        return self.mask.bit_count()

    def shifted(self, pixels: int) -> "Pattern":
        """The pattern moved by `pixels`."""
        return Pattern(self.start + pixels, self.mask)

    @classmethod
    def union(cls, patterns: Sequence["Pattern"]) -> "Pattern":
        """All pixels that are in any of the patterns."""
        filled = [pattern for pattern in patterns if pattern.mask]
        start = min((pattern.start for pattern in filled), default=0)
        mask = 0
        for pattern in filled:
            mask |= pattern.mask << (pattern.start - start)
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
    def is_uniform(self) -> bool:
        """Whether all units see the same pattern, evenly spaced."""
        return len(self.patterns) == 1

    @property
    def size(self) -> int:
        """The largest size of a pattern."""
        return max(pattern.size for pattern in self.patterns)

    @property
    def center(self) -> Fraction:
        """The center of what unit 0 sees; if patterns alternate, their mean center, each moved back by its jumps."""
        filled = [(i, pattern) for i, pattern in enumerate(self.patterns) if pattern.mask]
        centers = (Fraction(pattern.start + pattern.end, 2) - i * self.jump for i, pattern in filled)
        return sum(centers, Fraction(0)) / max(1, len(filled))

    def pattern(self, unit: int) -> Pattern:
        """What a unit sees; units before the first and after the last are those a padded position would be."""
        period, place = divmod(unit, len(self.patterns))
        return self.patterns[place].shifted(period * self.step)

    def through(self, window: Window, size: int) -> "ClosedForm | None":
        """The closed form of the units that read these `size` units through `window`; None if there is none."""
        return _through(self, window, size)

    @classmethod
    def union(cls, forms: Sequence["ClosedForm"]) -> "ClosedForm | None":
        """The closed form of units that read the same position of several layers; None if their jumps differ."""
        if len({form.jump for form in forms}) > 1:
            return None
        period = lcm(*(len(form.patterns) for form in forms))
        if period > MAX_PATTERNS:
            return None
        patterns = tuple(Pattern.union([form.pattern(unit) for form in forms]) for unit in range(period))
        return cls(patterns, int(period * forms[0].jump))


@lru_cache(maxsize=256)
def _through(form: ClosedForm, window: Window, size: int) -> ClosedForm | None:
    period = window.period(size)
    if period is None:
        return None
    units, positions = period
    repeats = len(form.patterns) // gcd(len(form.patterns), positions)
    if units * repeats > MAX_PATTERNS:
        return None
    reads = units * repeats * window.total_reads(size) // max(1, window.output_size(size))
    if reads > MAX_READS:
        return None
    span = _span(form, window, size, units * repeats)
    if span > MAX_SPAN or reads * span > MAX_BITS:
        return None
    patterns = tuple(
        Pattern.union([form.pattern(tap) for tap in window.taps(unit, size)]) for unit in range(units * repeats)
    )
    return ClosedForm(patterns, repeats * positions // len(form.patterns) * form.step)


def _span(form: ClosedForm, window: Window, size: int, units: int) -> int:
    """No unit sees more pixels than this, from the first to the last."""
    distance = 0  # positions from the first to the last that a unit reads
    for unit in range(units):
        taps = [*window.taps(unit, size)]
        distance = max(distance, taps[-1] - taps[0] if taps else 0)
    # Patterns that alternate are not exactly a jump apart.
    offsets = [pattern.start - i * form.jump for i, pattern in enumerate(form.patterns)]
    return ceil(distance * form.jump + max(offsets) - min(offsets)) + form.size
