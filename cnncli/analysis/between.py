"""Which units of one layer the units of later layers see."""

from dataclasses import replace

from cnncli.analysis.graph import Graph, GraphNode
from cnncli.analysis.receptive_field import Fields, receptive_fields
from cnncli.spec.layers.base import Unknown
from cnncli.spec.network import INPUT


def fields_on(graph: Graph, layer: str) -> dict[str, Fields | Unknown]:
    """The fields of the nodes that read `layer`, directly or through others, in units of `layer`, by name.

    They are worked out as those in pixels are, on the part of the graph that comes from the layer, with the layer as
    its input. Paths that go around it bring nothing of it.

    Args:
        graph: the network.
        layer: a node with positions, or `input`.
    """
    shapes = {INPUT: graph.input_shape, **{node.name: node.shape for node in graph.nodes}}
    shape = shapes[layer]
    assert shape is not None, f"{layer} has no shape"
    assert len(shape) == len(graph.input_shape), f"{layer} has no positions"
    from_it = {layer}
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        inputs = tuple(name for name in node.inputs if name in from_it)
        if inputs:
            from_it.add(node.name)
            around = (shapes[name] for name in node.inputs if name not in from_it)
            spread = {each[1:] for each in around if each} - {each[1:] for name in inputs if (each := shapes[name])}
            nodes.append(
                replace(
                    node,
                    inputs=tuple(INPUT if name == layer else name for name in inputs),
                    reads=Unknown("it is spread over the positions of another input") if spread else node.reads,
                )
            )
    fields = receptive_fields(Graph(name=graph.name, input_shape=shape, nodes=tuple(nodes)))
    del fields[INPUT]
    return fields
