"""The small graph that everything here is worked out on, whatever it was made from."""

from dataclasses import dataclass

from cnncli.geometry import Adaptive
from cnncli.spec.layers import AnyLayer, BatchNorm, Dropout, Dropout2d, Flatten, Identity, Reach, Shape
from cnncli.spec.layers.base import Reads
from cnncli.spec.network import Network, Node


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One operation.

    Attributes:
        name: unique in the graph.
        type: the word for its kind, as in configs.
        inputs: names of the nodes it reads; `input` is the network's input.
        shape: of its output, without batch axis; None where unknown.
        reads: which positions of its inputs a unit reads. Inputs of one position are read by every unit.
        statistics: whether a norm takes mean and variance over the whole map, so that every unit depends, besides on
            what it reads, on everything that any unit reads.
        params: parameters, trainable or not; None where unknown.
        macs: multiply-accumulates for one image; None where unknown.
        trainable: those of the parameters that training changes; None: all of them.
        buffer_bytes: what is saved with the weights but not learned (running means and variances).
        item_bytes: of one number of its output and of its weights.
        groups: of a convolution.
        parts: the operations it is made of, where there are several: `conv`, `batch_norm`, `relu`.
        inplace: of each part, whether it writes over what it reads, or looks at it otherwise; empty where none does.
        view: whether its output in use is its input's memory, seen otherwise or written over.
        units: positions along each axis of the input, where the shape does not say them (tokens, channels last).
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
    parts: tuple[str, ...] = ()
    inplace: tuple[bool, ...] = ()
    view: bool = False
    statistics: bool = False
    units: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operations in an order in which each comes after its inputs, and what is to be said of them as a whole."""

    name: str
    input_shape: Shape
    nodes: tuple[GraphNode, ...]
    notes: tuple[str, ...] = ()


def reads_everything(reads: Reads) -> bool:
    """Whether every unit reads every position."""
    if isinstance(reads, tuple):
        return all(isinstance(window, Adaptive) and window.units == 1 for window in reads)
    return reads is Reach.ALL


def graph_of(network: Network, name: str) -> Graph:
    """The graph of a config's network."""
    nodes = tuple(
        GraphNode(
            name=node.name,
            type=node.layer.word(),
            inputs=node.inputs,
            shape=node.shape,
            reads=node.description.reads,
            statistics=node.description.statistics,
            params=node.description.params,
            macs=node.description.macs,
            buffer_bytes=_running_statistics(node),
            groups=getattr(node.layer, "groups", 1),
            parts=_parts(node.layer),
            view=isinstance(node.layer, Flatten | Identity | Dropout | Dropout2d),
            notes=node.description.notes,
        )
        for node in network.nodes
    )
    return Graph(name=name, input_shape=network.input_shape, nodes=nodes)


def _parts(layer: AnyLayer) -> tuple[str, ...]:
    """The layer's own word, then its norm's and its activation's."""
    after = (getattr(layer, "norm", None), getattr(layer, "activation", None))
    return (layer.word(), *(each.word() for each in after if each is not None))


def _running_statistics(node: Node) -> int:
    """Bytes of batch norm's mean and variance per channel, and its count of batches."""
    norms = [each for each in (node.layer, getattr(node.layer, "norm", None)) if isinstance(each, BatchNorm)]
    return len(norms) * (2 * 4 * node.shape[0] + 8)
