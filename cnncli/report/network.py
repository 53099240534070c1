"""The network as the page draws it: its layers, how they stand, and which units see which."""

from typing import Any

from cnncli.analysis.between import fields_on
from cnncli.analysis.graph import Graph, GraphNode
from cnncli.analysis.receptive_field import Fields, receptive_fields
from cnncli.geometry import Cycle
from cnncli.report.arrangement import arrangement
from cnncli.spec.layers.base import Unknown
from cnncli.spec.network import INPUT


def network_data(graph: Graph) -> dict[str, Any]:
    """Layers and exact fields as JSON.

    `seen[layer][source]` names for rows and columns an entry of `axes`: what each unit of `layer` sees of `source`, the
    input or a layer before it with positions. An axis has for every unit `runs` of positions, first and last in turn,
    and the closed form `cycle`, padding counted, or null: unit `q * len(patterns) + r` sees `patterns[r]`, first and
    last, moved on by `q * step`. Most axes are alike, and each is there once.
    """
    own = receptive_fields(graph)
    sources = [INPUT, *(node.name for node in graph.nodes if _has_positions(node))]
    axes: dict[tuple[tuple[int, ...], Cycle | None], int] = {}
    seen: dict[str, dict[str, list[int]]] = {node.name: {} for node in graph.nodes}
    for source in sources:
        for name, fields in fields_on(graph, source).items():
            if isinstance(fields, Fields):
                seen[name][source] = [axes.setdefault((axis.seen, axis.cycle), len(axes)) for axis in fields.axes]
    return {
        "input": list(graph.input_shape),
        "layers": [_layer(node, own[node.name]) for node in graph.nodes],
        "arrangement": arrangement(graph),
        "axes": [_axis(*axis) for axis in axes],
        "seen": seen,
    }


def _has_positions(node: GraphNode) -> bool:
    return node.shape is not None and len(node.shape) == 3


def _layer(node: GraphNode, own: Fields | Unknown) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        "inputs": list(node.inputs),
        "shape": None if node.shape is None else list(node.shape),
        "everywhere": isinstance(own, Fields) and own.everywhere,
        "unknown": own.reason if isinstance(own, Unknown) else None,
    }


def _axis(seen: tuple[int, ...], cycle: Cycle | None) -> dict[str, Any]:
    closed = None
    if cycle is not None:
        patterns = [[each.start, each.end] if each.mask else None for each in cycle.patterns]
        closed = {"patterns": patterns, "step": cycle.step}
    return {"runs": [runs(mask) for mask in seen], "cycle": closed}


def runs(mask: int) -> list[int]:
    """The positions of a bit mask as runs without gaps, first and last of each in turn: 0b11011 is 0, 1, 3, 4."""
    found: list[int] = []
    position = 0
    while mask >> position:
        position += ((mask >> position) & -(mask >> position)).bit_length() - 1
        first = position
        while mask >> position & 1:
            position += 1
        found += [first, position - 1]
    return found
