"""The network of an ONNX file as a torch module: its operators run one after the other, each a submodule."""

from __future__ import annotations

import copy
from collections import ChainMap, Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.capture.constants import MASKED
from cnncli.capture.onnx.file import OnnxFile, Stored, as_tensor, dtype_of, subgraphs, text
from cnncli.capture.onnx.node import ROOT_DOMAINS, Node, Output, Unshaped, Value
from cnncli.errors import ConfigError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

_FEW = 8
"""Stored numbers up to this many can be read with others to compute a shape."""
_MAX_RUNS = 100_000
"""Operators that loops may run."""
Values = MutableMapping[str, Value]
"""Names in the file -> values."""


class OnnxNetwork(nn.Module):
    """The network of a file.

    Args:
        file: the file.
        device: of its weights; on `meta` their numbers are not read.

    Attributes:
        file: see above.
        nodes: its operators, those of branches and loops after those of the graph.
        unused: the numbers in stored tensors that nothing reads.

    Raises:
        ConfigError: the file is damaged.
    """

    def __init__(self, file: OnnxFile, device: torch.device) -> None:
        super().__init__()
        self.file = file
        protos = list(_all_nodes(file.graph))
        self.nodes = nn.ModuleList(
            Node(name, proto, _version(file, proto)) for name, proto in zip(_names(protos), protos, strict=True)
        )
        self._by_proto = {id(proto): i for i, proto in enumerate(protos)}
        self._protos = protos  # so that no id is used again
        self._stored = dict(file.stored)
        for graph in _all_graphs(file.graph):
            if graph is not file.graph:
                self._stored |= {each.name: file.read_tensor(each) for each in graph.initializer}
        self._register(device)
        read = {name for proto in protos for name in proto.input} | {each.name for each in file.graph.output}
        self.unused = sum(
            each.numel for name, each in file.stored.items() if name not in read and _is_trained(each)
        )  # fmt: skip

    def _register(self, device: torch.device) -> None:
        """Give every operator the stored tensors that it reads: weights, and statistics."""
        tensors: dict[str, Tensor] = {}
        for node in self._nodes():
            for position, name in enumerate(node.proto.input):
                stored = self._stored.get(name)
                if stored is None or node.is_number(position) or not stored.shape or stored.dtype is None:
                    continue
                if node.is_buffer(position):
                    if name not in tensors:
                        tensors[name] = _statistics(stored, device)
                    buffer = tensors[name]
                    node.register(position, stored, buffer, trained=isinstance(buffer, nn.Parameter))
                elif _is_trained(stored) or node.is_weight(position):
                    if name not in tensors:
                        is_float = stored.dtype.is_floating_point
                        tensors[name] = nn.Parameter(stored.tensor(device), requires_grad=is_float)
                    tensor = tensors[name]
                    node.register(position, stored, tensor, trained=isinstance(tensor, nn.Parameter))

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        copied = OnnxNetwork.__new__(OnnxNetwork)
        nn.Module.__init__(copied)
        for name in ("file", "unused", "_by_proto", "_protos", "_stored", "training"):
            setattr(copied, name, getattr(self, name))  # none of them changes
        copied.nodes = nn.ModuleList(copy.deepcopy(node, memo) for node in self._nodes())
        return copied

    def _nodes(self) -> Iterator[Node]:
        for node in self.nodes:
            assert isinstance(node, Node)
            yield node

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """The network and its operators, under the names that they have in the file."""
        yield prefix, self
        for node in self._nodes():
            yield node.path, node

    def get_submodule(self, target: str) -> nn.Module:
        """An operator by its name in the file."""
        found = next((node for node in self._nodes() if node.path == target), None)
        if found is None:
            raise AttributeError(f"no operator {target}")
        return found

    def forward(self, images: Tensor) -> list[Tensor]:
        """The outputs of the network for a batch of images (N, C, positions ...)."""
        source = self.file.images
        images = images.to(source.dtype)
        given: dict[str, Value] = {source.name: images}
        if self.file.channels_last:
            given = {source.name: images.movedim(1, -1), **dict.fromkeys(self.file.with_channels_first, images)}
        for other in self.file.inputs:
            if other is not source:
                given[other.name] = self._constant_input(other.name, images)
        return self.compute(given, device=images.device, batch=images.shape[0])

    def compute(self, given: Mapping[str, Value], *, device: torch.device, batch: int) -> list[Tensor]:
        """The outputs of the network.

        Args:
            given: its inputs by name.
            device: of tensors.
            batch: the number of images.
        """
        env: Values = {name: _Lazy(stored) for name, stored in self._stored.items()}  # type: ignore[misc]  # read on use
        for node in self._nodes():
            env.update({stored: getattr(node, name) for name, stored in node.reads.items()})
        env.update(given)
        run = _Run(self, device, batch, given.keys())
        run.graph(self.file.graph, env)
        outputs = [run.tensor(env.get(each.name)) for each in self.file.graph.output]
        return [
            each.tensor if isinstance(each, Unshaped) else each
            for each in outputs
            if isinstance(each, Tensor | Unshaped)
        ]

    def _constant_input(self, name: str, images: Tensor) -> Tensor:
        """An input besides the images, as a constant without meaning."""
        other = next(each for each in self.file.inputs if each.name == name)
        unknown = [images.shape[0], *[1] * len(other.shape)]
        sizes = [size if isinstance(size, int) else unknown[i] for i, size in enumerate(other.shape)]
        return torch.zeros(sizes, dtype=other.dtype, device=images.device)

    def node_of(self, proto: NodeProto) -> Node:
        """The module of an operator."""
        node = self.nodes[self._by_proto[id(proto)]]
        assert isinstance(node, Node)
        return node

    def numbers_of(self, name: str) -> np.ndarray | None:
        """The numbers of a stored tensor; None if there is none of that name."""
        stored = self._stored.get(name)
        return None if stored is None else stored.numbers

    def is_stored(self, name: str) -> bool:
        """Whether a name is that of a stored tensor."""
        return name in self._stored

    def is_small(self, name: str) -> bool:
        """Whether a name is that of a stored vector of few numbers."""
        stored = self._stored.get(name)
        return stored is not None and len(stored.shape) == 1 and stored.numel <= _FEW


class _Lazy:
    """A stored tensor whose numbers have not been read."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored


class _Run:
    """One forward pass.

    Args:
        network: the network.
        device: of tensors.
        batch: the number of images.
        given: names of values that are not computed.
    """

    def __init__(self, network: OnnxNetwork, device: torch.device, batch: int, given: Collection[str]) -> None:
        self._network, self._device, self._batch, self._given = network, device, batch, given
        self._runs = 0
        self._said = {each.name: each for each in (*network.file.graph.value_info, *network.file.graph.output)}

    def graph(self, graph: GraphProto, env: Values) -> None:
        """Compute everything in a graph.

        Raises:
            ConfigError: it reads what nothing has computed.
        """
        for proto in graph.node:
            if proto.output and (self._network.is_stored(proto.output[0]) or proto.output[0] in self._given):
                continue  # as a constant that stands for a stored tensor
            missing = next((name for name in proto.input if name and name not in env), None)
            if missing is not None:
                name = self._network.node_of(proto).path
                raise ConfigError(
                    f"the operator {name} reads {missing}, which is not computed before it",
                    remedy="export the file again",
                )
            for name, value in zip(proto.output, self._outputs(proto, env), strict=False):
                if name:
                    env[name] = value

    def _outputs(self, proto: NodeProto, env: Values) -> Sequence[Value]:
        node = self._network.node_of(proto)
        self._runs += 1
        if self._runs > _MAX_RUNS + len(self._network.nodes):
            return self._unknown(node, env, "is in a loop that runs too long to be followed")
        values = [env[name] if name else None for name in proto.input]
        own = proto.domain in ROOT_DOMAINS
        if own and proto.op_type in _FLOW:
            return _FLOW[proto.op_type](self, node, env)
        if own and proto.op_type == "Constant":
            return [self._constant(node)]
        folded = self._folded(node, values)
        if folded is not None:
            return folded
        arguments = [self._argument(node, i, value) for i, value in enumerate(values)]
        result: list[Value] = node(*arguments, outputs=self._said_of(proto))
        return result

    def _constant(self, node: Node) -> Value:
        """The value of a `Constant`."""
        [(name, value)] = node.spec.attributes.items()
        if name == "value":
            stored = self._network.file.read_tensor(value)
            return stored.numbers
        if name.startswith("value_") and name != "value_string":
            kind = np.float32 if "float" in name else np.int64
            return np.array(value, dtype=None if "string" in name else kind)
        return np.array(value)

    def _folded(self, node: Node, values: Sequence[Value]) -> Sequence[Value] | None:
        """The outputs of an operator whose inputs are all known, if they can be computed."""
        if node.operator == "CastLike" and isinstance(values[1], Tensor) and not isinstance(values[0], Tensor):
            return [self._like(values[0], values[1])]
        if node.folding is None:
            return None
        arrays: list[np.ndarray | None] = []
        known = False
        # A vector of few numbers, with another that is known, computes a shape; else it is a parameter.
        shape = any(isinstance(each, np.ndarray) and each.ndim == 1 for each in values)
        for name, value in zip(node.proto.input, values, strict=True):
            if isinstance(value, _Lazy) or (shape and isinstance(value, Tensor) and self._network.is_small(name)):
                arrays.append(self._network.numbers_of(name))
                known |= isinstance(value, _Lazy)
            elif value is None or isinstance(value, np.ndarray):
                arrays.append(value)
                known |= value is not None
            else:
                return None
        return node.folding.compute(arrays) if known else None

    def _like(self, value: Value, like: Tensor) -> Value:
        """Known numbers in the type of a tensor, if NumPy has it."""
        known = value.stored.numbers if isinstance(value, _Lazy) else value
        if not isinstance(known, np.ndarray):
            return known
        kinds = {torch.float16: np.float16, torch.float64: np.float64, torch.bool: np.bool_, torch.int8: np.int8,
                 torch.uint8: np.uint8, torch.int32: np.int32, torch.int64: np.int64}  # fmt: skip
        return known.astype(kinds.get(like.dtype, np.float32))

    def _argument(self, node: Node, position: int, value: Value) -> Value:
        """An input as its operator takes it: numbers, or a tensor on the device of the images."""
        name = node.proto.input[position]
        if node.is_number(position):
            known = self._network.numbers_of(name)
            return known if known is not None else value
        if isinstance(value, _Lazy):
            value = value.stored.numbers
        if isinstance(value, list):
            return [self.tensor(each) for each in value]
        return value if node.takes_numbers(position) else self.tensor(value)

    def tensor(self, value: Value) -> Value:
        """A value with known numbers as a tensor on the device of the images."""
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind in "OUS":
            return None
        tensor = as_tensor(value)
        return tensor if tensor.ndim == 0 and tensor.is_floating_point() else tensor.to(self._device)

    def _said_of(self, proto: NodeProto) -> list[Output]:
        """What the file says about the outputs of an operator."""
        return [self._output(self._said.get(name)) for name in proto.output]

    def _output(self, value: ValueInfoProto | None) -> Output:
        if value is None or not value.type.tensor_type.HasField("shape"):
            return Output(None)
        dtype = dtype_of(value.type.tensor_type.elem_type) or torch.float32
        first = self._network.file.batch_name
        sizes: list[int] = []
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value > 0:
                sizes.append(dim.dim_value)
            elif i == 0 and dim.dim_param and dim.dim_param == first:
                sizes.append(self._batch)
            else:
                return Output(None, dtype)
        return Output(tuple(sizes), dtype)

    def _unknown(self, node: Node, env: Values, reason: str) -> list[Value]:
        values = [env.get(name) for name in node.proto.input]
        inputs = [self.tensor(each) for each in values if not isinstance(each, _Lazy)]
        result: list[Value] = node(*inputs, outputs=self._said_of(node.proto), reason=f"{node.operator} {reason}")
        return result

    def _read(self, env: Values, name: str) -> Value:
        """A value by its name; numbers if they are stored."""
        value = env[name] if name else None
        return value.stored.numbers if isinstance(value, _Lazy) else value

    def _if(self, node: Node, env: Values) -> Sequence[Value]:
        """The branch that is taken; both if that depends on the input, joined number by number."""
        condition = self._read(env, node.proto.input[0])
        branches = [node.spec.get("then_branch"), node.spec.get("else_branch")]
        if isinstance(condition, np.ndarray):
            return self._sub(branches[0 if condition.flatten()[0] else 1], env, {})
        if not isinstance(condition, Tensor):
            return self._unknown(node, env, "has a condition that is unknown")
        both = [self._sub(branch, env, {}) for branch in branches]
        joined: list[Value] = []
        for pair in zip(*both, strict=True):
            yes, no = map(self.tensor, pair)
            if not isinstance(yes, Tensor) or not isinstance(no, Tensor) or yes.shape != no.shape:
                return self._unknown(node, env, "has branches of different shapes, and a condition that is computed")
            joined.append(torch.where(condition.reshape(()), yes, no))
        return joined

    def _sub(self, graph: GraphProto, env: Values, inputs: Values) -> list[Value]:
        """The outputs of a branch, or of one turn of a loop."""
        inner: Values = ChainMap(dict(inputs), env)
        self.graph(graph, inner)
        return [self._read(inner, each.name) for each in graph.output]

    def _loop(self, node: Node, env: Values) -> Sequence[Value]:
        """A loop whose number of turns is known, turn by turn."""
        count, condition, *carried = (self._read(env, name) for name in node.proto.input)
        body: GraphProto = node.spec.get("body")
        turns = int(count.flatten()[0]) if isinstance(count, np.ndarray) else None
        if isinstance(count, Tensor | Unshaped) or isinstance(condition, Tensor | Unshaped):
            return self._unknown(node, env, "runs as often as is computed")
        on = condition is None or bool(condition.flatten()[0])  # type: ignore[union-attr]  # an array
        collected: list[list[Value]] = []
        turn = 0
        while on and (turns is None or turn < turns):
            given = [np.array(turn, dtype=np.int64), np.array(True), *carried]
            names = [each.name for each in body.input]
            again, *results = self._sub(body, env, dict(zip(names, given, strict=False)))
            carried, scanned = results[: len(carried)], results[len(carried) :]
            collected.append(scanned)
            if not isinstance(again, np.ndarray) or self._runs > _MAX_RUNS:
                return self._unknown(node, env, "runs as often as is computed")
            on, turn = bool(again.flatten()[0]), turn + 1
        scans = self._stacked(list(zip(*collected, strict=True)), [0] * len(node.proto.output))
        if len(carried) + len(scans) < sum(1 for each in node.proto.output if each):
            return self._unknown(node, env, "does not run at all")
        return [*carried, *scans]

    def _scan(self, node: Node, env: Values) -> Sequence[Value]:
        """A loop over the positions of an axis, turn by turn."""
        body: GraphProto = node.spec.get("body")
        count = node.spec.get("num_scan_inputs")
        values = [self.tensor(self._read(env, name)) for name in node.proto.input]
        states, scanned = values[: len(values) - count], values[len(values) - count :]
        tensors = [each for each in scanned if isinstance(each, Tensor)]
        if node.spec.version < 9 or len(tensors) < count:
            return self._unknown(node, env, "is not supported in this version")
        outputs = len(node.proto.output) - len(states)
        axes = node.spec.get("scan_input_axes", [0] * count)
        backwards = node.spec.get("scan_input_directions", [0] * count)
        turns = tensors[0].shape[axes[0]]
        collected: list[list[Value]] = []
        for turn in range(turns):
            parts = [
                each.select(axis, turns - 1 - turn if back else turn)
                for each, axis, back in zip(tensors, axes, backwards, strict=True)
            ]
            names = [each.name for each in body.input]
            results = self._sub(body, env, dict(zip(names, [*states, *parts], strict=False)))
            states = results[: len(states)]
            collected.append(results[len(states) :])
            if self._runs > _MAX_RUNS:
                return self._unknown(node, env, "runs too long to be followed")
        columns = [
            column[::-1] if back else column
            for column, back in zip(
                zip(*collected, strict=True), node.spec.get("scan_output_directions", [0] * outputs), strict=True
            )
        ]
        return [*states, *self._stacked(columns, node.spec.get("scan_output_axes", [0] * outputs))]

    def _stacked(self, columns: Sequence[Sequence[Value]], axes: Sequence[int]) -> list[Value]:
        """What each turn of a loop has returned, along a new axis."""
        result: list[Value] = []
        for column, axis in zip(columns, axes, strict=False):
            tensors = [self.tensor(each) for each in column]
            lost = next((each for each in tensors if not isinstance(each, Tensor)), None)
            if isinstance(lost, Unshaped):
                result.append(lost)
            else:
                result.append(torch.stack([each for each in tensors if isinstance(each, Tensor)], axis))
        return result


_FLOW = {"If": _Run._if, "Loop": _Run._loop, "Scan": _Run._scan}
"""Operators that run others."""


def _all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and those in its branches and loops."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _all_graphs(inner)


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for each in _all_graphs(graph):
        yield from each.node


def _names(protos: Iterable[NodeProto]) -> list[str]:
    """A name for each operator: its own, or that of its first output, with a number if it occurs twice."""
    counts: Counter[str] = Counter()
    names = []
    for proto in protos:
        name = text(proto.name or next(filter(None, proto.output), proto.op_type))
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def _version(file: OnnxFile, proto: NodeProto) -> int:
    domain = "" if proto.domain in ROOT_DOMAINS else proto.domain
    return file.versions.get(domain, 1)


def _is_trained(stored: Stored) -> bool:
    """Whether a stored tensor counts as a parameter: numbers with an axis that are no mask."""
    if not stored.shape or stored.dtype is None or not stored.dtype.is_floating_point:
        return False
    return not (len(stored.shape) > 1 and _is_mask(stored))


def _is_mask(stored: Stored) -> bool:
    """Whether a tensor hides scores of attention: a square matrix last, of which some numbers are infinite."""
    if stored.shape[-1] != stored.shape[-2] or stored.is_external:
        return False
    return bool((stored.numbers <= MASKED).any())


def _statistics(stored: Stored, device: torch.device) -> Tensor:
    """Statistics, which have numbers where weights have none, unless they are in another file."""
    return stored.tensor(torch.device("cpu") if device.type == "meta" and not stored.is_external else device)
