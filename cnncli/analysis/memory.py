"""Bytes that a network needs: for its weights, for training, and at the worst moment of one inference.

Counted are the tensors that operations make; one in place makes none. Not counted are copies that torch makes inside an
operation (as of the factors of a batched matrix product), the statistics that norms save (two numbers for each channel
or position), and what an allocator rounds up. The mask of a dropout has a byte for each number, as on CUDA; on the CPU
torch uses four.
"""

from dataclasses import dataclass
from math import prod

from cnncli.analysis.graph import Graph, GraphNode

_READ_AGAIN = frozenset({
    "conv", "conv_transpose", "linear", "logits", "matmul", "attention", "mul", "div", "pow", "log", "abs", "norm",
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "max_pool", "avg_pool", "adaptive_avg_pool",
    "adaptive_max_pool", "global_max_pool", "gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid", "hardtanh",
    "leaky_relu", "elu", "prelu", "_prelu_kernel", "glu", "clamp", "clamp_min", "amax", "amin", "var", "std",
})  # fmt: skip
"""Operations whose gradient needs their input."""
_KEPT = frozenset(
    {"relu", "tanh", "sigmoid", "softmax", "exp", "sqrt", "rsqrt", "reciprocal", "attention", "amax", "amin"}
)
"""Operations whose gradient needs their output."""
_NEITHER = frozenset({
    "add", "sub", "rsub", "neg", "scale", "concat", "stack", "flatten", "identity", "dropout", "dropout2d",
    "upsample", "global_avg_pool", "mean", "sum", "pad", "slice", "select", "roll", "flip", "repeat", "unfold",
    "clone", "copy", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
})  # fmt: skip
_INDEXED = frozenset({"max_pool", "adaptive_max_pool", "global_max_pool"})
"""Pools that keep, as 8 bytes each, where they found their output."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes; None where a shape or a number of parameters is not known.

    Attributes:
        batch: images at once.
        weights: parameters, and what is saved with them.
        training: what the backward pass of a batch will read: the input, outputs of layers, and indices of pools.
        inference: the most that is held at once without gradients, each output freed once nothing reads it any more,
            and the indices of a max pool (8 bytes each) once it is done. A program that still has a name for a tensor
            which is not read again holds more.
    """

    batch: int
    weights: int | None
    training: int | None
    inference: int | None


def memory_of(graph: Graph, batch: int) -> Memory:
    """The memory a graph needs for `batch` images at once."""
    weights = None
    if all(node.params is not None for node in graph.nodes):
        weights = sum((node.params or 0) * node.item_bytes + node.buffer_bytes for node in graph.nodes)
    if any(node.shape is None for node in graph.nodes):
        return Memory(batch=batch, weights=weights, training=None, inference=None)
    return Memory(
        batch=batch, weights=weights, training=batch * _kept_bytes(graph), inference=batch * _peak_bytes(graph)
    )


def output_bytes(node: GraphNode) -> int | None:
    """Bytes of a node's output for one image."""
    return None if node.shape is None else prod(node.shape) * node.item_bytes


def _input_bytes(graph: Graph) -> int:
    return prod(graph.input_shape) * (graph.nodes[0].item_bytes if graph.nodes else 4)


def _kept_bytes(graph: Graph) -> int:
    """Bytes that the backward pass of one image reads again."""
    sizes = {"input": _input_bytes(graph)}  # of every tensor, by the node that made it
    kept: set[str] = set()
    memory = {"input": "input"}  # name of an output -> name of the tensor it lies in
    indices = 0
    for node in graph.nodes:
        size = output_bytes(node) or 0
        tensors = [memory[name] for name in node.inputs]
        for number, part in enumerate(node.parts or (node.type,)):
            if part in _READ_AGAIN or not part_is_known(part):
                kept.update(tensors)
            if part in _INDEXED:
                indices += size // node.item_bytes * 8
            if part in ("flatten", "identity"):
                continue
            tensors = [f"{node.name}#{number}"]
            sizes[tensors[0]] = size
            if part in _KEPT or not part_is_known(part):
                kept.update(tensors)
            if part in ("dropout", "dropout2d"):
                indices += size // node.item_bytes  # the mask, a byte each
        memory[node.name] = tensors[0]
    return sum(sizes[tensor] for tensor in kept | {"input"}) + indices


def part_is_known(part: str) -> bool:
    """Whether it is known what its gradient needs; otherwise its input and its output are taken to be kept."""
    return part in _READ_AGAIN or part in _KEPT or part in _NEITHER


def _peak_bytes(graph: Graph) -> int:
    """The most bytes held at once for one image: the input, what is still to be read, and what is being made."""
    memory = {"input": "input"}
    for node in graph.nodes:
        memory[node.name] = memory[node.inputs[0]] if node.view and node.inputs else node.name
    last_use = {memory[name]: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    live = {"input": _input_bytes(graph)}
    peak = live["input"]
    for i, node in enumerate(graph.nodes):
        if not node.view:
            size = output_bytes(node) or 0
            live[node.name] = size
            # While a norm or an activation on the layer works, what it reads is there beside what it makes.
            several = len(node.parts) - sum(node.inplace) > 1
            indices = size // node.item_bytes * 8 if not _INDEXED.isdisjoint(node.parts or (node.type,)) else 0
            peak = max(peak, sum(live.values()) + (size if several else indices))
        for name in {memory[name] for name in node.inputs} - {"input"}:
            if last_use[name] == i:
                live.pop(name, None)
    return peak
