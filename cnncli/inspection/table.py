"""One row per layer: shape, cost, receptive field, and what they mean."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.hints import Hint, Subject, find_hints
from cnncli.inspection.memory import Memory, memory_of, output_bytes
from cnncli.inspection.receptive_field import ReceptiveField, ReceptiveFields, field_notes, receptive_fields, summarize
from cnncli.layers import Shape
from cnncli.layers.base import Unknown
from cnncli.windows import Window


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one layer.

    Attributes:
        name, type, inputs: as in the graph.
        windows: kernel, stride, padding and dilation, one window per axis; empty where the layer has none.
        groups: of a convolution.
        output_shape: without batch axis; None where unknown.
        params: parameters; None where unknown.
        trainable: those that training changes; None where unknown.
        macs: multiply-accumulates of convolution and linear layers for one image, bias not counted; None where unknown.
        activation_bytes: of its output for one image; None where unknown.
        receptive_field: in pixels of the input; None where unknown.
        coverage: share of the input's area that the unit which sees most spans, padding left out; None where unknown.
        unknown: why something is not known.
        notes: what the numbers alone do not say.
        hints: what they mean.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    windows: tuple[Window, ...]
    groups: int
    output_shape: Shape | None
    params: int | None
    trainable: int | None
    macs: int | None
    activation_bytes: int | None
    receptive_field: ReceptiveField | None
    coverage: Fraction | None
    unknown: str | None
    notes: tuple[str, ...]
    hints: tuple[Hint, ...]


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """The rows of a model and their totals.

    Attributes:
        model: its name.
        input_shape: channels and pixels per axis.
        rows: one per layer, in the order of computation.
        memory: that it needs.
        receptive_fields: exact fields of every layer's units, by name; `input` too.
        notes: what is to be said of the model as a whole.
    """

    model: str
    input_shape: Shape
    rows: tuple[Row, ...]
    memory: Memory
    receptive_fields: Mapping[str, ReceptiveFields | Unknown] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        """Parameters of all layers in which they are known."""
        return sum(row.params or 0 for row in self.rows)

    @property
    def trainable(self) -> int:
        """Those of them that training changes."""
        return sum(row.trainable or 0 for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers in which they are known, for one image."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether parameters and multiply-accumulates of every layer are known."""
        return all(row.params is not None and row.macs is not None for row in self.rows)

    @property
    def unknown(self) -> tuple[Row, ...]:
        """Rows of which something is not known."""
        return tuple(row for row in self.rows if row.unknown is not None)

    @property
    def hints(self) -> tuple[Hint, ...]:
        """What the numbers mean, layer by layer."""
        return tuple(hint for row in self.rows for hint in row.hints)

    def row(self, name: str) -> Row | None:
        """The row of a layer, if there is one of that name."""
        return next((row for row in self.rows if row.name == name), None)


def inspect_graph(graph: Graph, *, batch: int = 1, ignore: Collection[str] = ()) -> LayerTable:
    """Work out every row of a graph.

    Args:
        graph: the network.
        batch: images at once, for the memory.
        ignore: names of hints that are not wanted.
    """
    fields = receptive_fields(graph)
    size = graph.input_shape[1:]
    numbers = {name: summarize(each, size) for name, each in fields.items() if isinstance(each, ReceptiveFields)}
    del numbers["input"]
    hints: dict[str, list[Hint]] = {}
    for hint in find_hints(Subject(graph=graph, fields=fields, numbers=numbers), ignore):
        hints.setdefault(hint.layer, []).append(hint)
    rows = tuple(
        _row(node, fields, numbers.get(node.name), size, tuple(hints.get(node.name, ()))) for node in graph.nodes
    )
    return LayerTable(
        model=graph.name,
        input_shape=graph.input_shape,
        rows=rows,
        memory=memory_of(graph, batch),
        receptive_fields=fields,
        notes=graph.notes,
    )


def _row(
    node: GraphNode,
    fields: Mapping[str, ReceptiveFields | Unknown],
    numbers: ReceptiveField | None,
    input_size: tuple[int, ...],
    hints: tuple[Hint, ...],
) -> Row:
    own = fields[node.name]
    return Row(
        name=node.name,
        type=node.type,
        inputs=node.inputs,
        windows=node.reads if isinstance(node.reads, tuple) else (),
        groups=node.groups,
        output_shape=node.shape,
        params=node.params,
        trainable=node.params if node.trainable is None else node.trainable,
        macs=node.macs,
        activation_bytes=output_bytes(node),
        receptive_field=numbers,
        coverage=_coverage(own, input_size) if isinstance(own, ReceptiveFields) else None,
        unknown=_reason(node, own),
        notes=(*node.notes, *field_notes(node, fields)),
        hints=hints,
    )


def _coverage(fields: ReceptiveFields, input_size: tuple[int, ...]) -> Fraction:
    seen = (max(axis.sizes, default=0) for axis in fields.axes)
    return Fraction(prod(seen), prod(input_size))


def _reason(node: GraphNode, own: ReceptiveFields | Unknown) -> str | None:
    """Why the field, or else a shape or cost, is not known."""
    if isinstance(own, Unknown):
        return own.reason
    if node.shape is None or node.params is None or node.macs is None:
        return f"{node.name}: its shape or cost is not known"
    return None
