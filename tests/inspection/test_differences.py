"""Differences between two networks."""

from collections.abc import Callable

from cnncli.inspection.differences import compare
from cnncli.inspection.graph import Graph
from cnncli.inspection.table import inspect_graph

GraphOf = Callable[..., Graph]


def changes(before: Graph, after: Graph) -> list[tuple[str, str, tuple[str, ...]]]:
    """Status, layer and differing columns; no columns for a layer that one network lacks."""
    return [
        (
            each.status,
            (each.after or each.before).name,  # type: ignore[union-attr]  # one of the two is there
            tuple(column.heading for column in each.columns) if each.status == "changed" else (),
        )
        for each in compare(inspect_graph(before), inspect_graph(after))
    ]


def test_the_same_network_twice(graph: GraphOf) -> None:
    assert changes(graph("[{max_pool: 2}]"), graph("[{max_pool: 2}]")) == []


def test_more_channels_change_the_next_layer(graph: GraphOf) -> None:
    layers = "[{{conv: {{out_channels: {}, kernel_size: 3}}}}, {{conv: {{out_channels: 4, kernel_size: 1}}}}]"
    assert changes(graph(layers.format(8)), graph(layers.format(16))) == [
        ("changed", "conv1", ("output", "params", "MACs")),
        ("changed", "conv2", ("params", "MACs")),
    ]


def test_an_inserted_layer(graph: GraphOf) -> None:
    conv = "{conv: {out_channels: 4, kernel_size: 3}}"
    assert changes(graph(f"[{conv}, {conv}]"), graph(f"[{conv}, {{max_pool: 2}}, {conv}]")) == [
        ("added", "max_pool1", ()),
        ("changed", "conv2", ("output", "MACs", "RF", "jump")),
    ]
