"""The small graph that everything here is worked out on, whatever it was made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from cnncli.config.network import Network, Node
from cnncli.layers import Conv, Dropout, Dropout2d, Flatten, Identity, Reach, Shape
from cnncli.layers.base import Reads
from cnncli.windows import Adaptive


@dataclass(frozen=True)
class Part:
    """One of the operations that a node is made of.

    Attributes:
        type: its type, as in configs; as in ATen where they have no word for it.
        numbers: in its output for one image; None where unknown.
        item_bytes: of one of them.
        inplace: whether it writes over what it reads, or looks at it otherwise.
        aside: whether it works on some of the numbers before it, of which the others are read as well.
    """

    type: str
    numbers: int | None
    item_bytes: int = 4
    inplace: bool = False
    aside: bool = False


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One operation.

    Attributes:
        name: unique in the graph.
        type: as in configs.
        inputs: names of the nodes it reads; `input` is the network's input.
        shape: of its output, without batch axis; None where unknown.
        reads: which positions of its inputs a unit reads. Inputs of one position are read by every unit.
        statistics: whether a norm takes mean and variance over the whole map, so that every unit depends, besides on
            what it reads, on everything that any unit reads.
        params: parameters, trainable or not; None where unknown.
        macs: multiply-accumulates for one image; None where unknown.
        trainable: those of the parameters that training changes; None: all of them.
        buffer_bytes: what is saved with the weights but not learned (running means and variances).
        item_bytes: of one number of its output.
        weight_bytes: of its parameters; None: four for each.
        groups: of a convolution.
        parts: the operations it is made of, one after another: `conv`, `batch_norm`, `relu`.
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
    weight_bytes: int | None = None
    groups: int = 1
    parts: tuple[Part, ...] = ()
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
            type=node.layer.type,
            inputs=node.inputs,
            shape=node.shape,
            reads=node.description.reads,
            statistics=node.description.statistics,
            params=node.description.params,
            macs=node.description.macs,
            buffer_bytes=node.description.buffer_bytes,
            groups=node.description.groups,
            parts=tuple(_parts(node)),
            view=isinstance(node.layer, Flatten | Identity | Dropout | Dropout2d),
            notes=node.description.notes,
        )
        for node in network.nodes
    )
    return Graph(name=name, input_shape=network.input_shape, nodes=nodes)


def _parts(node: Node) -> Iterator[Part]:
    """The layer itself, then its norm and its activation; before it the padding that torch does by itself."""
    layer, numbers = node.layer, prod(node.shape)
    if isinstance(layer, Conv) and any(before != after for before, after in layer.pads()):
        channels, *sizes = node.input_shapes[0]
        padded = (size + sum(pads) for size, pads in zip(sizes, layer.pads(), strict=True))
        yield Part("pad", channels * prod(padded))
    for each in (layer, *layer.followers().values()):
        yield Part(each.type, numbers)
