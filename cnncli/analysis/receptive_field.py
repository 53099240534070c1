"""Which pixels of the input the units of each layer see.

After Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019), with
branches as unions, and exact for windows that no closed form describes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from cnncli.analysis.graph import Graph, GraphNode, reads_everything
from cnncli.geometry import Cycle, Field
from cnncli.spec.layers import Reach
from cnncli.spec.layers.base import Unknown


@dataclass(frozen=True)
class Fields:
    """What the units of a layer see, per spatial axis of the input.

    Attributes:
        axes: one field per axis; a layer without positions has one unit on each.
        everywhere: units see the whole input, whatever their position (after flatten, linear, a global pool).
    """

    axes: tuple[Field, ...]
    everywhere: bool = False

    @property
    def uneven(self) -> bool:
        """Whether no single size and step is true for every unit."""
        return not self.everywhere and not all(axis.cycle is not None and axis.cycle.even for axis in self.axes)


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """A receptive field as numbers, in pixels; one entry per axis.

    Attributes:
        size: pixels from the first to the last that a unit sees, padding included; the largest where units differ.
        jump: pixels from one unit to the next; None for a layer without positions.
        start: first pixel that unit 0 sees, negative where padding reaches out; None where units take turns.
        end: last pixel that unit 0 sees, likewise.
        center: the middle of the two, likewise.
        smallest: size over the path that sees least; the input's where every path reads all of it, None if not known.
        largest: size over the path that sees most, likewise.
        used: of the pixels that a unit spans, those it really reads; None where there is no closed form.
        local: where a unit sees the whole input, size over the paths on which no layer reads everything at once, if
            there are any (around a squeeze-and-excite gate, or a norm's mean and variance); else None.
        everywhere: a unit sees the whole input.
    """

    size: tuple[int, ...]
    jump: tuple[Fraction, ...] | None
    start: tuple[int, ...] | None
    end: tuple[int, ...] | None
    center: tuple[Fraction, ...] | None
    smallest: tuple[int, ...] | None
    largest: tuple[int, ...] | None
    used: tuple[int, ...] | None
    local: tuple[int, ...] | None = None
    everywhere: bool = False


def receptive_fields(graph: Graph) -> dict[str, Fields | Unknown]:
    """The fields of every node of a graph, by name; those of the input itself under `input`."""
    fields: dict[str, Fields | Unknown] = {
        "input": Fields(tuple(Field.of_input(size) for size in graph.input_shape[1:]))
    }
    for node in graph.nodes:
        fields[node.name] = _step(node, [fields[name] for name in node.inputs])
    return fields


def _step(node: GraphNode, inputs: list[Fields | Unknown]) -> Fields | Unknown:
    """The fields of one node, given those of what it reads."""
    fields = _window(node, inputs)
    if isinstance(fields, Unknown) or not node.statistics:
        return fields
    axes = tuple(Field.union([axis, axis.everything(len(axis.seen))]) for axis in fields.axes)
    return Fields(axes, everywhere=True)


def _window(node: GraphNode, inputs: list[Fields | Unknown]) -> Fields | Unknown:
    """The same without the statistics of a norm."""
    if isinstance(node.reads, Unknown):
        return Unknown(f"{node.name}: {node.reads.reason}")
    known = [each for each in inputs if not isinstance(each, Unknown)]
    if len(known) < len(inputs):
        return next(each for each in inputs if isinstance(each, Unknown))
    meet = _meet(node, known)
    if isinstance(meet, Unknown) or node.reads is Reach.SAME:
        return meet
    if reads_everything(node.reads):
        return _everything(node, meet)
    assert isinstance(node.reads, tuple), node
    if len(node.reads) != len(meet.axes):
        return Unknown(f"{node.name}: it has {len(node.reads)} spatial axes, and the input {len(meet.axes)}")
    stepped = tuple(axis.through(window) for axis, window in zip(meet.axes, node.reads, strict=True))
    if not all(any(axis.seen) for axis in stepped):
        # Who sees no row sees no column either, and adds nothing where paths meet.
        stepped = tuple(axis.blind() for axis in stepped)
    return Fields(stepped, meet.everywhere)


def _everything(node: GraphNode, inputs: Fields) -> Fields:
    """The fields of a node whose units each read every position of its inputs."""
    positions = () if node.shape is None else node.shape[1:]
    units = positions if len(positions) == len(inputs.axes) else (1,) * len(inputs.axes)
    if node.units is not None:
        units = node.units
    axes = tuple(axis.everything(count) for axis, count in zip(inputs.axes, units, strict=True))
    return Fields(axes, everywhere=True)


def _meet(node: GraphNode, inputs: list[Fields]) -> Fields | Unknown:
    """The fields of a position in all inputs together."""
    if len(inputs) == 1:
        return inputs[0]
    if not inputs:
        return Unknown(f"{node.name}: it reads nothing that comes from the input")
    axes = []
    for fields in zip(*(each.axes for each in inputs), strict=True):
        if len({len(field.seen) for field in fields} - {1}) > 1:
            return Unknown(f"{node.name}: its inputs differ in their positions")
        axes.append(Field.union(fields))
    return Fields(tuple(axes), everywhere=any(each.everywhere for each in inputs))


def summarise(fields: Fields, input_size: tuple[int, ...]) -> ReceptiveField:
    """The numbers of a layer's fields, for an input of `input_size` pixels per axis."""
    smallest = _over_paths([axis.smallest for axis in fields.axes], min, input_size if fields.everywhere else None)
    if fields.everywhere:
        return ReceptiveField(
            size=input_size,
            jump=None,
            start=(0,) * len(input_size),
            end=tuple(n - 1 for n in input_size),
            center=tuple(Fraction(n - 1, 2) for n in input_size),
            smallest=smallest,
            largest=input_size,
            used=None,
            local=_over_paths([axis.largest for axis in fields.axes], max, None),
            everywhere=True,
        )
    cycles = [axis.cycle for axis in fields.axes if axis.cycle is not None]
    first = [] if fields.uneven else [cycle.pattern(0) for cycle in cycles]
    return ReceptiveField(
        size=tuple(axis.size for axis in fields.axes),
        jump=tuple(axis.jump for axis in fields.axes),
        start=tuple(each.start for each in first) if first else None,
        end=tuple(each.end for each in first) if first else None,
        center=tuple(cycle.center for cycle in cycles) if first else None,
        smallest=smallest,
        largest=_over_paths([axis.largest for axis in fields.axes], max, None),
        used=tuple(_used(cycle) for cycle in cycles) if len(cycles) == len(fields.axes) else None,
    )


def _used(cycle: Cycle) -> int:
    """Pixels that the widest pattern really reads."""
    return max(cycle.patterns, key=lambda pattern: pattern.size).used


def _over_paths(
    paths: list[tuple[Cycle, ...]], extreme: Callable[[Iterable[int]], int], whole: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """The extreme size over paths per axis; `whole` where no path has an own size."""
    if not all(paths):
        return whole
    return tuple(extreme(path.size for path in axis) for axis in paths)
