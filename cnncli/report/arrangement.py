"""How the layers of a network stand: one after the other, and paths side by side between a fork and a join."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnncli.analysis.graph import Graph
from cnncli.spec.network import INPUT


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
