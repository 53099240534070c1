"""Windows along one axis: the input positions that each unit of a convolution, pool or resampling reads."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, gcd
from struct import pack, unpack
from typing import Literal

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
"""What stands in the padding: zeros, or pixels of the map again, as in `torch.nn.Conv2d`."""


def _repeated(position: int, size: int, mode: str) -> int:
    """The position inside the input that a padded position repeats; with zeros (or any constant), the position."""
    match mode:
        case "reflect":  # about the first or last position
            return size - 1 - abs(size - 1 - abs(position))
        case "replicate":
            return min(max(position, 0), size - 1)
        case "circular":
            return position % size
    return position


class Window(ABC):
    """The input positions that each output unit reads, along one axis."""

    @abstractmethod
    def output_size(self, size: int) -> int:
        """Number of units over `size` input positions; 0 or less if the window does not fit."""

    @abstractmethod
    def reads(self, unit: int, size: int) -> Iterable[int]:
        """Input positions that a unit reads, in the order of its taps; those outside 0 .. size - 1 are padding."""

    @abstractmethod
    def period(self, size: int) -> tuple[int, int] | None:
        """`(units, positions)`: unit `i + units` reads what unit `i` reads, `positions` later. None: there is none."""

    @abstractmethod
    def total_reads(self, size: int) -> int:
        """The most positions that all units together read, counted once for each unit."""

    def scale(self, size: int) -> Fraction:
        """Input positions from one unit to the next, on average."""
        period = self.period(size)
        return Fraction(1) if period is None else Fraction(period[1], period[0])

    def taps(self, unit: int, size: int) -> Iterable[int]:
        """The positions a unit would read if the input, and the units, extended beyond the edges without limit."""
        return self.reads(unit, size)


@dataclass(frozen=True, kw_only=True)
class Sliding(Window):
    """The window of a convolution or a pool: unit i reads `i * stride - before + dilation * j`, j = 0 .. kernel - 1.

    Attributes:
        padding_mode: what it reads in the padding, at the two ends.
        used: the j whose weights are not known to be 0, in increasing order; None: all.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    ceil_mode: bool = False
    padding_mode: PaddingMode = "zeros"
    used: tuple[int, ...] | None = None

    @property
    def span(self) -> int:
        """Positions from the first tap to the last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    def output_size(self, size: int) -> int:
        """See `Window`. With `ceil_mode` the last window may extend past the end but starts before it, as in torch."""
        room = size + self.before + self.after - self.span
        if not self.ceil_mode:
            return room // self.stride + 1
        units = -(-room // self.stride) + 1
        return units - 1 if (units - 1) * self.stride >= size + self.before else units

    def reads(self, unit: int, size: int) -> Sequence[int]:
        taps = self.taps(unit, size)
        if self.padding_mode == "zeros":
            return taps
        return [_repeated(tap, size, self.padding_mode) for tap in taps]

    def taps(self, unit: int, size: int) -> Sequence[int]:
        first = unit * self.stride - self.before
        if self.used is not None:
            return [first + self.dilation * j for j in self.used]
        return range(first, first + self.span, self.dilation)

    def total_reads(self, size: int) -> int:
        return self.output_size(size) * self.kernel

    def period(self, size: int) -> tuple[int, int]:
        return 1, self.stride


@dataclass(frozen=True, kw_only=True)
class Transposed(Window):
    """The window of a transposed convolution: input i adds to the outputs `i * stride - padding + dilation * j`."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    output_padding: int = 0

    def output_size(self, size: int) -> int:
        return (size - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + self.output_padding + 1

    def reads(self, unit: int, size: int) -> list[int]:
        """See `Window`; empty if no input position contributes to the unit."""
        taps = (unit + self.padding - self.dilation * j for j in reversed(range(self.kernel)))
        return [tap // self.stride for tap in taps if tap % self.stride == 0]

    def total_reads(self, size: int) -> int:
        """See `Window`; with those between the input positions, which are looked at."""
        return self.output_size(size) * self.kernel

    def period(self, size: int) -> tuple[int, int]:
        return self.stride, 1


@dataclass(frozen=True, kw_only=True)
class Adaptive(Window):
    """The bins of an adaptive pool: unit i of m reads `floor(i n / m)` to `ceil((i + 1) n / m) - 1` of n positions."""

    units: int

    def output_size(self, size: int) -> int:
        return self.units

    def reads(self, unit: int, size: int) -> range:
        return range(unit * size // self.units, -(-(unit + 1) * size // self.units))

    def total_reads(self, size: int) -> int:
        return size + self.units

    def period(self, size: int) -> tuple[int, int]:
        common = gcd(size, self.units)
        return self.units // common, size // common


@dataclass(frozen=True)
class Gathered(Window):
    """Unit i reads the positions `positions[i]`, listed in increasing order, all inside the input."""

    positions: tuple[tuple[int, ...], ...]

    def output_size(self, size: int) -> int:
        return len(self.positions)

    def reads(self, unit: int, size: int) -> tuple[int, ...]:
        return self.positions[unit]

    def total_reads(self, size: int) -> int:
        return sum(map(len, self.positions))

    def period(self, size: int) -> None:
        """See `Window`: never periodic."""
        return None

    def scale(self, size: int) -> Fraction:
        """See `Window`: the mean distance between the centers of what units read, sorted; 1 for a single unit."""
        centers = [Fraction(each[0] + each[-1], 2) for each in self.positions if each]
        return (max(centers) - min(centers)) / (len(centers) - 1) if len(centers) > 1 else Fraction(1)


Interpolation = Literal["nearest", "nearest-exact", "linear", "cubic"]
_HALF = Fraction(1, 2)


@dataclass(frozen=True, kw_only=True)
class Resampled(Window):
    """The window of `torch.nn.functional.interpolate` to `units` positions, along one axis.

    With r input positions per unit, unit i lies at `floor(i r)` (nearest), `floor((i + 1/2) r)` (nearest-exact) or
    `(i + 1/2) r - 1/2` (linear, cubic; with `align_corners` at `i (n - 1) / (m - 1)`). Linear reads the two positions
    around that point and cubic the four, except those with weight 0: at a position itself, only that one is read.

    Attributes:
        units: size of the output.
        mode: interpolation mode.
        align_corners: whether the first and last units lie on the first and last positions.
        ratio: r, if it is not the ratio of the sizes (torch keeps a given `scale_factor`).
    """

    units: int
    mode: Interpolation = "nearest"
    align_corners: bool = False
    ratio: Fraction | None = None

    def output_size(self, size: int) -> int:
        return self.units

    def _ratio(self, size: int) -> Fraction:
        if self.align_corners:
            return Fraction(size - 1, self.units - 1) if self.units > 1 else Fraction(0)
        return self.ratio or Fraction(size, self.units)

    def _point(self, unit: int, size: int) -> Fraction:
        """The position of the unit on the axis of input positions."""
        match self.mode:
            case "nearest":
                return unit * self._ratio(size)
            case "nearest-exact":
                return (unit + _HALF) * self._ratio(size)
        if self.align_corners:
            return unit * self._ratio(size)
        return (unit + _HALF) * self._ratio(size) - _HALF

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`; beyond an edge, the position at the edge.

        Points are rounded to float32 once, as in torch's kernels, which can change the nearest position, or give a
        neighbor a weight near 1e-8 instead of 0.
        """
        if self.units == size:
            return (unit,)
        ratio, half = _float32(float(self._ratio(size))), 0.0 if self.mode == "nearest" or self.align_corners else 0.5
        offset = half if self.mode in ("linear", "cubic") else 0.0
        point = _float32(ratio * (unit + half) - offset)
        if self.mode == "linear":
            point = max(point, 0.0)
        return sorted({min(max(tap, 0), size - 1) for tap in self._neighbors(point)})

    def total_reads(self, size: int) -> int:
        return 4 * self.units if self.mode == "cubic" else 2 * self.units

    def taps(self, unit: int, size: int) -> Iterable[int]:
        if self.units == size:
            return (unit,)
        return self._neighbors(self._point(unit, size))

    def _neighbors(self, point: Fraction | float) -> Iterable[int]:
        """The positions from which the value at a point is interpolated."""
        first = floor(point)
        match self.mode:
            case "nearest" | "nearest-exact":
                return (first,)
            case _ if point == first:  # the others have weight 0
                return (first,)
            case "linear":
                return (first, first + 1)
            case "cubic":
                return range(first - 1, first + 3)

    def period(self, size: int) -> tuple[int, int]:
        ratio = self._ratio(size)
        return ratio.denominator, ratio.numerator


def _float32(value: float) -> float:
    """The value rounded to float32."""
    (rounded,) = unpack("f", pack("f", value))
    assert isinstance(rounded, float)
    return rounded


@dataclass(frozen=True, kw_only=True)
class Padded(Window):
    """The window of `torch.nn.functional.pad`: unit i reads position `i - before`, or its substitute outside the input.

    Attributes:
        before, after: positions added at the two ends; negative numbers crop.
        mode: outside the input, `constant` reads nothing, `reflect` mirrors about the last position, `replicate`
            repeats it, and `circular` continues at the other end.
    """

    before: int
    after: int
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def output_size(self, size: int) -> int:
        return size + self.before + self.after

    def reads(self, unit: int, size: int) -> tuple[int]:
        position = unit - self.before
        if self.mode == "circular":  # only what is not cropped continues
            first, end = max(0, -self.before), size - max(0, -self.after)
            return (first + _repeated(position - first, end - first, self.mode),)
        return (_repeated(position, size, self.mode),)

    def total_reads(self, size: int) -> int:
        return self.output_size(size)

    def taps(self, unit: int, size: int) -> tuple[int]:
        return (unit - self.before,)

    def period(self, size: int) -> tuple[int, int]:
        return 1, 1
