"""The layer table of a network: shapes, costs and receptive fields, one row per layer."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

from cnncli.config.network import Network
from cnncli.errors import UsageError, did_you_mean
from cnncli.inspection.graph import Graph, GraphNode, graph_of
from cnncli.inspection.hints import Hint, Subject, find_hints
from cnncli.inspection.memory import Memory, QuantizedMemory, memory_of, output_bytes, quantized_memory
from cnncli.inspection.receptive_field import (
    ReceptiveField,
    ReceptiveFields,
    receptive_field_notes,
    receptive_fields,
    summarize,
)
from cnncli.layers import Shape
from cnncli.layers.base import Unknown
from cnncli.windows import Window


@dataclass(frozen=True, kw_only=True)
class Row:
    """One layer. Numbers that cannot be known are None, and `unknown` is the reason.

    Attributes:
        name: unique in the network.
        type: the layer's type, as in a config.
        inputs: names of the layers it reads; `input` is the network's input.
        windows: kernel, stride, padding and dilation, one window per axis; empty if the layer has none.
        groups: of a convolution, else 1.
        output_shape: `(C, H, W)` or `(F,)`, without batch axis.
        params: number of parameters, without those that an earlier layer counts.
        shares_weights: whether it uses parameters that an earlier layer counts.
        trainable: number of parameters that training changes.
        macs: multiply-accumulates of convolutions and linear layers for one image, without bias.
        activation_bytes: size of the output for one image.
        known_receptive_field: in pixels of the input; None if unknown.
        coverage: share of the input's area that the largest receptive field of a unit spans, without padding.
        unknown: why something about the layer is unknown, else None.
        notes: remarks on the numbers.
        hints: conclusions from the numbers.
        latency: measured seconds, one for each run; empty if not measured.
        members: the names of the layers that the row stands for, if it is a group.
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
    known_receptive_field: ReceptiveField | None
    coverage: Fraction | None
    unknown: str | None
    notes: tuple[str, ...]
    hints: tuple[Hint, ...]
    shares_weights: bool = False
    latency: tuple[float, ...] = ()
    members: tuple[str, ...] = ()

    @property
    def receptive_field(self) -> ReceptiveField:
        """The receptive field, in pixels of the input.

        Raises:
            UsageError: it is unknown.
        """
        if self.known_receptive_field is None:
            raise UsageError(f"the receptive field of {self.name} is unknown", remedy=self.unknown)
        return self.known_receptive_field


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerTable:
    """The layers of a network with their totals; `cnncli.inspect` returns one.

    `table["conv2"]` is the row of a layer, `"conv2" in table` tells whether there is one, and `for row in table`
    iterates over all rows. `print(table)` prints the table of `cnncli inspect`; in a notebook it is an HTML table.

    Attributes:
        model: name of the network.
        input_shape: `(C, H, W)`, without batch axis.
        rows: the layers in the order of computation.
        memory: bytes for weights, training and inference.
        receptive_fields: exact receptive fields of all units, by layer; `input` too.
        notes: remarks on the network as a whole.
        quantized: bytes for weights and inference with numbers of fewer bits, if asked for.
    """

    model: str
    input_shape: Shape
    rows: tuple[Row, ...]
    memory: Memory
    receptive_fields: Mapping[str, ReceptiveFields | Unknown] = field(repr=False)
    notes: tuple[str, ...] = ()
    quantized: QuantizedMemory | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __contains__(self, name: object) -> bool:
        return any(row.name == name for row in self.rows)

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no layer {name}{did_you_mean(str(name), [row.name for row in self.rows])}")

    def __repr__(self) -> str:
        known = f", {self.params:,} parameters, {self.macs:,} MACs" if self.complete else ""
        return f"<LayerTable {self.model}: {len(self.rows)} layers{known}>"

    def __str__(self) -> str:
        from cnncli.inspection.formatting import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from cnncli.inspection.formatting import as_html

        return as_html(self)

    @property
    def params(self) -> int:
        """Parameters of all layers for which they are known."""
        return sum(row.params or 0 for row in self.rows)

    @property
    def trainable(self) -> int:
        """Parameters that training changes, of all layers for which they are known."""
        return sum(row.trainable or 0 for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of all layers for which they are known."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether the parameters and multiply-accumulates of every layer are known."""
        return all(row.params is not None and row.macs is not None for row in self.rows)

    @property
    def unknown(self) -> tuple[Row, ...]:
        """Rows about which something is unknown."""
        return tuple(row for row in self.rows if row.unknown is not None)

    @property
    def hints(self) -> tuple[Hint, ...]:
        """All hints, layer by layer."""
        return tuple(hint for row in self.rows for hint in row.hints)


def inspect_graph(graph: Graph, *, batch: int = 1, ignore: Collection[str] = (), bits: int | None = None) -> LayerTable:
    """Compute the layer table of a graph.

    Args:
        graph: the network.
        batch: images per batch, for the memory.
        ignore: names of hints to leave out.
        bits: of a number, for `LayerTable.quantized`.
    """
    fields = receptive_fields(graph)
    size = graph.input_shape[1:]
    summaries = {name: summarize(each, size) for name, each in fields.items() if isinstance(each, ReceptiveFields)}
    del summaries["input"]
    hints: dict[str, list[Hint]] = {}
    for hint in find_hints(Subject(graph=graph, receptive_fields=fields, summaries=summaries), ignore):
        hints.setdefault(hint.layer, []).append(hint)
    rows = tuple(
        _row(node, fields, summaries.get(node.name), size, tuple(hints.get(node.name, ()))) for node in graph.nodes
    )
    return LayerTable(
        model=graph.name,
        input_shape=graph.input_shape,
        rows=rows,
        memory=memory_of(graph, batch),
        receptive_fields=fields,
        notes=graph.notes,
        quantized=None if bits is None else quantized_memory(graph, bits),
    )


def inspect_network(network: Network, name: str) -> LayerTable:
    """The layer table of a config's network."""
    return inspect_graph(graph_of(network, name))


def _row(
    node: GraphNode,
    fields: Mapping[str, ReceptiveFields | Unknown],
    summary: ReceptiveField | None,
    input_size: tuple[int, ...],
    hints: tuple[Hint, ...],
) -> Row:
    own = fields[node.name]
    coverage = None
    if isinstance(own, ReceptiveFields):
        coverage = Fraction(prod(max(axis.sizes, default=0) for axis in own.axes), prod(input_size))
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
        known_receptive_field=summary,
        coverage=coverage,
        unknown=_reason(node, own),
        notes=(*node.notes, *receptive_field_notes(node, fields)),
        shares_weights=node.shares_weights,
        hints=hints,
    )


def _reason(node: GraphNode, own: ReceptiveFields | Unknown) -> str | None:
    """The reason why the receptive field, a shape or a cost is unknown."""
    if isinstance(own, Unknown):
        return own.reason
    if node.shape is None or node.params is None or node.macs is None:
        return f"{node.name}: its shape or cost is unknown"
    return None
