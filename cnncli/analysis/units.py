"""What one unit sees, and which units see one pixel."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from cnncli.analysis.receptive_field import Fields
from cnncli.analysis.rows import Inspection
from cnncli.errors import UsageError
from cnncli.geometry import Field
from cnncli.spec.layers.base import Unknown

Interval = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class UnitField:
    """The rectangle of pixels that one unit sees; first and last pixel per axis.

    Attributes:
        layer, unit: whose field it is.
        unclipped: with what lies outside the image; None where there is no closed form, or nothing is seen.
        clipped: inside the image; None where nothing is seen.
        padding: share of the unclipped rectangle that lies outside the image; None where that is None.
    """

    layer: str
    unit: tuple[int, ...]
    unclipped: tuple[Interval, ...] | None
    clipped: tuple[Interval, ...] | None
    padding: Fraction | None

    def as_json(self) -> dict[str, Any]:
        """The same with lists, first and last pixel of each axis, and the share as a float."""
        return {
            "layer": self.layer,
            "unit": list(self.unit),
            "unclipped": self.unclipped and [list(each) for each in self.unclipped],
            "clipped": self.clipped and [list(each) for each in self.clipped],
            "padding": None if self.padding is None else float(self.padding),
        }


def unit_field(inspection: Inspection, layer: str, unit: tuple[int, ...]) -> UnitField:
    """The field of one unit of a layer.

    Raises:
        UsageError: there is no such layer or unit, or what it sees is not known.
    """
    fields = fields_of(inspection, layer)
    counts = tuple(len(axis.seen) for axis in fields.axes)
    if len(unit) != len(counts) or any(not 0 <= i < count for i, count in zip(unit, counts, strict=True)):
        raise UsageError(
            f"{layer} has no unit {','.join(map(str, unit))}",
            remedy=f"it has {' x '.join(map(str, counts))} units; give one number per axis, counted from 0",
        )
    clipped = [axis.interval(i) for axis, i in zip(fields.axes, unit, strict=True)]
    inside = tuple(each for each in clipped if each is not None)
    outside = _unclipped(fields.axes, unit)
    return UnitField(
        layer=layer,
        unit=unit,
        unclipped=outside,
        clipped=inside if len(inside) == len(counts) else None,
        padding=None if outside is None else _padding(outside, inspection.input_shape[1:]),
    )


def _unclipped(axes: tuple[Field, ...], unit: tuple[int, ...]) -> tuple[Interval, ...] | None:
    intervals = []
    for axis, i in zip(axes, unit, strict=True):
        pattern = axis.cycle.pattern(i) if axis.cycle is not None else None
        if pattern is None or not pattern.mask:
            return None
        intervals.append((pattern.start, pattern.end))
    return tuple(intervals)


def _padding(intervals: tuple[Interval, ...], size: tuple[int, ...]) -> Fraction:
    """Share of a rectangle that lies outside an image of `size`."""
    inside = prod(max(0, min(n - 1, end) - max(0, start) + 1) for (start, end), n in zip(intervals, size, strict=True))
    return 1 - Fraction(inside, prod(end - start + 1 for start, end in intervals))


def fields_of(inspection: Inspection, layer: str) -> Fields:
    """The exact fields of a layer.

    Raises:
        UsageError: there is no such layer, or what it sees is not known.
    """
    fields = inspection.fields.get(layer)
    if fields is None:
        names = ", ".join(row.name for row in inspection.rows)
        raise UsageError(f"there is no layer {layer}", remedy=f"the layers are {names}")
    if isinstance(fields, Unknown):
        raise UsageError(f"what {layer} sees is not known", remedy=fields.reason)
    return fields


@dataclass(frozen=True, kw_only=True)
class Seers:
    """The units of a layer that see a pixel: every combination of `units` of each axis; none where one is empty."""

    layer: str
    units: tuple[tuple[int, ...], ...]
    of: tuple[int, ...]

    @property
    def share(self) -> Fraction:
        """Share of the layer's units."""
        return Fraction(prod(map(len, self.units)), max(1, prod(self.of)))

    def as_json(self) -> dict[str, Any]:
        """The same with lists, and the share as a float."""
        return {"layer": self.layer, "units": [list(each) for each in self.units], "share": float(self.share)}


def seers(inspection: Inspection, pixel: tuple[int, ...]) -> list[Seers]:
    """The units of each layer that see a pixel, for the layers in which that is known.

    Raises:
        UsageError: the input has no such pixel.
    """
    size = inspection.input_shape[1:]
    if len(pixel) != len(size) or any(not 0 <= p < n for p, n in zip(pixel, size, strict=True)):
        raise UsageError(
            f"the input has no pixel {','.join(map(str, pixel))}",
            remedy=f"it has {' x '.join(map(str, size))}; give one number per axis, counted from 0",
        )
    found = []
    for row in inspection.rows:
        fields = inspection.fields[row.name]
        if isinstance(fields, Fields):
            units = tuple(
                tuple(unit for unit, mask in enumerate(axis.seen) if mask >> p & 1)
                for axis, p in zip(fields.axes, pixel, strict=True)
            )
            found.append(Seers(layer=row.name, units=units, of=tuple(len(axis.seen) for axis in fields.axes)))
    return found
