"""The windows of convolutions and pools, along one axis."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd


class Window(ABC):
    """Which positions of one axis of its input a unit reads."""

    @abstractmethod
    def output_size(self, size: int) -> int:
        """Number of units over `size` input positions; 0 or less where nothing fits."""

    @abstractmethod
    def reads(self, unit: int, size: int) -> Iterable[int]:
        """Input positions that unit `unit` reads, in increasing order; those outside 0 .. size - 1 are padding."""

    @abstractmethod
    def cycle(self, size: int) -> tuple[int, int] | None:
        """`(units, positions)`: unit `i + units` reads what unit `i` reads, `positions` further on, or None."""

    def scale(self, size: int) -> Fraction:
        """Input positions from one unit to the next, on average."""
        cycle = self.cycle(size)
        return Fraction(1) if cycle is None else Fraction(cycle[1], cycle[0])

    def taps(self, unit: int, size: int) -> Iterable[int]:
        """The positions it would read if the input went on without end, and so did the units."""
        return self.reads(unit, size)


@dataclass(frozen=True, kw_only=True)
class Sliding(Window):
    """The window of a convolution or a pool: unit i reads `i * stride - before + dilation * j`, j = 0 .. kernel - 1."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    ceil_mode: bool = False

    @property
    def span(self) -> int:
        """Positions from the first tap to the last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    def output_size(self, size: int) -> int:
        """See `Window`. With `ceil_mode` a last window may hang over the end, but starts before it (as in torch)."""
        room = size + self.before + self.after - self.span
        if not self.ceil_mode:
            return room // self.stride + 1
        units = -(-room // self.stride) + 1
        return units - 1 if (units - 1) * self.stride >= size + self.before else units

    def reads(self, unit: int, size: int) -> range:
        """See `Window`."""
        first = unit * self.stride - self.before
        return range(first, first + self.span, self.dilation)

    def cycle(self, size: int) -> tuple[int, int]:
        """See `Window`."""
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
        """See `Window`."""
        return (size - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + self.output_padding + 1

    def reads(self, unit: int, size: int) -> list[int]:
        """See `Window`; empty for a unit that no input position reaches."""
        taps = (unit + self.padding - self.dilation * j for j in reversed(range(self.kernel)))
        return [tap // self.stride for tap in taps if tap % self.stride == 0]

    def cycle(self, size: int) -> tuple[int, int]:
        """See `Window`."""
        return self.stride, 1


@dataclass(frozen=True, kw_only=True)
class Adaptive(Window):
    """The bins of an adaptive pool: unit i of m reads `floor(i n / m)` to `ceil((i + 1) n / m) - 1` of n positions."""

    units: int

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return self.units

    def reads(self, unit: int, size: int) -> range:
        """See `Window`."""
        return range(unit * size // self.units, -(-(unit + 1) * size // self.units))

    def cycle(self, size: int) -> tuple[int, int]:
        """See `Window`."""
        common = gcd(size, self.units)
        return self.units // common, size // common


@dataclass(frozen=True)
class Gathered(Window):
    """Unit i reads the positions `positions[i]`, in increasing order and inside its input, as no formula says it."""

    positions: tuple[tuple[int, ...], ...]

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return len(self.positions)

    def reads(self, unit: int, size: int) -> tuple[int, ...]:
        """See `Window`."""
        return self.positions[unit]

    def cycle(self, size: int) -> None:
        """See `Window`: none is looked for."""
        return None

    def scale(self, size: int) -> Fraction:
        """See `Window`: of the middles of what units read, from the lowest to the highest; 1 if there is one unit."""
        middles = [Fraction(each[0] + each[-1], 2) for each in self.positions if each]
        return (max(middles) - min(middles)) / (len(middles) - 1) if len(middles) > 1 else Fraction(1)
