"""Networks written as the `model:` section of a config."""

from collections.abc import Callable

import pytest

from cnncli.analysis.graph import Graph, graph_of
from cnncli.spec.document import Problem, parse_document
from cnncli.spec.network import lay_out
from cnncli.spec.reader import read_blueprint

GraphOf = Callable[..., Graph]


@pytest.fixture
def graph() -> GraphOf:
    """The graph of a list of layers, whatever it ends with."""

    def of(layers: str, shape: tuple[int, int, int] = (1, 28, 28)) -> Graph:
        problems: list[Problem] = []
        document = parse_document(f"model: {{layers: {layers}}}", name="test")
        network = lay_out(read_blueprint(document, problems), shape, 10, problems)
        assert all("the network ends" in each.message for each in problems)
        return graph_of(network, "test")

    return of
