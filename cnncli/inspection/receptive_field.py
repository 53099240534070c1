"""Which units of one layer the units of later layers see."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from cnncli.config.network import INPUT
from cnncli.inspection.graph import Graph, GraphNode, reads_everything
from cnncli.layers import Reach
from cnncli.layers.base import Unknown
from cnncli.windows import AxisReceptiveField, ClosedForm


@dataclass(frozen=True)
class ReceptiveFields:
    """What the units of a layer see, per spatial axis of the input.

    Attributes:
        axes: one field per axis; a layer without positions has one unit on each.
        everywhere: units see the whole input, whatever their position (after flatten, linear, a global pool).
    """

    axes: tuple[AxisReceptiveField, ...]
    is_global: bool = False

    @property
    def is_uniform(self) -> bool:
        """Whether one size and one jump hold for every unit."""
        forms = [axis.closed_form for axis in self.axes]
        return self.is_global or all(form is not None and form.is_uniform for form in forms)


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
    smallest_path: tuple[int, ...] | None
    largest_path: tuple[int, ...] | None
    used: tuple[int, ...] | None
    local: tuple[int, ...] | None = None
    is_global: bool = False


def receptive_fields(graph: Graph) -> dict[str, ReceptiveFields | Unknown]:
    """The fields of every node of a graph, by name; those of the input itself under `input`."""
    fields: dict[str, ReceptiveFields | Unknown] = {
        "input": ReceptiveFields(tuple(AxisReceptiveField.of_input(size) for size in graph.input_shape[1:]))
    }
    for node in graph.nodes:
        fields[node.name] = _step(node, [fields[name] for name in node.inputs])
    return fields


def _step(node: GraphNode, inputs: list[ReceptiveFields | Unknown]) -> ReceptiveFields | Unknown:
    """The fields of one node, given those of what it reads."""
    fields = _window(node, inputs)
    if isinstance(fields, Unknown) or not node.statistics:
        return fields
    axes = tuple(AxisReceptiveField.union([axis, axis.merged(len(axis.masks))]) for axis in fields.axes)
    return ReceptiveFields(axes, is_global=True)


def _window(node: GraphNode, inputs: list[ReceptiveFields | Unknown]) -> ReceptiveFields | Unknown:
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
    if not all(any(axis.masks) for axis in stepped):
        # Who sees no row sees no column either, and adds nothing where paths meet.
        stepped = tuple(axis.emptied() for axis in stepped)
    return ReceptiveFields(stepped, meet.is_global)


def _everything(node: GraphNode, inputs: ReceptiveFields) -> ReceptiveFields:
    """The fields of a node whose units each read every position of its inputs."""
    positions = () if node.shape is None else node.shape[1:]
    units = positions if len(positions) == len(inputs.axes) else (1,) * len(inputs.axes)
    if node.units is not None:
        units = node.units
    axes = tuple(axis.merged(count) for axis, count in zip(inputs.axes, units, strict=True))
    return ReceptiveFields(axes, is_global=True)


def _meet(node: GraphNode, inputs: list[ReceptiveFields]) -> ReceptiveFields | Unknown:
    """The fields of a position in all inputs together."""
    if len(inputs) == 1:
        return inputs[0]
    if not inputs:
        return Unknown(f"{node.name}: it reads nothing that comes from the input")
    axes = []
    for fields in zip(*(each.axes for each in inputs), strict=True):
        if len({len(field.masks) for field in fields} - {1}) > 1:
            return Unknown(f"{node.name}: its inputs differ in their positions")
        axes.append(AxisReceptiveField.union(fields))
    return ReceptiveFields(tuple(axes), is_global=any(each.is_global for each in inputs))


def summarize(fields: ReceptiveFields, input_size: tuple[int, ...]) -> ReceptiveField:
    """The numbers of a layer's fields, for an input of `input_size` pixels per axis."""
    smallest = _over_paths([axis.smallest_paths for axis in fields.axes], min, input_size if fields.is_global else None)
    if fields.is_global:
        return ReceptiveField(
            size=input_size,
            jump=None,
            start=(0,) * len(input_size),
            end=tuple(n - 1 for n in input_size),
            center=tuple(Fraction(n - 1, 2) for n in input_size),
            smallest_path=smallest,
            largest_path=input_size,
            used=None,
            local=_over_paths([axis.largest_paths for axis in fields.axes], max, None),
            is_global=True,
        )
    cycles = [axis.closed_form for axis in fields.axes if axis.closed_form is not None]
    first = [cycle.pattern(0) for cycle in cycles] if fields.is_uniform else []
    return ReceptiveField(
        size=tuple(axis.size for axis in fields.axes),
        jump=tuple(axis.jump for axis in fields.axes),
        start=tuple(each.start for each in first) if first else None,
        end=tuple(each.end for each in first) if first else None,
        center=tuple(cycle.center for cycle in cycles) if first else None,
        smallest_path=smallest,
        largest_path=_over_paths([axis.largest_paths for axis in fields.axes], max, None),
        used=tuple(_used(cycle) for cycle in cycles) if len(cycles) == len(fields.axes) else None,
    )


def _used(cycle: ClosedForm) -> int:
    """Pixels that the widest pattern really reads."""
    return max(cycle.patterns, key=lambda pattern: pattern.size).used


def _over_paths(
    paths: list[tuple[ClosedForm, ...]], extreme: Callable[[Iterable[int]], int], whole: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """The extreme size over paths per axis; `whole` where no path has an own size."""
    if not all(paths):
        return whole
    return tuple(extreme(path.size for path in axis) for axis in paths)


def field_notes(node: GraphNode, fields: Mapping[str, ReceptiveFields | Unknown]) -> tuple[str, ...]:
    """The notes of one node's fields."""
    own = fields[node.name]
    if isinstance(own, Unknown):
        return ()
    if node.statistics:
        return ("its norm takes mean and variance over the whole map; the field without these is in brackets",)
    if own.is_global:
        return ()
    inputs = [each for each in (fields[name] for name in node.inputs) if isinstance(each, ReceptiveFields)]
    return (*_turns(own), *(_shift(node, inputs) if len(inputs) > 1 else ()))


def _turns(fields: ReceptiveFields) -> tuple[str, ...]:
    """Says that units differ, where one size and one step would be untrue."""
    if fields.is_uniform:
        return ()
    sizes = [size for axis in fields.axes for size in axis.sizes]
    smallest, largest = min(sizes, default=0), max(sizes, default=0)
    spread = f"{smallest} pixels" if smallest == largest else f"{smallest} to {largest} pixels"
    if max(axis.size for axis in fields.axes) > largest:
        spread += " of the image; the field that is given counts padding as well"
    elif smallest < largest:
        spread += "; the largest is given"
    return (f"units do not see evenly spaced windows: they see {spread}",)


def _shift(node: GraphNode, inputs: list[ReceptiveFields]) -> tuple[str, ...]:
    """Says how far the paths that meet here lie apart; the field is their union."""
    if len({tuple(axis.masks for axis in each.axes) for each in inputs}) == 1:
        return ()
    apart: list[Fraction | None] = []
    for axes in zip(*(each.axes for each in inputs), strict=True):
        cycles = [axis.closed_form for axis in axes]
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
    return (f"{names} do not line up: their centers lie {written} pixels apart; the field is their union",)


def receptive_fields_from(graph: Graph, layer: str) -> dict[str, ReceptiveFields | Unknown]:
    """The fields of the nodes that read `layer`, directly or through others, in units of `layer`, by name.

    They are worked out as those in pixels are, on the part of the graph that comes from the layer, with the layer as
    its input. Paths that go around it bring nothing of it.

    Args:
        graph: the network.
        layer: a node with positions, or `input`.
    """
    shapes = {INPUT: graph.input_shape, **{node.name: node.shape for node in graph.nodes}}
    shape = shapes[layer]
    assert shape is not None, f"{layer} has no shape"
    assert len(shape) == len(graph.input_shape), f"{layer} has no positions"
    from_it = {layer}
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        inputs = tuple(name for name in node.inputs if name in from_it)
        if inputs:
            from_it.add(node.name)
            around = (shapes[name] for name in node.inputs if name not in from_it)
            spread = {each[1:] for each in around if each} - {each[1:] for name in inputs if (each := shapes[name])}
            nodes.append(
                replace(
                    node,
                    inputs=tuple(INPUT if name == layer else name for name in inputs),
                    reads=Unknown("it is spread over the positions of another input") if spread else node.reads,
                )
            )
    fields = receptive_fields(Graph(name=graph.name, input_shape=shape, nodes=tuple(nodes)))
    del fields[INPUT]
    return fields
