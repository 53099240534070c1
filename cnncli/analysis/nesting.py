"""The fields of one unit and of the units below it, layer by layer: the figure that textbooks draw."""

from fractions import Fraction

from cnncli.analysis.receptive_field import Fields
from cnncli.analysis.rows import Inspection
from cnncli.analysis.units import UnitField, fields_of, unit_field
from cnncli.geometry import Field


def nested_fields(inspection: Inspection, layer: str, unit: tuple[int, ...]) -> list[UnitField]:
    """The field of a unit, and of the unit nearest to its middle in every layer on the way to it, widest first.

    The way is the one through the first input of each layer. Layers that see the same as the one after them are left
    out, and so are those whose units have no place of their own.

    Raises:
        UsageError: as `unit_field`.
    """
    found = [unit_field(inspection, layer, unit)]
    middles = _middles(fields_of(inspection, layer), unit)
    for name in _way(inspection, layer):
        fields = inspection.fields[name]
        if isinstance(fields, Fields) and not fields.everywhere:
            nearest = tuple(_nearest(axis, middle) for axis, middle in zip(fields.axes, middles, strict=True))
            field = unit_field(inspection, name, nearest)
            if field.clipped is not None and field.clipped != found[-1].clipped:
                found.append(field)
    return found


def _way(inspection: Inspection, layer: str) -> list[str]:
    """The layers from the input to `layer`, nearest first, along first inputs."""
    inputs = {row.name: row.inputs for row in inspection.rows}
    way = []
    while inputs.get(layer):
        layer = inputs[layer][0]
        if layer in inputs:
            way.append(layer)
    return way


def _middles(fields: Fields, unit: tuple[int, ...]) -> list[Fraction]:
    """The middle of what a unit sees, per axis; of the image where it sees nothing."""
    return [_middle(axis, i) for axis, i in zip(fields.axes, unit, strict=True)]


def _middle(axis: Field, unit: int) -> Fraction:
    if axis.cycle is not None and axis.cycle.pattern(unit).mask:
        pattern = axis.cycle.pattern(unit)
        return Fraction(pattern.start + pattern.end, 2)
    first, last = axis.interval(unit) or (0, 0)
    return Fraction(first + last, 2)


def _nearest(axis: Field, middle: Fraction) -> int:
    """The unit whose field has its middle nearest to a place; the first of them."""
    return min(range(len(axis.seen)), key=lambda unit: abs(_middle(axis, unit) - middle))
