"""The network in a page: its layers, and exact receptive fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnncli.config.network import INPUT
from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields, receptive_fields_from
from cnncli.layers.base import Unknown
from cnncli.windows import ClosedForm


def network_data(graph: Graph) -> dict[str, Any]:
    """Layers and exact receptive fields as JSON.

    `receptive_fields[layer][source]` has an index into `axes` for rows and one for columns: the receptive fields of the
    units of `layer` on `source`, the input or an earlier layer with positions. An axis has `runs`, for every unit the
    first and last positions of the runs it depends on, in turn; and `closed_form`, with padding, or null:
    unit `q * len(patterns) + r` spans `patterns[r]`, first and last, shifted by `q * step`. Equal axes are stored once.
    """
    on_input = receptive_fields(graph)
    sources = [INPUT, *(node.name for node in graph.nodes if _has_positions(node))]
    axes: dict[tuple[tuple[int, ...], ClosedForm | None], int] = {}
    by_layer: dict[str, dict[str, list[int]]] = {node.name: {} for node in graph.nodes}
    for source in sources:
        for layer, fields in receptive_fields_from(graph, source).items():
            if isinstance(fields, ReceptiveFields):
                keys = [(axis.masks, axis.closed_form) for axis in fields.axes]
                by_layer[layer][source] = [axes.setdefault(key, len(axes)) for key in keys]
    return {
        "input": list(graph.input_shape),
        "layers": [_layer(node, on_input[node.name]) for node in graph.nodes],
        "arrangement": arrangement(graph),
        "axes": [_axis(*axis) for axis in axes],
        "receptive_fields": by_layer,
    }


def _has_positions(node: GraphNode) -> bool:
    return node.shape is not None and len(node.shape) == 3


def _layer(node: GraphNode, fields: ReceptiveFields | Unknown) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        "inputs": list(node.inputs),
        **({} if node.skip_from is None else {"skip_from": node.skip_from}),
        "shape": None if node.shape is None else list(node.shape),
        "unknown": fields.reason if isinstance(fields, Unknown) else None,
    }


def _axis(masks: tuple[int, ...], closed_form: ClosedForm | None) -> dict[str, Any]:
    data = None
    if closed_form is not None:
        patterns = [[each.start, each.end] if each.mask else None for each in closed_form.patterns]
        data = {"patterns": patterns, "step": closed_form.step}
    return {"runs": [runs(mask) for mask in masks], "closed_form": data}


def runs(mask: int) -> list[int]:
    """The set bits of a mask as runs without gaps, first and last position of each: 0b11011 is 0, 1, 3, 4."""
    ends: list[int] = []
    position = 0
    while mask >> position:
        position += ((mask >> position) & -(mask >> position)).bit_length() - 1
        first = position
        while mask >> position & 1:
            position += 1
        ends += [first, position - 1]
    return ends


def arrangement(graph: Graph) -> list[Any]:
    """The layers from the input to the output, as JSON.

    Each item is the name of a layer, or `{"paths": [...], "join": name}`: parallel paths and the layer that joins them.
    A path is again a list of items, empty for an identity. A long connection is no path: the layer in which it ends
    follows the layer before it.

    Args:
        graph: of a config's network, which consists of sequences and of paths that fork and join.
    """
    inputs = {node.name: _paths(node) for node in graph.nodes}
    if not inputs:
        return []
    items = _between(INPUT, graph.nodes[-1].name, inputs, _dominators(graph))
    assert sorted(_names(items)) == sorted(inputs), "every layer of a config's network has one place"
    return items


def _paths(node: GraphNode) -> tuple[str, ...]:
    """The ends of the paths that meet in a node."""
    return node.inputs if node.skip_from is None else node.inputs[:-1]


def _between(
    fork: str, end: str, inputs: Mapping[str, tuple[str, ...]], dominators: Mapping[str, Sequence[str]]
) -> list[Any]:
    """The items after `fork`, up to and including `end`."""
    items: list[Any] = []
    while end != fork:
        sources = inputs[end]
        if len(sources) == 1:
            items.append(end)
            end = sources[0]
        else:
            last = [name for name in dominators[sources[0]] if all(name in dominators[each] for each in sources)][-1]
            paths = [_between(last, each, inputs, dominators) for each in sources]
            items.append({"paths": paths, "join": end})
            end = last
    return items[::-1]


def _dominators(graph: Graph) -> dict[str, list[str]]:
    """For each layer, those that every path from the input to it passes through, in order, itself the last."""
    dominators = {INPUT: [INPUT]}
    for node in graph.nodes:
        first, *others = (dominators[name] for name in _paths(node))
        dominators[node.name] = [*(name for name in first if all(name in each for each in others)), node.name]
    return dominators


def _names(items: list[Any]) -> list[str]:
    names = []
    for item in items:
        if isinstance(item, str):
            names.append(item)
        else:
            names += [item["join"], *(name for path in item["paths"] for name in _names(path))]
    return names
