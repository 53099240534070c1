"""What every layer makes of a few test images.

Letters for shapes: P probe images, C channels, H height, W width, F features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnncli.config.network import INPUT
from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields, receptive_fields_from
from cnncli.layers.base import Unknown
from cnncli.report.page import base64_text, halves
from cnncli.run import Run
from cnncli.windows import ClosedForm


def arrangement(graph: Graph) -> list[Any]:
    """The layers from the input to the end, as JSON.

    Each item is the name of a layer, or `{"paths": [...], "join": name}`: paths side by side, each again a list of
    items and empty where the fork itself is what is joined, and the layer that joins them.

    Args:
        graph: of a config's network, which is made of nothing but sequences and paths that meet again.
    """
    inputs = {node.name: node.inputs for node in graph.nodes}
    if not inputs:
        return []
    items = _between(INPUT, graph.nodes[-1].name, inputs, _on_every_way(graph))
    assert sorted(_names(items)) == sorted(inputs), "a config's network has every layer in one place"
    return items


def _between(
    fork: str, end: str, inputs: Mapping[str, tuple[str, ...]], always: Mapping[str, Sequence[str]]
) -> list[Any]:
    """The items after `fork`, up to and with `end`."""
    items: list[Any] = []
    while end != fork:
        read = inputs[end]
        if len(read) == 1:
            items.append(end)
            end = read[0]
        else:
            common = [name for name in always[read[0]] if all(name in always[each] for each in read)]
            paths = [_between(common[-1], each, inputs, always) for each in read]
            items.append({"paths": paths, "join": end})
            end = common[-1]
    return items[::-1]


def _on_every_way(graph: Graph) -> dict[str, list[str]]:
    """For each layer those that every way from the input to it passes, in order, itself the last."""
    always = {INPUT: [INPUT]}
    for node in graph.nodes:
        first, *others = (always[name] for name in node.inputs)
        always[node.name] = [*(name for name in first if all(name in each for each in others)), node.name]
    return always


def _names(items: list[Any]) -> list[str]:
    found = []
    for item in items:
        if isinstance(item, str):
            found.append(item)
        else:
            found += [item["join"], *(name for path in item["paths"] for name in _names(path))]
    return found


def network_data(graph: Graph) -> dict[str, Any]:
    """Layers and exact fields as JSON.

    `seen[layer][source]` names for rows and columns an entry of `axes`: what each unit of `layer` sees of `source`, the
    input or a layer before it with positions. An axis has for every unit `runs` of positions, first and last in turn,
    and the closed form `cycle`, padding counted, or null: unit `q * len(patterns) + r` sees `patterns[r]`, first and
    last, moved on by `q * step`. Most axes are alike, and each is there once.
    """
    own = receptive_fields(graph)
    sources = [INPUT, *(node.name for node in graph.nodes if _has_positions(node))]
    axes: dict[tuple[tuple[int, ...], ClosedForm | None], int] = {}
    seen: dict[str, dict[str, list[int]]] = {node.name: {} for node in graph.nodes}
    for source in sources:
        for name, fields in receptive_fields_from(graph, source).items():
            if isinstance(fields, ReceptiveFields):
                keys = [(axis.masks, axis.closed_form) for axis in fields.axes]
                seen[name][source] = [axes.setdefault(key, len(axes)) for key in keys]
    return {
        "input": list(graph.input_shape),
        "layers": [_layer(node, own[node.name]) for node in graph.nodes],
        "arrangement": arrangement(graph),
        "axes": [_axis(*axis) for axis in axes],
        "seen": seen,
    }


def _has_positions(node: GraphNode) -> bool:
    return node.shape is not None and len(node.shape) == 3


def _layer(node: GraphNode, own: ReceptiveFields | Unknown) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        "inputs": list(node.inputs),
        "shape": None if node.shape is None else list(node.shape),
        "everywhere": isinstance(own, ReceptiveFields) and own.is_global,
        "unknown": own.reason if isinstance(own, Unknown) else None,
    }


def _axis(seen: tuple[int, ...], cycle: ClosedForm | None) -> dict[str, Any]:
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


PROBES = 10
"""Test images at most, one of each class."""
VALUES = 250_000
"""Numbers in the page at most, of which each takes 2.7 bytes."""


def maps_data(run: Run) -> dict[str, Any]:
    """Images, predictions and the output of every layer as JSON.

    `images` are the bytes of uint8 (P, C, H, W). `layers[name].values` are half precision numbers (P, C', ...), the
    first C' channels: fewer images, and then fewer channels, where there would be too many numbers; none of a layer
    that is too large even so.
    """
    probes = run.test.first_of_each_class(_affordable_probes(run))
    names = [node.name for node in run.network.nodes]
    single = run.test.subset(torch.tensor(probes))
    images = torch.cat([batch for batch, _ in run.batches(single).epoch(1)])
    with torch.inference_mode():
        outputs = run.model.outputs(images, names)  # name -> (P, C, H, W) or (P, F)
    share = min(1.0, VALUES / sum(output[0].numel() for output in outputs.values()))
    shares = outputs[names[-1]].double().softmax(dim=1)
    return {
        "probes": [
            {"number": number, "label": int(single.labels[i]), "probabilities": shares[i].tolist()}
            for i, number in enumerate(probes)
        ],
        "images": base64_text(single.images.cpu().contiguous().numpy().tobytes()),
        "layers": {name: _maps_layer(output, share) for name, output in outputs.items()},
    }


def _affordable_probes(run: Run) -> int:
    numbers = sum(torch.Size(node.shape).numel() for node in run.network.nodes)
    return max(1, min(PROBES, VALUES // numbers))


def _maps_layer(output: Tensor, share: float) -> dict[str, Any]:
    """The first channels of a layer, so many that its share of the numbers is kept; a row of features is one piece."""
    channels = output.shape[1]
    kept = channels if output.ndim == 2 else int(channels * share)
    values = output[:, :kept].float().cpu().numpy()
    return {"channels": kept, "of": channels, "values": halves(values)}
