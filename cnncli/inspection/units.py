"""How often each position of an input is read: what the border loses, and what strides and dilation skip."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from cnncli.errors import UsageError
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable
from cnncli.layers.base import Unknown
from cnncli.windows import AxisReceptiveField, Window

Interval = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class UnitReceptiveField:
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


def unit_receptive_field(inspection: LayerTable, layer: str, unit: tuple[int, ...]) -> UnitReceptiveField:
    """The field of one unit of a layer.

    Raises:
        UsageError: there is no such layer or unit, or what it sees is not known.
    """
    fields = layer_receptive_fields(inspection, layer)
    counts = tuple(len(axis.masks) for axis in fields.axes)
    if len(unit) != len(counts) or any(not 0 <= i < count for i, count in zip(unit, counts, strict=True)):
        raise UsageError(
            f"{layer} has no unit {','.join(map(str, unit))}",
            remedy=f"it has {' x '.join(map(str, counts))} units; give one number per axis, counted from 0",
        )
    clipped = [axis.interval(i) for axis, i in zip(fields.axes, unit, strict=True)]
    inside = tuple(each for each in clipped if each is not None)
    outside = _unclipped(fields.axes, unit)
    return UnitReceptiveField(
        layer=layer,
        unit=unit,
        unclipped=outside,
        clipped=inside if len(inside) == len(counts) else None,
        padding=None if outside is None else _padding(outside, inspection.input_shape[1:]),
    )


def _unclipped(axes: tuple[AxisReceptiveField, ...], unit: tuple[int, ...]) -> tuple[Interval, ...] | None:
    intervals = []
    for axis, i in zip(axes, unit, strict=True):
        pattern = axis.closed_form.pattern(i) if axis.closed_form is not None else None
        if pattern is None or not pattern.mask:
            return None
        intervals.append((pattern.start, pattern.end))
    return tuple(intervals)


def _padding(intervals: tuple[Interval, ...], size: tuple[int, ...]) -> Fraction:
    """Share of a rectangle that lies outside an image of `size`."""
    inside = prod(max(0, min(n - 1, end) - max(0, start) + 1) for (start, end), n in zip(intervals, size, strict=True))
    return 1 - Fraction(inside, prod(end - start + 1 for start, end in intervals))


def layer_receptive_fields(inspection: LayerTable, layer: str) -> ReceptiveFields:
    """The exact fields of a layer.

    Raises:
        UsageError: there is no such layer, or what it sees is not known.
    """
    fields = inspection.receptive_fields.get(layer)
    if fields is None:
        names = ", ".join(row.name for row in inspection.rows)
        raise UsageError(f"there is no layer {layer}", remedy=f"the layers are {names}")
    if isinstance(fields, Unknown):
        raise UsageError(f"what {layer} sees is not known", remedy=fields.reason)
    return fields


@dataclass(frozen=True, kw_only=True)
class DependentUnits:
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


def dependent_units(inspection: LayerTable, pixel: tuple[int, ...]) -> list[DependentUnits]:
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
        fields = inspection.receptive_fields[row.name]
        if isinstance(fields, ReceptiveFields):
            units = tuple(
                tuple(unit for unit, mask in enumerate(axis.masks) if mask >> p & 1)
                for axis, p in zip(fields.axes, pixel, strict=True)
            )
            found.append(DependentUnits(layer=row.name, units=units, of=tuple(len(axis.masks) for axis in fields.axes)))
    return found


def nested_receptive_fields(inspection: LayerTable, layer: str, unit: tuple[int, ...]) -> list[UnitReceptiveField]:
    """The field of a unit, and of the unit nearest to its middle in every layer on the way to it, widest first.

    The way is the one through the first input of each layer. Layers that see the same as the one after them are left
    out, and so are those whose units have no place of their own.

    Raises:
        UsageError: as `unit_receptive_field`.
    """
    found = [unit_receptive_field(inspection, layer, unit)]
    middles = _middles(layer_receptive_fields(inspection, layer), unit)
    for name in _way(inspection, layer):
        fields = inspection.receptive_fields[name]
        if isinstance(fields, ReceptiveFields) and not fields.is_global:
            nearest = tuple(_nearest(axis, middle) for axis, middle in zip(fields.axes, middles, strict=True))
            field = unit_receptive_field(inspection, name, nearest)
            if field.clipped is not None and field.clipped != found[-1].clipped:
                found.append(field)
    return found


def _way(inspection: LayerTable, layer: str) -> list[str]:
    """The layers from the input to `layer`, nearest first, along first inputs."""
    inputs = {row.name: row.inputs for row in inspection.rows}
    way = []
    while inputs.get(layer):
        layer = inputs[layer][0]
        if layer in inputs:
            way.append(layer)
    return way


def _middles(fields: ReceptiveFields, unit: tuple[int, ...]) -> list[Fraction]:
    """The middle of what a unit sees, per axis; of the image where it sees nothing."""
    return [_middle(axis, i) for axis, i in zip(fields.axes, unit, strict=True)]


def _middle(axis: AxisReceptiveField, unit: int) -> Fraction:
    if axis.closed_form is not None and axis.closed_form.pattern(unit).mask:
        pattern = axis.closed_form.pattern(unit)
        return Fraction(pattern.start + pattern.end, 2)
    first, last = axis.interval(unit) or (0, 0)
    return Fraction(first + last, 2)


def _nearest(axis: AxisReceptiveField, middle: Fraction) -> int:
    """The unit whose field has its middle nearest to a place; the first of them."""
    return min(range(len(axis.masks)), key=lambda unit: abs(_middle(axis, unit) - middle))


def reads_per_position(window: Window, size: int) -> tuple[int, ...]:
    """For each of `size` positions along an axis, how many units of a window read it."""
    counts = [0] * size
    for unit in range(window.output_size(size)):
        for position in window.reads(unit, size):
            if 0 <= position < size:
                counts[position] += 1
    return tuple(counts)


def reads_per_pixel(windows: tuple[Window, Window], size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """For each pixel of an input (H, W), how many units read it: rows of columns."""
    rows, columns = (reads_per_position(window, n) for window, n in zip(windows, size, strict=True))
    return tuple(tuple(row * column for column in columns) for row in rows)
