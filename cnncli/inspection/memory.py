"""The memory that a network needs, in bytes: for its weights, for training, and at the peak of one inference.

The tensors that operations allocate are counted; an operation in place allocates none. Not counted are copies inside an
operation (as of the factors of a batched matrix product), the statistics that norms save (two numbers for each channel
or position), and the rounding of the allocator. Some count as on CUDA: the mask of a dropout has one byte per number,
where torch uses four on the CPU; RMS norm saves its input alone, where torch on the CPU also saves the output before
the weight.
"""

from dataclasses import dataclass, replace
from math import prod

from cnncli.inspection.graph import Graph, GraphNode
from cnncli.layers.base import Part, Saved


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes; None where a shape or a number of parameters is unknown.

    Attributes:
        batch: the number of images.
        weights: parameters and buffers.
        training: what autograd saves for the backward pass of a batch: the input, outputs of layers, indices of pools.
            None also where it is unknown what the gradient of an operation needs.
        inference: the peak without gradients. Each output is freed after its last use, and the indices of a max pool
            (8 bytes each) right after it. A program that keeps a reference to a tensor for longer needs more.
    """

    batch: int
    weights: int | None
    training: int | None
    inference: int | None


def memory_of(graph: Graph, batch: int) -> Memory:
    """The memory a graph needs for `batch` images."""
    weights = None
    if all(node.params is not None for node in graph.nodes):
        weights = sum(_weight_bytes(node) + node.buffer_bytes for node in graph.nodes)
    parts = [part for node in graph.nodes for part in _parts(node)]
    if any(part.numbers is None for part in parts):
        return Memory(batch=batch, weights=weights, training=None, inference=None)
    known = all(part.saved is not None for part in parts)
    return Memory(
        batch=batch,
        weights=weights,
        training=batch * _saved_bytes(graph) if known else None,
        inference=batch * _peak_bytes(graph),
    )


@dataclass(frozen=True, kw_only=True)
class QuantizedMemory:
    """Bytes for one image if every number has the same bits, as on tiny devices; None where a shape is unknown.

    Attributes:
        bits: of a number.
        weights: parameters; buffers of norms are merged into them before a network is quantized.
        inference: the most numbers that live at once, in bytes.
    """

    bits: int
    weights: int | None
    inference: int | None


def quantized_memory(graph: Graph, bits: int) -> QuantizedMemory:
    """The memory of one inference with numbers of `bits` bits."""
    params = [node.params for node in graph.nodes]
    weights = None if None in params else -(-sum(each or 0 for each in params) * bits // 8)
    if any(part.numbers is None for node in graph.nodes for part in _parts(node)):
        return QuantizedMemory(bits=bits, weights=weights, inference=None)
    single = tuple(
        replace(
            node,
            item_bytes=1,
            parts=tuple(replace(part, item_bytes=1, index_bytes=0, saved_bytes=0) for part in _parts(node)),
        )
        for node in graph.nodes
    )
    numbers = _peak_bytes(replace(graph, nodes=single))
    return QuantizedMemory(bits=bits, weights=weights, inference=-(-numbers * bits // 8))


def _weight_bytes(node: GraphNode) -> int:
    return 4 * (node.params or 0) if node.weight_bytes is None else node.weight_bytes


def output_bytes(node: GraphNode) -> int | None:
    """Bytes of a node's output for one image."""
    return None if node.shape is None else prod(node.shape) * node.item_bytes


def _input_bytes(graph: Graph) -> int:
    return prod(graph.input_shape) * (graph.nodes[0].item_bytes if graph.nodes else 4)


def _parts(node: GraphNode) -> tuple[Part, ...]:
    """The parts of a node. A node that lists none is a single part whose saved tensors are unknown."""
    if node.parts or node.view:
        return node.parts
    return (Part(node.type, None if node.shape is None else prod(node.shape), None, item_bytes=node.item_bytes),)


def _output_bytes(part: Part) -> int:
    assert part.numbers is not None, part
    return part.numbers * part.item_bytes


def _saved_bytes(graph: Graph) -> int:
    """Bytes that autograd saves for one image."""
    sizes = {"input": _input_bytes(graph)}  # of every tensor, by the part that allocates it
    saved: set[str] = set()
    memory = {"input": ["input"]}  # output -> the tensors that hold it
    extra = 0
    has_gradient = {"input": False}  # output -> whether the backward pass reaches it
    for node in graph.nodes:
        tensors = [tensor for name in node.inputs for tensor in memory[name]]
        reached = any(has_gradient[name] for name in node.inputs)
        for number, part in enumerate(_parts(node)):
            assert part.saved is not None, part
            reached = reached or (_is_trained(node) if part.trained is None else part.trained)
            saves = part.saved if reached else Saved.NOTHING
            if Saved.INPUT in saves:
                saved.update(tensors)
            extra += (part.saved_bytes + part.index_bytes) * reached
            if part.alias:
                continue
            made = f"{node.name}#{number}"
            tensors = [*tensors, made] if part.aside else [made]
            sizes[made] = _output_bytes(part)
            if Saved.OUTPUT in saves:
                saved.add(made)
        memory[node.name] = tensors
        has_gradient[node.name] = reached
    return sum(sizes[tensor] for tensor in saved) + extra


def _is_trained(node: GraphNode) -> bool:
    """Whether training changes a parameter of the node."""
    return (node.params if node.trainable is None else node.trainable) != 0


def _peak_bytes(graph: Graph) -> int:
    """The peak for one image: the input, the outputs that are still to be read, and the output being computed."""
    memory = {"input": "input"}
    for node in graph.nodes:
        memory[node.name] = memory[node.inputs[0]] if node.view and node.inputs else node.name
    last_use = {memory[name]: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    live = {"input": _input_bytes(graph)}
    peak = live["input"]
    for i, node in enumerate(graph.nodes):
        if not node.view:
            # While a norm or an activation of the layer runs, its input and its output both exist.
            held, before, made = sum(live.values()), 0, 0
            for part in _parts(node):
                if part.aside:
                    made += 0 if part.inplace else _output_bytes(part)
                elif not part.inplace:
                    before, made = made, _output_bytes(part)
                peak = max(peak, held + before + made + part.index_bytes)
            live[node.name] = made
        for name in {memory[name] for name in node.inputs} - {"input"}:
            if last_use[name] == i:
                live.pop(name, None)
    return peak
