"""Graphs of networks given as layers of a config."""

from collections.abc import Callable

import pytest

from cnncli.config.document import Problem, parse_document
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.inspection.graph import Graph, graph_of

GraphOf = Callable[..., Graph]


@pytest.fixture
def graph() -> GraphOf:
    """The graph of a list of layers, which need not end with logits."""

    def of(layers: str, shape: tuple[int, int, int] = (1, 28, 28)) -> Graph:
        problems: list[Problem] = []
        document = parse_document(f"model: {{layers: {layers}}}", name="test")
        network = lay_out(read_blueprint(document, problems), shape, 10, problems)
        assert all("the network ends" in each.message for each in problems)
        return graph_of(network, "test")

    return of
