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
        shape: of its output, without batch axis; None where unknown.
        reads: which positions of its inputs a unit reads. Inputs of one position are read by every unit.
        params: parameters, trainable or not; None where unknown.
        macs: multiply-accumulates for one image; None where unknown.
        trainable: those of the parameters that training changes; None: all of them.
        buffer_bytes: what is saved with the weights but not learned (running means and variances).
        item_bytes: of one number of its output and of its weights.
        groups: of a convolution.
        steps: tensors of the output's shape that it makes one after another (convolution, norm, activation).
        view: whether its output is its input's memory, seen otherwise.
        notes: what a reader should know.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    shape: Shape | None
    reads: Reads
    params: int | None
    macs: int | None
    trainable: int | None = None
    buffer_bytes: int = 0
    item_bytes: int = 4
    groups: int = 1
    steps: int = 1
    view: bool = False
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
