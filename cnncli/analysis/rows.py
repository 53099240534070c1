"""One row per layer: shape, cost and receptive field."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cnncli.analysis.graph import Graph
from cnncli.analysis.receptive_field import Fields, ReceptiveField, receptive_fields, summarise
from cnncli.geometry import Window
from cnncli.spec.layers import Reach, Shape
from cnncli.spec.layers.base import Reads

JSON_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one layer.

    Attributes:
        name, type, inputs: as in the graph.
        windows: kernel, stride, padding and dilation, one window per axis; empty where the layer has none.
        output_shape: without batch axis.
        params: trainable parameters.
        macs: multiply-accumulates of convolution and linear layers for one image, bias not counted.
        receptive_field: in pixels of the input.
        notes: what the numbers alone do not say.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    windows: tuple[Window, ...]
    output_shape: Shape
    params: int
    macs: int
    receptive_field: ReceptiveField
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The rows of a model and their totals."""

    model: str
    input_shape: Shape
    rows: tuple[Row, ...]

    @property
    def params(self) -> int:
        """Trainable parameters of all layers."""
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one image."""
        return sum(row.macs for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """The published JSON form; keys keep their meaning, more may be added."""
        return {
            "version": JSON_VERSION,
            "model": self.model,
            "input_shape": list(self.input_shape),
            "layers": [_row_as_json(row) for row in self.rows],
            "totals": {"params": self.params, "macs": self.macs},
        }


def inspect_graph(graph: Graph) -> Inspection:
    """Work out every row of a graph."""
    fields = receptive_fields(graph)
    size = graph.input_shape[1:]
    rows = tuple(
        Row(
            name=node.name,
            type=node.type,
            inputs=node.inputs,
            windows=_windows(node.reads),
            output_shape=node.shape,
            params=node.params,
            macs=node.macs,
            receptive_field=summarise(fields[node.name], size),
            notes=(*node.notes, *_uneven_note(fields[node.name])),
        )
        for node in graph.nodes
    )
    return Inspection(model=graph.name, input_shape=graph.input_shape, rows=rows)


def _windows(reads: Reads) -> tuple[Window, ...]:
    return () if isinstance(reads, Reach) else reads


def _uneven_note(fields: Fields) -> tuple[str, ...]:
    """Says that units differ, where one size would be untrue."""
    if not fields.uneven:
        return ()
    sizes = [size for axis in fields.axes for size in axis.sizes()]
    smallest, largest = min(sizes), max(sizes)
    spread = f"{smallest} pixels" if smallest == largest else f"{smallest} to {largest} pixels; the largest is given"
    return (f"units do not see evenly spaced windows: they see {spread}",)


def _row_as_json(row: Row) -> dict[str, Any]:
    field = row.receptive_field
    return {
        "name": row.name,
        "type": row.type,
        "inputs": list(row.inputs),
        "output_shape": list(row.output_shape),
        "params": row.params,
        "macs": row.macs,
        "receptive_field": {
            "size": list(field.size),
            "jump": field.jump and [_number(each) for each in field.jump],
            "start": field.start and list(field.start),
            "end": field.end and list(field.end),
            "center": field.center and [float(each) for each in field.center],
            **({"global": True} if field.everywhere else {}),
        },
        "notes": list(row.notes),
    }


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
