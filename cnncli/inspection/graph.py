"""The graph that `inspection` measures, whether it comes from a config or from a captured module."""

from dataclasses import dataclass

from cnncli.config.network import Network
from cnncli.errors import ConfigError
from cnncli.layers import Reach, Shape
from cnncli.layers.base import Part, Reads
from cnncli.windows import Adaptive


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One operation.

    Attributes:
        name: unique in the graph.
        type: as in configs.
        inputs: names of the nodes it reads; `input` is the network's input. A node that reads none is a constant.
        shape: of its output, without batch axis; None where unknown.
        reads: which positions of its inputs a unit reads. Inputs of one position are read by every unit.
        statistics: whether a norm takes mean and variance over the whole map, so that every unit depends not only
            on what it reads, but on everything that any unit reads.
        params: parameters, trainable or not; None where unknown.
        macs: multiply-accumulates for one image; None where unknown.
        trainable: those of the parameters that training changes; None: all of them.
        buffer_bytes: of what is saved with the weights but not learned (running means and variances).
        item_bytes: of one number of its output.
        weight_bytes: of its parameters; None: four for each.
        groups: of a convolution.
        parts: the operations it consists of, in order: `conv`, `batch_norm`, `relu`.
        view: whether its output in inference shares the memory of its input.
        units: positions along each axis of the input, where the shape does not say them (tokens, channels last).
        placed: what a unit reads of each input before they are joined, if their positions differ, as where they are
            concatenated along them; empty: each as it is.
        upper_bound: whether rows and columns that a unit reads depend on each other (a mask), so that fewer may be read
            than `reads` says for each alone.
        shares_weights: whether it uses parameters that are counted in an earlier node.
        skip_from: the last of its inputs if that is a long connection.
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
    placed: tuple[tuple[str, Reads], ...] = ()
    upper_bound: bool = False
    shares_weights: bool = False
    skip_from: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operations, each after its inputs, and notes about the whole."""

    name: str
    input_shape: Shape
    nodes: tuple[GraphNode, ...]
    notes: tuple[str, ...] = ()


class ModelError(ConfigError):
    """A model in code whose forward pass failed.

    Args:
        message, remedy: see `CnncliError`.
        graph: the layers that were computed before; None if they are unknown.
    """

    def __init__(self, message: str, *, remedy: str | None = None, graph: Graph | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.graph = graph


def constant_nodes(graph: Graph) -> frozenset[str]:
    """The nodes that do not depend on the input, such as the layers of a positional encoding."""
    names: set[str] = set()
    for node in graph.nodes:
        if names.issuperset(node.inputs):
            names.add(node.name)
    return frozenset(names)


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
            trainable=node.description.params - node.description.frozen,
            macs=node.description.macs,
            buffer_bytes=node.description.buffer_bytes,
            groups=node.description.groups,
            parts=node.description.parts,
            shares_weights=node.reuses is not None,
            skip_from=node.skip_from,
            view=node.description.view,
            notes=node.description.notes,
        )
        for node in network.nodes
    )
    return Graph(name=name, input_shape=network.input_shape, nodes=nodes)
