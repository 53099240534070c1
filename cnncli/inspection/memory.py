"""Bytes that a network needs: for its weights, for training, and at the worst moment of one inference.

Counted are the tensors that operations make; one in place makes none. Not counted are copies that torch makes inside an
operation (as of the factors of a batched matrix product), the statistics that norms save (two numbers for each channel
or position), and what an allocator rounds up. The mask of a dropout has a byte for each number, as on CUDA; on the CPU
torch uses four.
"""

from dataclasses import dataclass
from math import prod

from cnncli.inspection.graph import Graph, GraphNode, Part

_READ_AGAIN = frozenset({
    "conv", "conv_transpose", "linear", "logits", "matmul", "attention", "mul", "div", "pow", "log", "abs", "norm",
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "max_pool", "avg_pool", "adaptive_avg_pool",
    "adaptive_max_pool", "global_max_pool", "gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid", "hardtanh",
    "leaky_relu", "elu", "prelu", "_prelu_kernel", "glu", "clamp", "clamp_min", "amax", "amin", "var", "std",
    *(f"{mode}_pad{n}d" for mode in ("reflection", "replication") for n in (1, 2, 3)),
})  # fmt: skip
"""Operations whose gradient needs their input."""
_KEPT = frozenset(
    {"relu", "tanh", "sigmoid", "softmax", "exp", "sqrt", "rsqrt", "reciprocal", "attention", "amax", "amin"}
)
"""Operations whose gradient needs their output."""
_NEITHER = frozenset({
    "add", "sub", "rsub", "neg", "scale", "concat", "stack", "flatten", "identity", "dropout", "dropout2d",
    "upsample", "global_avg_pool", "mean", "sum", "pad", "constant_pad_nd", "circular_pad",
    "slice", "select", "roll", "flip", "repeat", "unfold",
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
        training: what the backward pass of a batch will read: the input, outputs of layers, and indices of pools. None
            also where an operation is not known, and so what it keeps is not.
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
        weights = sum(_weight_bytes(node) + node.buffer_bytes for node in graph.nodes)
    if any(part.numbers is None for node in graph.nodes for part in _parts(node)):
        return Memory(batch=batch, weights=weights, training=None, inference=None)
    kept = _kept_bytes(graph) if all(map(_is_known, graph.nodes)) else None
    return Memory(
        batch=batch,
        weights=weights,
        training=None if kept is None else batch * kept,
        inference=batch * _peak_bytes(graph),
    )


def _weight_bytes(node: GraphNode) -> int:
    return 4 * (node.params or 0) if node.weight_bytes is None else node.weight_bytes


def output_bytes(node: GraphNode) -> int | None:
    """Bytes of a node's output for one image."""
    return None if node.shape is None else prod(node.shape) * node.item_bytes


def _input_bytes(graph: Graph) -> int:
    return prod(graph.input_shape) * (graph.nodes[0].item_bytes if graph.nodes else 4)


def _parts(node: GraphNode) -> tuple[Part, ...]:
    """The parts of a node, or it itself as one."""
    return node.parts or (Part(node.type, None if node.shape is None else prod(node.shape), node.item_bytes),)


def _bytes(part: Part) -> int:
    """Of its output."""
    assert part.numbers is not None, part
    return part.numbers * part.item_bytes


def _index_bytes(part: Part) -> int:
    """Of the places of a max pool's output."""
    return (part.numbers or 0) * 8 if part.type in _INDEXED else 0


def _kept_bytes(graph: Graph) -> int:
    """Bytes that the backward pass of one image reads again."""
    sizes = {"input": _input_bytes(graph)}  # of every tensor, by the node that made it
    kept: set[str] = set()
    memory = {"input": ["input"]}  # name of an output -> names of the tensors it lies in
    besides = 0
    for node in graph.nodes:
        tensors = [tensor for name in node.inputs for tensor in memory[name]]
        for number, part in enumerate(_parts(node)):
            if part.type in _READ_AGAIN or not part_is_known(part.type):
                kept.update(tensors)
            besides += _index_bytes(part)
            if part.type in ("flatten", "identity"):
                continue
            made = f"{node.name}#{number}"
            tensors = [*tensors, made] if part.aside else [made]
            sizes[made] = _bytes(part)
            if part.type in _KEPT or not part_is_known(part.type):
                kept.add(made)
            if part.type in ("dropout", "dropout2d"):
                besides += part.numbers or 0  # the mask, a byte each
        memory[node.name] = tensors
    return sum(sizes[tensor] for tensor in kept | {"input"}) + besides


def _is_known(node: GraphNode) -> bool:
    """Whether all of a node's operations are known, or at least work number by number or without weights."""
    return node.macs is not None or all(part_is_known(part.type) for part in _parts(node))


def part_is_known(word: str) -> bool:
    """Whether it is known what its gradient needs; otherwise its input and its output are taken to be kept."""
    return word in _READ_AGAIN or word in _KEPT or word in _NEITHER


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
            # While a norm or an activation on the layer works, what it reads is there beside what it makes.
            held, before, made = sum(live.values()), 0, 0
            for part in _parts(node):
                if part.aside:
                    made += 0 if part.inplace else _bytes(part)
                elif not part.inplace:
                    before, made = made, _bytes(part)
                peak = max(peak, held + before + made + _index_bytes(part))
            live[node.name] = made
        for name in {memory[name] for name in node.inputs} - {"input"}:
            if last_use[name] == i:
                live.pop(name, None)
    return peak
