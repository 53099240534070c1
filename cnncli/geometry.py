"""Windows along one axis, and what a unit sees through a chain of them, in exact integers.

Pixels are numbered from 0 at the centre of the first input pixel. A *window* says which positions of its input a unit
of its output reads; composing windows gives a *field*: the input pixels that each unit of a layer sees. Fields are kept
twice: in closed form, where one exists (unit i sees `start + i * jump` to `end + i * jump`, counting padding as pixels
outside the image; Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019),
and as the set of real pixels that each unit sees, a bit mask per unit, which is exact for every window.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


class Window(Protocol):
    """Which positions of one axis of its input a unit reads."""

    def output_size(self, size: int) -> int:
        """Number of units over `size` input positions; 0 or less where nothing fits."""
        ...

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """Input positions that unit `unit` reads, in increasing order; those outside 0 .. size - 1 are padding."""
        ...

    def scale(self, size: int) -> Fraction:
        """Input positions from one unit to the next, on average."""
        ...

    def step(self, field: "Line", size: int) -> "Line | None":
        """The closed form after this window, or None where no single one is true for every unit."""
        ...


@dataclass(frozen=True)
class Line:
    """Unit i sees the pixels `start + i * jump` to `end + i * jump`; `start` < 0 where padding reaches out."""

    start: int
    end: int
    jump: int

    @property
    def size(self) -> int:
        """Pixels from the first to the last that is seen, both included."""
        return self.end - self.start + 1

    @property
    def center(self) -> Fraction:
        """The middle of what unit 0 sees; a half where the size is even."""
        return Fraction(self.start + self.end, 2)


@dataclass(frozen=True, kw_only=True)
class Sliding:
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

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`."""
        first = unit * self.stride - self.before
        return range(first, first + self.span, self.dilation)

    def scale(self, size: int) -> Fraction:
        """See `Window`."""
        return Fraction(self.stride)

    def step(self, field: Line, size: int) -> Line | None:
        """`start -= p * jump; end += (d(k - 1) - p) * jump; jump *= s`."""
        return Line(
            start=field.start - self.before * field.jump,
            end=field.end + (self.span - 1 - self.before) * field.jump,
            jump=field.jump * self.stride,
        )


@dataclass(frozen=True, kw_only=True)
class Transposed:
    """The window of a transposed convolution: input i adds to the outputs `i * stride - padding + dilation * j`."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    output_padding: int = 0

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return (size - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + self.output_padding + 1

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`; empty for a unit that no input position reaches."""
        taps = (unit + self.padding - self.dilation * j for j in reversed(range(self.kernel)))
        return [tap // self.stride for tap in taps if tap % self.stride == 0]

    def scale(self, size: int) -> Fraction:
        """See `Window`."""
        return Fraction(1, self.stride)

    def step(self, field: Line, size: int) -> Line | None:
        """A line only without stride: otherwise units take turns in what they see."""
        if self.stride != 1:
            return None
        reach = self.dilation * (self.kernel - 1)
        return Sliding(kernel=self.kernel, dilation=self.dilation, before=reach - self.padding).step(field, size)


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """The bins of an adaptive pool: unit i of m reads `floor(i n / m)` to `ceil((i + 1) n / m) - 1` of n positions."""

    units: int

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return self.units

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`."""
        return range(unit * size // self.units, -(-(unit + 1) * size // self.units))

    def scale(self, size: int) -> Fraction:
        """See `Window`."""
        return Fraction(size, self.units)

    def step(self, field: Line, size: int) -> Line | None:
        """A line where the bins are equal, which is where the number of units divides the size."""
        if size % self.units:
            return None
        bin_size = size // self.units
        return Sliding(kernel=bin_size, stride=bin_size).step(field, size)


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The window of `torch.nn.Upsample` to `units` positions: the nearest position, or the two that are blended.

    Positions follow `torch.nn.functional.interpolate` with `align_corners=False`: nearest reads `floor(i n / m)`;
    (bi)linear reads around `(i + 1/2) n / m - 1/2`.
    """

    units: int
    blend: bool

    def output_size(self, size: int) -> int:
        """See `Window`."""
        return self.units

    def reads(self, unit: int, size: int) -> Iterable[int]:
        """See `Window`."""
        if not self.blend:
            return (unit * size // self.units,)
        if self.units == size:
            return (unit,)
        place = max(Fraction(0), (unit + Fraction(1, 2)) * size / self.units - Fraction(1, 2))
        first = int(place)
        return (first, first + 1) if first + 1 < size else (first,)

    def scale(self, size: int) -> Fraction:
        """See `Window`."""
        return Fraction(size, self.units)

    def step(self, field: Line, size: int) -> Line | None:
        """A line only where nothing is resampled."""
        return field if self.units == size else None


@dataclass(frozen=True)
class Field:
    """What the units of one axis of a layer see of the input.

    Attributes:
        seen: for every unit the set of input pixels it sees, as a bit mask (bit p is pixel p).
        line: the closed form, padding included, or None where no single one is true.
        jump: input pixels from one unit to the next, on average.
    """

    seen: tuple[int, ...]
    line: Line | None
    jump: Fraction

    @classmethod
    def of_input(cls, size: int) -> "Field":
        """The field of the input itself: pixel i sees pixel i."""
        return cls(seen=tuple(1 << i for i in range(size)), line=Line(0, 0, 1), jump=Fraction(1))

    def through(self, window: Window) -> "Field":
        """The field of a layer whose units read these units through `window`."""
        size = len(self.seen)
        seen = []
        for unit in range(window.output_size(size)):
            mask = 0
            for position in window.reads(unit, size):
                if 0 <= position < size:
                    mask |= self.seen[position]
            seen.append(mask)
        line = self.line and window.step(self.line, size)
        return Field(tuple(seen), line, self.jump * window.scale(size))

    @classmethod
    def union(cls, fields: Sequence["Field"]) -> "Field":
        """The field of units that read the same position of several layers of one size."""
        seen = [0] * len(fields[0].seen)
        for field in fields:
            assert len(field.seen) == len(seen), "branches that meet have one shape"
            seen = [a | b for a, b in zip(seen, field.seen, strict=True)]
        lines = [field.line for field in fields if field.line]
        line = None
        if len(lines) == len(fields) and len({each.jump for each in lines}) == 1:
            line = Line(min(each.start for each in lines), max(each.end for each in lines), lines[0].jump)
        return cls(tuple(seen), line, max(field.jump for field in fields))

    def interval(self, unit: int) -> tuple[int, int] | None:
        """First and last real pixel that a unit sees; None where it sees none."""
        mask = self.seen[unit]
        return ((mask & -mask).bit_length() - 1, mask.bit_length() - 1) if mask else None

    def sizes(self) -> list[int]:
        """Pixels from the first to the last that each unit sees, inside the image."""
        intervals = (self.interval(unit) for unit in range(len(self.seen)))
        return [0 if each is None else each[1] - each[0] + 1 for each in intervals]
