"""Windows that put positions elsewhere: interpolation, and padding that repeats what is there."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from struct import pack, unpack
from typing import Literal

from cnncli.geometry.windows import Window

Interpolation = Literal["nearest", "nearest-exact", "linear", "cubic"]
_HALF = Fraction(1, 2)


@dataclass(frozen=True, kw_only=True)
class Resampled(Window):
    """The window of `torch.nn.functional.interpolate` to `units` positions, along one axis.

    With r input positions per unit, unit i lies at `floor(i r)` (nearest), `floor((i + 1/2) r)` (nearest-exact) or
    `(i + 1/2) r - 1/2` (linear, cubic; with `align_corners` at `i (n - 1) / (m - 1)`). Linear reads the two positions
    around that place and cubic the four, even where one of them has weight 0.

    Attributes:
        units: positions after it.
        mode: how values are blended.
        align_corners: the first and last units lie on the first and last positions.
        ratio: r, where it is not the ratio of the sizes (torch keeps a `scale_factor` that was given).
    """

    units: int
    mode: Interpolation = "nearest"
    align_corners: bool = False
    ratio: Fraction | None = None

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return self.units

    def _ratio(self, size: int) -> Fraction:
        if self.align_corners:
            return Fraction(size - 1, self.units - 1) if self.units > 1 else Fraction(0)
        return self.ratio or Fraction(size, self.units)

    def _place(self, unit: int, size: int) -> Fraction:
        """Where the unit lies among the input positions."""
        match self.mode:
            case "nearest":
                return unit * self._ratio(size)
            case "nearest-exact":
                return (unit + _HALF) * self._ratio(size)
        if self.align_corners:
            return unit * self._ratio(size)
        return (unit + _HALF) * self._ratio(size) - _HALF

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`; beyond the edges the last position is read again.

        Places are rounded to float32, once, as torch's kernels do; now and then another position is then the nearest.
        """
        if self.units == size and self.mode != "cubic":
            return (unit,)
        ratio, half = _float32(float(self._ratio(size))), 0.0 if self.mode == "nearest" or self.align_corners else 0.5
        behind = half if self.mode in ("linear", "cubic") else 0.0
        place = _float32(ratio * (unit + half) - behind)
        if self.mode == "linear":
            place = max(place, 0.0)
        return sorted({min(max(tap, 0), size - 1) for tap in self._around(place)})

    def taps(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`."""
        if self.units == size and self.mode != "cubic":
            return (unit,)
        return self._around(self._place(unit, size))

    def _around(self, place: Fraction | float) -> Iterable[int]:
        """The positions that a place between positions is blended from."""
        first = floor(place)
        match self.mode:
            case "nearest" | "nearest-exact":
                return (first,)
            case "linear":
                return (first, first + 1)
            case "cubic":
                return range(first - 1, first + 3)

    def cycle(self, size: int) -> tuple[int, int]:
        """See `Window`."""
        ratio = self._ratio(size)
        return ratio.denominator, ratio.numerator


def _float32(value: float) -> float:
    """The nearest number that float32 has."""
    (rounded,) = unpack("f", pack("f", value))
    assert isinstance(rounded, float)
    return rounded


@dataclass(frozen=True, kw_only=True)
class Padded(Window):
    """The window of `torch.nn.functional.pad`: unit i reads position `i - before`, or what stands in for it outside.

    Attributes:
        before, after: positions added at the two ends; negative ones are cut off.
        mode: `constant` reads nothing outside; `reflect` mirrors about the last position, `replicate` repeats it,
            `circular` goes on at the other end.
    """

    before: int
    after: int
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return size + self.before + self.after

    def reads(self, unit: int, size: int) -> tuple[int]:
        """See `Window`."""
        position = unit - self.before
        match self.mode:
            case "constant":
                return (position,)
            case "reflect":
                return (size - 1 - abs(size - 1 - abs(position)),)
            case "replicate":
                return (min(max(position, 0), size - 1),)
            case "circular":
                first, last = max(0, -self.before), size - 1 - max(0, -self.after)
                return (first + (position - first) % (last - first + 1),)

    def taps(self, unit: int, size: int) -> tuple[int]:
        """See `Window`."""
        return (unit - self.before,)

    def cycle(self, size: int) -> tuple[int, int]:
        """See `Window`."""
        return 1, 1
