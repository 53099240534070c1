"""The receptive fields of all units of every node of a graph, and their summary in numbers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeGuard

from cnncli.config.network import INPUT
from cnncli.inspection.graph import Graph, GraphNode, constant_nodes, reads_everything
from cnncli.layers import Reach, per_axis
from cnncli.layers.base import Reads, Unknown
from cnncli.windows import AxisReceptiveField, Bounds, ClosedForm


@dataclass(frozen=True)
class ReceptiveFields:
    """The exact receptive fields of all units of a layer, per spatial axis of the input.

    Attributes:
        axes: one receptive field per axis; a layer without positions has one unit on each.
        is_global: whether units see the whole input regardless of position (after flatten, linear, a global pool).
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
    """A summary of the receptive field of a layer, in pixels, with one entry per axis.

    Attributes:
        size: pixels from the first to the last that a unit sees, padding included; the largest if units differ.
        jump: pixels from one unit to the next; None for a layer without positions.
        start: first pixel that unit 0 sees, negative if it sees padding; None if units differ.
        end: last pixel that unit 0 sees; None if units differ.
        center: center between start and end; None if units differ.
        smallest_path: size along the path with the smallest receptive field; the input's if every path reads all of
            it; None if unknown.
        largest_path: the same for the path with the largest receptive field.
        used: how many of the pixels that a unit spans it reads; None without a closed form.
        local: for a global receptive field, the size along the paths on which no layer reads every position (around a
            squeeze-and-excite gate, or without a norm's mean and variance); None if there is no such path.
        is_global: whether a unit sees the whole input.
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
    """The receptive fields of every node of a graph, by name; those of the input itself as `input`."""
    fields: dict[str, ReceptiveFields | Unknown] = {
        INPUT: ReceptiveFields(tuple(AxisReceptiveField.of_input(size) for size in graph.input_shape[1:]))
    }
    constant = constant_nodes(graph)
    bounds = Bounds()
    nothing = ReceptiveFields(
        tuple(AxisReceptiveField.of_input(size).merged(1).emptied() for size in graph.input_shape[1:])
    )
    for node in graph.nodes:
        inputs = [fields[name] for name in node.inputs if name not in constant]
        if node.placed:
            inputs = [_placed(node, fields[name], reads) for name, reads in node.placed if name not in constant]
        fields[node.name] = _through(node, inputs, bounds) if inputs else nothing
    return fields


def _placed(node: GraphNode, fields: ReceptiveFields | Unknown, reads: Reads) -> ReceptiveFields | Unknown:
    """The receptive fields of an input at the positions of a node that joins it with others."""
    if isinstance(fields, Unknown) or reads is Reach.SAME:
        return fields
    if reads is Reach.ALL:
        return _global(node, fields)
    assert isinstance(reads, tuple), node
    axes = tuple(axis.through(window) for axis, window in zip(fields.axes, reads, strict=True))
    return ReceptiveFields(axes, fields.is_global)


def _through(node: GraphNode, inputs: list[ReceptiveFields | Unknown], bounds: Bounds) -> ReceptiveFields | Unknown:
    """The receptive fields of a node, given those of its inputs; unknown beyond the bounds."""
    fields = _through_windows(node, inputs, bounds)
    if isinstance(fields, Unknown) or not node.statistics:
        return fields
    axes = tuple(AxisReceptiveField.union([axis, axis.merged(len(axis.masks))]) for axis in fields.axes)
    return ReceptiveFields(axes, is_global=True)


def _through_windows(
    node: GraphNode, inputs: list[ReceptiveFields | Unknown], bounds: Bounds
) -> ReceptiveFields | Unknown:
    """The same without the statistics of a norm."""
    if isinstance(node.reads, Unknown):
        return Unknown(f"{node.name}: {node.reads.reason}")
    known = [each for each in inputs if not isinstance(each, Unknown)]
    if len(known) < len(inputs):
        return next(each for each in inputs if isinstance(each, Unknown))
    joined = _join(node, known)
    if isinstance(joined, Unknown) or node.reads is Reach.SAME:
        return joined
    if reads_everything(node.reads):
        return _global(node, joined)
    assert isinstance(node.reads, tuple), node
    if len(node.reads) != len(joined.axes):
        return Unknown(f"{node.name}: it has {len(node.reads)} spatial axes, its input has {len(joined.axes)}")
    sizes, jumps = ([len(axis.masks) for axis in joined.axes], [axis.jump for axis in joined.axes])
    if excess := bounds.excess(node.reads, sizes, jumps):
        return Unknown(f"{node.name}: {excess}")
    axes = tuple(axis.through(window) for axis, window in zip(joined.axes, node.reads, strict=True))
    if not all(any(axis.masks) for axis in axes):
        # Units that see no row see no column either, and contribute nothing where paths join.
        axes = tuple(axis.emptied() for axis in axes)
    return ReceptiveFields(axes, joined.is_global)


def _global(node: GraphNode, inputs: ReceptiveFields) -> ReceptiveFields:
    """The receptive fields of a node whose units each read every position of its inputs."""
    positions = () if node.shape is None else node.shape[1:]
    units = positions if len(positions) == len(inputs.axes) else (1,) * len(inputs.axes)
    if node.units is not None:
        units = node.units
    axes = tuple(axis.merged(count) for axis, count in zip(inputs.axes, units, strict=True))
    return ReceptiveFields(axes, is_global=True)


def _join(node: GraphNode, inputs: list[ReceptiveFields]) -> ReceptiveFields | Unknown:
    """The receptive field of each position in all inputs together."""
    if len(inputs) == 1:
        return inputs[0]
    axes = []
    for each_axis in zip(*(each.axes for each in inputs), strict=True):
        if len({len(axis.masks) for axis in each_axis} - {1}) > 1:
            return Unknown(f"{node.name}: its inputs differ in size")
        axes.append(AxisReceptiveField.union(each_axis))
    return ReceptiveFields(tuple(axes), is_global=any(each.is_global for each in inputs))


def summarize(fields: ReceptiveFields, input_size: tuple[int, ...]) -> ReceptiveField:
    """A layer's receptive fields in numbers, for an input of `input_size` pixels per axis."""
    smallest = _over_paths([axis.smallest_paths for axis in fields.axes], min)
    largest = _over_paths([axis.largest_paths for axis in fields.axes], max)
    if fields.is_global:
        seen = [interval for axis in fields.axes if (interval := axis.interval(0)) is not None]
        known = len(seen) == len(fields.axes)
        size = tuple(last - first + 1 for first, last in seen) if known else (0,) * len(input_size)
        return ReceptiveField(
            size=size,
            jump=None,
            start=tuple(first for first, _ in seen) if known else None,
            end=tuple(last for _, last in seen) if known else None,
            center=tuple(Fraction(first + last, 2) for first, last in seen) if known else None,
            smallest_path=smallest or size,
            largest_path=size,
            used=None,
            local=largest,
            is_global=True,
        )
    forms = [axis.closed_form for axis in fields.axes if axis.closed_form is not None]
    first = [form.pattern(0) for form in forms] if fields.is_uniform else []
    return ReceptiveField(
        size=tuple(axis.size for axis in fields.axes),
        jump=tuple(axis.jump for axis in fields.axes),
        start=tuple(pattern.start for pattern in first) if first else None,
        end=tuple(pattern.end for pattern in first) if first else None,
        center=tuple(form.center for form in forms) if first else None,
        smallest_path=smallest,
        largest_path=largest,
        used=tuple(_used(form) for form in forms) if len(forms) == len(fields.axes) else None,
    )


def _used(form: ClosedForm) -> int:
    """Number of pixels that the widest pattern reads."""
    return max(form.patterns, key=lambda pattern: pattern.size).used


def _over_paths(axes: list[tuple[ClosedForm, ...]], extreme: Callable[[Iterable[int]], int]) -> tuple[int, ...] | None:
    """The smallest or largest size over paths per axis; None if an axis has no path with a size."""
    return tuple(extreme(path.size for path in paths) for paths in axes) if all(axes) else None


def receptive_field_notes(node: GraphNode, fields: Mapping[str, ReceptiveFields | Unknown]) -> tuple[str, ...]:
    """Notes on the receptive fields of one node."""
    own = fields[node.name]
    if isinstance(own, Unknown):
        return ()
    if node.statistics:
        return ("its norm takes mean and variance over the whole map; in brackets the receptive field without them",)
    if own.is_global:
        return ()
    inputs = [each for each in (fields[name] for name in node.inputs) if _depends_on_input(each)]
    return (*_unequal_units(own), *(_misaligned(node, inputs) if len(inputs) > 1 else ()))


def _depends_on_input(fields: ReceptiveFields | Unknown) -> TypeGuard[ReceptiveFields]:
    return isinstance(fields, ReceptiveFields) and any(any(axis.masks) for axis in fields.axes)


def _unequal_units(fields: ReceptiveFields) -> tuple[str, ...]:
    """A note if no single size and jump hold for all units."""
    if fields.is_uniform:
        return ()
    if not _depends_on_input(fields):
        return ("it does not depend on the input",)
    sizes = [size for axis in fields.axes for size in axis.sizes]
    smallest, largest = min(sizes, default=0), max(sizes, default=0)
    spread = f"{smallest} pixels" if smallest == largest else f"{smallest} to {largest} pixels"
    if max(axis.size for axis in fields.axes) > largest:
        spread += " of the image; the table counts padding as well"
    elif smallest < largest:
        spread += "; the table gives the largest"
    if any(axis.closed_form is None for axis in fields.axes) and smallest == largest:
        return (f"units see {spread} of the image; no single size with padding is known",)
    return (f"receptive fields are not evenly spaced: units see {spread}",)


def _misaligned(node: GraphNode, inputs: list[ReceptiveFields]) -> tuple[str, ...]:
    """A note if the paths that join here are shifted against each other."""
    if len({tuple(axis.masks for axis in each.axes) for each in inputs}) == 1:
        return ()
    shifts: list[Fraction] = []
    for axes in zip(*(each.axes for each in inputs), strict=True):
        centers = [axis.closed_form.center for axis in axes if axis.closed_form is not None]
        if len(centers) < len(axes) or len({axis.jump for axis in axes}) > 1:
            return ("its inputs have different jumps; its receptive field is their union",)
        shifts.append(max(centers) - min(centers))
    if not any(shifts):
        return ()
    distance = per_axis(map(float, shifts), " x ")
    names = " and ".join(dict.fromkeys(node.inputs))
    return (f"the centers of {names} lie {distance} pixels apart; the receptive field is their union",)


def receptive_fields_from(graph: Graph, layer: str) -> dict[str, ReceptiveFields | Unknown]:
    """The receptive fields of the nodes that depend on `layer`, in units of `layer` instead of pixels, by name.

    They are computed on the part of the graph that depends on the layer, with the layer as its input.

    Args:
        graph: the network.
        layer: a node with positions, or `input`.
    """
    shapes = {INPUT: graph.input_shape, **{node.name: node.shape for node in graph.nodes}}
    shape = shapes[layer]
    assert shape is not None, f"{layer} has no shape"
    assert len(shape) == len(graph.input_shape), f"{layer} has no positions"
    dependent, constant = {layer}, constant_nodes(graph)
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        inputs = tuple(name for name in node.inputs if name in dependent)
        if inputs:
            dependent.add(node.name)
            others = {*node.inputs} - dependent - constant
            own_sizes = {each[1:] for name in inputs if (each := shapes[name])}
            other_sizes = {each[1:] for name in others if (each := shapes[name])}
            broadcast = not all(any(_covers(own, other) for own in own_sizes) for other in other_sizes)
            nodes.append(
                replace(
                    node,
                    inputs=tuple(INPUT if name == layer else name for name in inputs),
                    placed=tuple(
                        (INPUT if name == layer else name, reads) for name, reads in node.placed if name in dependent
                    ),
                    reads=Unknown("it is broadcast over the positions of another input") if broadcast else node.reads,
                )
            )
    fields = receptive_fields(Graph(name=graph.name, input_shape=shape, nodes=tuple(nodes)))
    del fields[INPUT]
    return fields


def _covers(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether maps of a size are not repeated where they are joined with others; a vector has no positions."""
    return not other or (
        len(size) == len(other) and all(mine >= theirs for mine, theirs in zip(size, other, strict=True))
    )
