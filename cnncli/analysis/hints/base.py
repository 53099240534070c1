"""What a hint is, and what it is worked out from."""

from collections.abc import Mapping
from dataclasses import dataclass

from cnncli.analysis.graph import Graph, GraphNode
from cnncli.analysis.receptive_field import Fields, ReceptiveField
from cnncli.spec.layers.base import Unknown

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Something that the numbers of a layer mean.

    Attributes:
        name: what `--ignore` takes; `docs/hints/NAME.md` says more.
        layer: which layer it is about.
        says: the fact or the prediction, in words.
        consider: an edit to consider; empty where there is nothing to change.
    """

    name: str
    layer: str
    says: str
    consider: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A graph with the fields of its nodes, and the same as numbers where they are known."""

    graph: Graph
    fields: Mapping[str, Fields | Unknown]
    numbers: Mapping[str, ReceptiveField]

    @property
    def input_size(self) -> tuple[int, ...]:
        """Pixels per axis."""
        return self.graph.input_shape[1:]

    def before(self, node: GraphNode) -> list[Fields]:
        """The fields of what a node reads, those that are known."""
        fields = (self.fields[name] for name in node.inputs)
        return [each for each in fields if not isinstance(each, Unknown)]

    def positioned(self) -> list[tuple[GraphNode, Fields]]:
        """The nodes whose units have a place in the image and a field of their own."""
        pairs = ((node, self.fields[node.name]) for node in self.graph.nodes)
        return [(node, each) for node, each in pairs if isinstance(each, Fields) and not each.everywhere]


def per_axis(values: list[str]) -> str:
    """One value where the axes agree, else `height x width`."""
    return values[0] if len(set(values)) == 1 else " x ".join(values)
