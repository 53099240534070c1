"""The input pixels that the units of a layer see, along one axis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

from cnncli.windows.closed_form import ClosedForm
from cnncli.windows.window import Window


@dataclass(frozen=True)
class AxisReceptiveField:
    """The input pixels that the units of a layer see, along one axis.

    It is kept in two forms: as the real pixels that each unit sees, which is exact for every window, and in closed
    form, if there is one, in which padding counts as pixels outside the image.

    Attributes:
        masks: for each unit the set of input pixels it sees, as a bit mask (bit p is pixel p).
        closed_form: the closed form, or None.
        jump: input pixels from one unit to the next, on average.
        smallest_paths: of the paths that lead here, the one with the smallest receptive field: one for each jump that
            paths have, none if every path reads the whole input.
        largest_paths: the same for the largest receptive field.
    """

    masks: tuple[int, ...]
    closed_form: ClosedForm | None
    jump: Fraction
    smallest_paths: tuple[ClosedForm, ...]
    largest_paths: tuple[ClosedForm, ...]

    @classmethod
    def of_input(cls, size: int) -> "AxisReceptiveField":
        """The receptive field of the input itself: pixel i sees pixel i."""
        form = ClosedForm.of_input()
        return cls(tuple(1 << i for i in range(size)), form, Fraction(1), (form,), (form,))

    def through(self, window: Window) -> "AxisReceptiveField":
        """The receptive field of a layer whose units read these units through `window`."""
        size = len(self.masks)
        return AxisReceptiveField(
            masks=_through(self.masks, window),
            closed_form=self.closed_form and self.closed_form.through(window, size),
            jump=self.jump * window.scale(size),
            smallest_paths=_known(path.through(window, size) for path in self.smallest_paths),
            largest_paths=_known(path.through(window, size) for path in self.largest_paths),
        )

    def merged(self, units: int) -> "AxisReceptiveField":
        """The receptive field of `units` units that each read all of these units."""
        union = 0
        for mask in self.masks:
            union |= mask
        return AxisReceptiveField((union,) * units, None, self.jump, smallest_paths=(), largest_paths=())

    def emptied(self) -> "AxisReceptiveField":
        """The same units, seeing nothing."""
        return replace(self, masks=(0,) * len(self.masks))

    @classmethod
    def union(cls, axes: Sequence["AxisReceptiveField"]) -> "AxisReceptiveField":
        """The receptive field of units that read the same position of several layers; all read a layer of one unit."""
        units = max(len(axis.masks) for axis in axes)
        union = [0] * units
        for axis in axes:
            assert len(axis.masks) in (1, units), "inputs of a join have the same size, or size 1"
            masks = axis.masks if len(axis.masks) == units else axis.masks * units
            union = [a | b for a, b in zip(union, masks, strict=True)]
        aligned = [axis for axis in axes if len(axis.masks) == units]
        forms = [axis.closed_form for axis in aligned if axis.closed_form is not None]
        return cls(
            masks=tuple(union),
            closed_form=ClosedForm.union(forms) if len(forms) == len(axes) else None,
            jump=max(axis.jump for axis in aligned),
            smallest_paths=_extreme([path for axis in aligned for path in axis.smallest_paths], sign=1),
            largest_paths=_extreme([path for axis in aligned for path in axis.largest_paths], sign=-1),
        )

    def interval(self, unit: int) -> tuple[int, int] | None:
        """First and last real pixel that a unit sees; None if it sees none."""
        mask = self.masks[unit]
        return ((mask & -mask).bit_length() - 1, mask.bit_length() - 1) if mask else None

    def center(self, unit: int) -> Fraction | None:
        """The center of a unit's receptive field, with padding if there is a closed form; None if it is empty."""
        pattern = None if self.closed_form is None else self.closed_form.pattern(unit)
        seen = (pattern.start, pattern.end) if pattern is not None and pattern.mask else self.interval(unit)
        return None if seen is None else Fraction(sum(seen), 2)

    @property
    def size(self) -> int:
        """Largest extent of a unit's receptive field: with padding if there is a closed form, else in real pixels."""
        return max(self.sizes, default=0) if self.closed_form is None else self.closed_form.size

    @cached_property
    def sizes(self) -> list[int]:
        """For each unit the pixels from the first to the last that it sees, inside the image.

        Where circular padding continues at the other end of the image, as they follow each other there.
        """
        extents = [mask.bit_length() - (mask & -mask).bit_length() + 1 if mask else 0 for mask in self.masks]
        if self.closed_form is None:
            return extents
        return [min(extent, self.closed_form.pattern(unit).size) for unit, extent in enumerate(extents)]


@lru_cache(maxsize=64)  # height and width, and repeated layers, often have the same arguments
def _through(masks: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """The pixels that each unit sees which reads units that see `masks`."""
    size = len(masks)
    result = []
    for unit in range(window.output_size(size)):
        mask = 0
        for position in window.reads(unit, size):
            if 0 <= position < size:
                mask |= masks[position]
        result.append(mask)
    return tuple(result)


def _known(paths: Iterable[ClosedForm | None]) -> tuple[ClosedForm, ...]:
    return tuple(path for path in paths if path is not None)


def _extreme(paths: Iterable[ClosedForm], *, sign: int) -> tuple[ClosedForm, ...]:
    """For each jump the path with the smallest receptive field, or with the largest if `sign` is -1."""
    best: dict[Fraction, ClosedForm] = {}
    for path in paths:
        kept = best.get(path.jump)
        if kept is None or sign * path.size < sign * kept.size:
            best[path.jump] = path
    return tuple(best.values())
