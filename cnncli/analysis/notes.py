"""What a field's numbers alone do not say: units that take turns, and paths that do not line up."""

from collections.abc import Mapping
from fractions import Fraction

from cnncli.analysis.graph import GraphNode
from cnncli.analysis.receptive_field import Fields
from cnncli.spec.layers.base import Unknown


def field_notes(node: GraphNode, fields: Mapping[str, Fields | Unknown]) -> tuple[str, ...]:
    """The notes of one node's fields."""
    own = fields[node.name]
    if isinstance(own, Unknown):
        return ()
    if node.statistics:
        return ("its norm takes mean and variance over the whole map; the field without these is in brackets",)
    if own.everywhere:
        return ()
    inputs = [each for each in (fields[name] for name in node.inputs) if isinstance(each, Fields)]
    return (*_turns(own), *(_shift(node, inputs) if len(inputs) > 1 else ()))


def _turns(fields: Fields) -> tuple[str, ...]:
    """Says that units differ, where one size and one step would be untrue."""
    if not fields.uneven:
        return ()
    sizes = [size for axis in fields.axes for size in axis.sizes]
    smallest, largest = min(sizes, default=0), max(sizes, default=0)
    spread = f"{smallest} pixels" if smallest == largest else f"{smallest} to {largest} pixels"
    if max(axis.size for axis in fields.axes) > largest:
        spread += " of the image; the field that is given counts padding as well"
    elif smallest < largest:
        spread += "; the largest is given"
    return (f"units do not see evenly spaced windows: they see {spread}",)


def _shift(node: GraphNode, inputs: list[Fields]) -> tuple[str, ...]:
    """Says how far the paths that meet here lie apart; the field is their union."""
    if len({tuple(axis.seen for axis in each.axes) for each in inputs}) == 1:
        return ()
    apart: list[Fraction | None] = []
    for axes in zip(*(each.axes for each in inputs), strict=True):
        cycles = [axis.cycle for axis in axes]
        jumps = {axis.jump for axis in axes}
        centers = [cycle.center for cycle in cycles if cycle is not None]
        apart.append(max(centers) - min(centers) if len(centers) == len(cycles) and len(jumps) == 1 else None)
    if None in apart:
        return ("its inputs drift apart: their units are not equally spaced; the field is their union",)
    shifts = [shift for shift in apart if shift is not None]
    if not any(shifts):
        return ()
    written = " x ".join(str(float(shift)) for shift in (shifts if len(set(shifts)) > 1 else shifts[:1]))
    names = " and ".join(dict.fromkeys(node.inputs))
    return (f"{names} do not line up: their centres lie {written} pixels apart; the field is their union",)
