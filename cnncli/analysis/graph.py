"""The small graph that everything here is worked out on, whatever it was made from."""

from dataclasses import dataclass

from cnncli.spec.layers import Shape
from cnncli.spec.layers.base import Reads
from cnncli.spec.network import Network


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One operation.

    Attributes:
        name: unique in the graph.
        type: the word for its kind, as in configs.
        inputs: names of the nodes it reads; `input` is the network's input.
        shape: of its output, without batch axis.
        reads: which positions of its inputs a unit reads.
        params: trainable parameters.
        macs: multiply-accumulates for one image.
        notes: what a reader should know.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    shape: Shape
    reads: Reads
    params: int
    macs: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operations in an order in which each comes after its inputs."""

    name: str
    input_shape: Shape
    nodes: tuple[GraphNode, ...]


def graph_of(network: Network, name: str) -> Graph:
    """The graph of a config's network."""
    nodes = tuple(
        GraphNode(
            name=node.name,
            type=node.layer.word(),
            inputs=node.inputs,
            shape=node.shape,
            reads=node.description.reads,
            params=node.description.params,
            macs=node.description.macs,
            notes=node.description.notes,
        )
        for node in network.nodes
    )
    return Graph(name=name, input_shape=network.input_shape, nodes=nodes)
