"""Graphs of networks given as layers of a config."""

from collections.abc import Callable

import pytest

from cnncli.inspection.graph import Graph, graph_of
from tests.networks import network_of

GraphOf = Callable[..., Graph]


@pytest.fixture
def graph() -> GraphOf:
    """The graph of a list of layers, which need not end with logits."""

    def of(layers: str, shape: tuple[int, int, int] = (1, 28, 28)) -> Graph:
        return graph_of(network_of(layers, shape), "test")

    return of
