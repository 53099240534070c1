"""Single units and pixels: what a unit sees, which units see a pixel, and how often each pixel is read."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from cnncli.errors import UsageError, did_you_mean
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable
from cnncli.layers.base import Unknown, format_shape
from cnncli.windows import AxisReceptiveField, Window

Interval = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class UnitReceptiveField:
    """The rectangle of pixels that one unit sees: first and last pixel per axis.

    Attributes:
        layer, unit: the unit.
        unclipped: with padding counted as pixels outside the image; None without a closed form, or if it is empty.
        clipped: inside the image; None if it is empty.
        padding: share of the unclipped rectangle outside the image; None if that is None.
        pixels: for each axis the pixels that the unit reads: not all of those between, with dilation or padding that
            repeats pixels of the other end.
    """

    layer: str
    unit: tuple[int, ...]
    unclipped: tuple[Interval, ...] | None
    clipped: tuple[Interval, ...] | None
    padding: Fraction | None
    pixels: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON: intervals as lists of two, the share as a float."""
        return {
            "layer": self.layer,
            "unit": list(self.unit),
            "unclipped": self.unclipped and [list(each) for each in self.unclipped],
            "clipped": self.clipped and [list(each) for each in self.clipped],
            "padding": None if self.padding is None else float(self.padding),
            "pixels": [list(each) for each in self.pixels],
        }


def unit_receptive_field(table: LayerTable, layer: str, unit: tuple[int, ...]) -> UnitReceptiveField:
    """The receptive field of one unit of a layer.

    Raises:
        UsageError: there is no such layer or unit, or its receptive field is unknown.
    """
    axes = layer_receptive_fields(table, layer).axes
    counts = tuple(len(axis.masks) for axis in axes)
    if len(unit) != len(counts) or any(not 0 <= i < count for i, count in zip(unit, counts, strict=True)):
        raise UsageError(
            f"{layer} has no unit {','.join(map(str, unit))}",
            remedy=f"it has {format_shape(counts)} units; give one number per axis, counted from 0",
        )
    inside = [axis.interval(i) for axis, i in zip(axes, unit, strict=True)]
    clipped = tuple(interval for interval in inside if interval is not None)
    unclipped = _unclipped(axes, unit)
    return UnitReceptiveField(
        layer=layer,
        unit=unit,
        unclipped=unclipped,
        clipped=clipped if len(clipped) == len(counts) else None,
        padding=None if unclipped is None else _padding(unclipped, table.input_shape[1:]),
        pixels=tuple(
            tuple(pixel for pixel in range(mask.bit_length()) if mask >> pixel & 1)
            for mask in (axis.masks[i] for axis, i in zip(axes, unit, strict=True))
        ),
    )


def _unclipped(axes: tuple[AxisReceptiveField, ...], unit: tuple[int, ...]) -> tuple[Interval, ...] | None:
    patterns = [axis.closed_form.pattern(i) for axis, i in zip(axes, unit, strict=True) if axis.closed_form is not None]
    if len(patterns) < len(axes) or not all(pattern.mask for pattern in patterns):
        return None
    return tuple((pattern.start, pattern.end) for pattern in patterns)


def _padding(intervals: tuple[Interval, ...], size: tuple[int, ...]) -> Fraction:
    """Fraction of a rectangle outside an image of `size`."""
    inside = prod(max(0, min(n - 1, end) - max(0, start) + 1) for (start, end), n in zip(intervals, size, strict=True))
    return 1 - Fraction(inside, prod(end - start + 1 for start, end in intervals))


def layer_receptive_fields(table: LayerTable, layer: str) -> ReceptiveFields:
    """The exact receptive fields of a layer.

    Raises:
        UsageError: there is no such layer, or its receptive field is unknown.
    """
    fields = table.receptive_fields.get(layer)
    if fields is None:
        names = [row.name for row in table]
        raise UsageError(f"{table.model} has no layer {layer}{did_you_mean(layer, names)}")
    if isinstance(fields, Unknown):
        raise UsageError(f"the receptive field of {layer} is unknown", remedy=fields.reason)
    return fields


@dataclass(frozen=True, kw_only=True)
class DependentUnits:
    """The units of a layer that see a pixel: all combinations of the `units` on each axis.

    Attributes:
        layer: the layer.
        units: for each axis the numbers of the units.
        counts: for each axis the number of all units of the layer.
    """

    layer: str
    units: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]

    @property
    def share(self) -> Fraction:
        """Share of the layer's units."""
        return Fraction(prod(map(len, self.units)), max(1, prod(self.counts)))

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"layer": self.layer, "units": [list(each) for each in self.units], "share": float(self.share)}


def dependent_units(table: LayerTable, pixel: tuple[int, ...]) -> list[DependentUnits]:
    """The units that see a pixel, for every layer whose receptive field is known.

    Raises:
        UsageError: the input has no such pixel.
    """
    size = table.input_shape[1:]
    if len(pixel) != len(size) or any(not 0 <= p < n for p, n in zip(pixel, size, strict=True)):
        raise UsageError(
            f"the input has no pixel {','.join(map(str, pixel))}",
            remedy=f"it has {format_shape(size)} pixels; give one number per axis, counted from 0",
        )
    return [
        DependentUnits(
            layer=row.name,
            units=tuple(
                tuple(unit for unit, mask in enumerate(axis.masks) if mask >> p & 1)
                for axis, p in zip(fields.axes, pixel, strict=True)
            ),
            counts=tuple(len(axis.masks) for axis in fields.axes),
        )
        for row in table
        if isinstance(fields := table.receptive_fields[row.name], ReceptiveFields)
    ]


def nested_receptive_fields(table: LayerTable, layer: str, unit: tuple[int, ...]) -> list[UnitReceptiveField]:
    """The receptive field of a unit, and of the unit nearest to its center in each layer before it, widest first.

    Layers are followed along their first inputs. Left out are layers that see the same as the one after them, and
    layers without positions.

    Raises:
        UsageError: as `unit_receptive_field`.
    """
    nested = [unit_receptive_field(table, layer, unit)]
    axes = layer_receptive_fields(table, layer).axes
    centers = [_center(axis, i) for axis, i in zip(axes, unit, strict=True)]
    while layer in table and table[layer].inputs:
        layer = table[layer].inputs[0]
        fields = table.receptive_fields[layer]
        if layer in table and isinstance(fields, ReceptiveFields) and not fields.is_global:
            nearest = tuple(_nearest(axis, center) for axis, center in zip(fields.axes, centers, strict=True))
            receptive_field = unit_receptive_field(table, layer, nearest)
            if receptive_field.clipped is not None and receptive_field.clipped != nested[-1].clipped:
                nested.append(receptive_field)
    return nested


def _center(axis: AxisReceptiveField, unit: int) -> Fraction:
    """The center of what a unit sees; 0 if it sees nothing."""
    return axis.center(unit) or Fraction(0)


def _nearest(axis: AxisReceptiveField, center: Fraction) -> int:
    """The first unit whose receptive field has its center nearest to a point."""
    return min(range(len(axis.masks)), key=lambda unit: abs(_center(axis, unit) - center))


def reads_per_position(window: Window, size: int) -> tuple[int, ...]:
    """For each of `size` positions along an axis, how many units of a window read it."""
    counts = [0] * size
    for unit in range(window.output_size(size)):
        for position in window.reads(unit, size):
            if 0 <= position < size:
                counts[position] += 1
    return tuple(counts)


def reads_per_pixel(windows: tuple[Window, Window], size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """For each pixel of an input (H, W), how many units read it, as rows of columns."""
    rows, columns = (reads_per_position(window, n) for window, n in zip(windows, size, strict=True))
    return tuple(tuple(row * column for column in columns) for row in rows)
