"""Which pixels of the input the units of each layer see.

After Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019), with
branches as unions, and exact for windows that no closed form describes.
"""

from dataclasses import dataclass
from fractions import Fraction

from cnncli.analysis.graph import Graph, GraphNode
from cnncli.geometry import Field
from cnncli.spec.layers import Reach


@dataclass(frozen=True)
class Fields:
    """What the units of a layer see, per spatial axis of the input.

    Attributes:
        axes: one field per axis; a layer without positions has one unit on each.
        everywhere: some units see the whole input, whatever their position (after flatten, linear, a global pool).
    """

    axes: tuple[Field, ...]
    everywhere: bool = False

    @property
    def uneven(self) -> bool:
        """Whether no single size and step is true for every unit."""
        return not self.everywhere and any(axis.line is None for axis in self.axes)


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """A receptive field as numbers, in pixels; one entry per axis.

    Attributes:
        size: pixels from the first to the last that a unit sees, padding included; the largest where units differ.
        jump: pixels from one unit to the next; None for a layer without positions.
        start: first pixel that unit 0 sees, negative where padding reaches out; None where units differ in size.
        end: last pixel that unit 0 sees, likewise.
        center: the middle of the two, likewise.
        everywhere: a unit sees the whole input.
    """

    size: tuple[int, ...]
    jump: tuple[Fraction, ...] | None
    start: tuple[int, ...] | None
    end: tuple[int, ...] | None
    center: tuple[Fraction, ...] | None
    everywhere: bool = False


def receptive_fields(graph: Graph) -> dict[str, Fields]:
    """The fields of every node of a graph, by name; those of the input itself under `input`."""
    fields = {"input": Fields(tuple(Field.of_input(size) for size in graph.input_shape[1:]))}
    for node in graph.nodes:
        fields[node.name] = _step(node, [fields[name] for name in node.inputs])
    return fields


def _step(node: GraphNode, inputs: list[Fields]) -> Fields:
    """The fields of one node, given those of what it reads."""
    axes = (
        inputs[0].axes
        if len(inputs) == 1
        else tuple(Field.union([each.axes[axis] for each in inputs]) for axis in range(len(inputs[0].axes)))
    )
    everywhere = any(each.everywhere for each in inputs)
    if node.reads is Reach.SAME:
        return Fields(axes, everywhere)
    if isinstance(node.reads, Reach):
        units = node.shape[1:] if len(node.shape) > 1 else (1,) * len(axes)
        return Fields(tuple(_all(axis, count) for axis, count in zip(axes, units, strict=True)), everywhere=True)
    stepped = tuple(axis.through(window) for axis, window in zip(axes, node.reads, strict=True))
    return Fields(stepped, everywhere)


def _all(axis: Field, units: int) -> Field:
    """The field of units that each read every position."""
    seen = 0
    for mask in axis.seen:
        seen |= mask
    return Field((seen,) * units, line=None, jump=axis.jump)


def summarise(fields: Fields, input_size: tuple[int, ...]) -> ReceptiveField:
    """The numbers of a layer's fields, for an input of `input_size` pixels per axis."""
    if fields.everywhere:
        return ReceptiveField(
            size=input_size,
            jump=None,
            start=(0,) * len(input_size),
            end=tuple(n - 1 for n in input_size),
            center=tuple(Fraction(n - 1, 2) for n in input_size),
            everywhere=True,
        )
    jump = tuple(axis.jump for axis in fields.axes)
    lines = [axis.line for axis in fields.axes if axis.line is not None]
    if len(lines) < len(fields.axes):
        size = tuple(axis.line.size if axis.line else max(axis.sizes()) for axis in fields.axes)
        return ReceptiveField(size=size, jump=jump, start=None, end=None, center=None)
    return ReceptiveField(
        size=tuple(line.size for line in lines),
        jump=jump,
        start=tuple(line.start for line in lines),
        end=tuple(line.end for line in lines),
        center=tuple(line.center for line in lines),
    )
