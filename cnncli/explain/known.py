"""What is known of a layer: rows of torch modules may lack it, rows of a config never do."""

from cnncli.analysis.graph import Graph
from cnncli.analysis.receptive_field import Fields, ReceptiveField, receptive_fields
from cnncli.analysis.rows import Row
from cnncli.spec.layers import Shape

_KNOWN = "every layer of a config is known"


def shape_of(row: Row) -> Shape:
    """The shape of a layer's output, without batch axis."""
    assert row.output_shape is not None, _KNOWN
    return row.output_shape


def field_of(row: Row) -> ReceptiveField:
    """The receptive field of a layer's units."""
    assert row.receptive_field is not None, _KNOWN
    return row.receptive_field


def fields_of(graph: Graph) -> dict[str, Fields]:
    """What the units of every layer see."""
    fields = {name: each for name, each in receptive_fields(graph).items() if isinstance(each, Fields)}
    assert len(fields) == len(graph.nodes) + 1, _KNOWN
    return fields
