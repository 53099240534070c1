"""The network of an ONNX file in onnxruntime, compared with its table; torch has no part in what is computed.

NaN is put into one row (or column) of the input, as for modules, and into each weight. Pools that onnxruntime computes
by comparisons, and interpolations with weights of 0, get a copy that finds out which of their units read a NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cnncli.capture.graph import META, Capture
from cnncli.capture.onnx.file import OnnxFile, check_packages, read_file
from cnncli.capture.onnx.graph import capture_file
from cnncli.capture.onnx.network import OnnxNetwork
from cnncli.capture.onnx.node import ROOT_DOMAINS, Node
from cnncli.capture.rows import Row
from cnncli.capture.verify import Mismatch, Output, compare_macs, compare_outputs, compare_parameters
from cnncli.errors import ConfigError
from cnncli.inspection.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_LOSES_NAN = frozenset({
    "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsInf", "IsNaN", "Not", "And",
    "Or", "Xor", "Sign", "Where", "TopK", "Hardmax", "ThresholdedRelu", "Shrink", "QuantizeLinear", "QLinearConv",
    "QLinearMatMul", "ConvInteger", "MatMulInteger", "MaxUnpool", "RoiAlign", "MaxRoiPool", "GridSample", "DeformConv",
    "NonMaxSuppression", "NonZero", "ScatterElements", "OneHot",
})  # fmt: skip
"""Operators behind which NaN may be missing."""
_TWO_COPIES = 9
"""The first version of ONNX's operators in which NaN can be found."""
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_UNCOUNTED = frozenset({
    "Einsum", "LSTM", "GRU", "RNN", "Attention", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
    "DeformConv",
})  # fmt: skip
"""Operators that cost multiply-accumulates besides `_PRODUCTS`."""
_SUFFIX = "__cnncli"


@dataclass(frozen=True)
class Verification:
    """What a comparison has found.

    Attributes:
        mismatches: the differences.
        partial: rows of which only is known that no unit sees more than the table says.
        skipped: rows that were not compared.
    """

    mismatches: list[Mismatch]
    partial: frozenset[str]
    skipped: frozenset[str]


def verify_onnx(path: Path, graph: Graph) -> Verification:
    """Run the network of a file in onnxruntime, and compare every row of its graph with it.

    Args:
        path: of the file.
        graph: of it.

    Raises:
        UsageError: onnxruntime is missing.
        ConfigError: onnxruntime does not run the file.
    """
    check_packages("onnx", "onnxruntime")
    network = OnnxNetwork(read_file(path), META)
    captured, batch = capture_file(network, graph.input_shape)
    values = _values_of(network, captured)
    overreaching = {captured.row_of[number].computed_by.path for number in captured.zeros}
    lossy, beyond = _tainted(network, _LOSES_NAN), _tainted(network, frozenset(), overreaching)
    rows = {row.name: row for row in captured.rows}
    skipped = {name for name in rows if name not in values or values[name] in beyond}
    skipped |= {node.name for node in graph.nodes if node.shape is None}
    partial = {name for name, value in values.items() if value in lossy} - skipped
    session = _Session(network.file, [*dict.fromkeys(values.values())], graph.input_shape)
    compared = {name: value for name, value in values.items() if name not in skipped}

    def run(images: torch.Tensor) -> dict[str, Output]:
        outputs = session.run(images.numpy())
        return {
            name: Output(torch.from_numpy(_is_nan(outputs[value])), rows[name].layout)
            for name, value in compared.items()
        }

    mismatches = [
        *(() if skipped or partial else _parameters(graph, network, session, values, batch or 1)),
        *_macs(graph, network, session, batch or 1),
        *compare_outputs(graph, run, uncertain=frozenset(partial), batch=batch),
    ]
    return Verification(mismatches, frozenset(partial), frozenset(skipped))


def _values_of(network: OnnxNetwork, captured: Capture) -> dict[str, str]:
    """The rows whose output is that of an operator of the graph -> its name in the file."""
    graph_nodes = {network.node_of(proto).path: proto for proto in network.file.graph.node}
    last: dict[tuple[str, int], Row] = {}
    for row in captured.rows:
        last[row.computed_by.path, row.computed_by.part] = row
    values: dict[str, str] = {}
    for (path, part), row in last.items():
        proto = graph_nodes.get(path)
        several = proto is not None and sum(1 for each in proto.output if each) > 1
        if proto is None or (several and proto.op_type not in ("Split", "MaxPool", "Dropout", "BatchNormalization")):
            continue
        values[row.name] = proto.output[part if proto.op_type == "Split" else 0]
    return values


def _tainted(network: OnnxNetwork, operators: frozenset[str], paths: Iterable[str] = ()) -> set[str]:
    """The values computed by some operators, and by all that follow them."""
    paths = set(paths)
    found: set[str] = set()
    old = network.file.versions.get("", 0) < _TWO_COPIES
    for proto in network.file.graph.node:
        own = proto.op_type in operators or (old and proto.op_type == "MaxPool" and operators)
        to_integers = bool(operators) and proto.op_type == "Cast" and not _is_float(proto)
        reads = any(name in found for name in proto.input)
        if own or to_integers or reads or network.node_of(proto).path in paths:
            found.update(filter(None, proto.output))
    return found


def _is_float(cast: NodeProto) -> bool:
    from onnx import TensorProto as T

    to = next((each.i for each in cast.attribute if each.name == "to"), 0)
    return to in (T.FLOAT, T.FLOAT16, T.DOUBLE, T.BFLOAT16)


def _is_nan(value: np.ndarray) -> np.ndarray:
    return np.isnan(value) if value.dtype.kind == "f" else np.zeros(value.shape, dtype=np.bool_)


class _Session:
    """A file in onnxruntime, with some values and all weights as outputs and inputs of their own.

    Args:
        file: the file.
        values: the names of values that are returned.
        shape: of one image.

    Raises:
        ConfigError: onnxruntime does not run it.
    """

    def __init__(self, file: OnnxFile, values: Sequence[str], shape: tuple[int, ...]) -> None:
        self._file, self._shape = file, shape
        self.shapes: dict[str, tuple[int, ...]] = {}
        model = _for_probing(file)
        self._products = [
            name
            for proto in file.graph.node
            if proto.op_type in _PRODUCTS and not proto.domain
            for name in (*proto.input[:2], proto.output[0])
        ]
        computed = {name for proto in file.graph.node for name in proto.output}
        self.outputs = [*dict.fromkeys([*values, *(name for name in self._products if name in computed)])]
        self._session = _session(file, model, self.outputs)
        self.weights = {name: stored for name, stored in file.stored.items() if name in _weights_of(file)}

    def run(self, images: np.ndarray, wrong: str | None = None) -> dict[str, np.ndarray]:
        """The values, for images (N, C, positions ...), and with NaN in place of one of the weights."""
        feeds: dict[str, np.ndarray] = {}
        for each in self._session.get_inputs():
            if each.name == self._file.images.name:
                placed = np.moveaxis(images, 1, -1) if self._file.channels_last else images
                feeds[each.name] = placed.astype(_NUMPY[each.type])
            elif each.name not in self.weights:
                sizes = [
                    size if isinstance(size, int) else (1 if i else len(images)) for i, size in enumerate(each.shape)
                ]
                feeds[each.name] = np.zeros(sizes, dtype=_NUMPY.get(each.type, np.float32))
        if wrong is not None:
            stored = self.weights[wrong]
            feeds[wrong] = np.full(stored.shape, np.nan, dtype=stored.numbers.dtype)
        try:
            found = self._session.run(self.outputs, feeds)
        except Exception as error:  # of C++
            raise _does_not_run(self._file, error) from error
        result = dict(zip(self.outputs, found, strict=True))
        self.shapes = {name: tuple(value.shape) for name, value in (*result.items(), *feeds.items())}
        return result

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value in the last run, or of a stored tensor."""
        stored = self._file.stored.get(name)
        return stored.shape if stored is not None else self.shapes.get(name)


_NUMPY = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_,
}  # fmt: skip


def _session(file: OnnxFile, model: ModelProto, outputs: Sequence[str]) -> Any:
    import onnx
    import onnxruntime

    known = {each.name for each in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of C++
        raise _does_not_run(file, error) from error


def _does_not_run(file: OnnxFile, error: Exception) -> ConfigError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ConfigError(
        f"onnxruntime does not run {file.path}: {reason[:300]}",
        remedy="omit --verify, or update onnxruntime: pip install --upgrade onnxruntime",
    )


def _weights_of(file: OnnxFile) -> set[str]:
    """The stored tensors that can be NaN and that operators compute with."""
    read = {name for proto in file.graph.node for name in proto.input}
    return {
        name
        for name, stored in file.stored.items()
        if name in read and stored.shape and stored.dtype is not None and stored.dtype.is_floating_point
    }


def _for_probing(file: OnnxFile) -> ModelProto:
    """The model with its tensors inside, weights as inputs that have a value, and copies that find NaN."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    graph = model.graph
    model.ir_version = max(model.ir_version, 4)  # since then, initializers need not be inputs
    kinds = {each.name: each.type.tensor_type.elem_type for each in graph.input}
    kind = kinds.get(file.images.name, onnx.TensorProto.FLOAT)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    if kind not in floats:
        kind = onnx.TensorProto.FLOAT
        for each in graph.input:
            if each.name == file.images.name:
                each.type.tensor_type.elem_type = kind
    del graph.initializer[:]
    weights = _weights_of(file)
    for name, stored in file.stored.items():
        graph.initializer.append(numpy_helper.from_array(np.array(stored.numbers), name))
        if name in weights and name not in kinds:
            graph.input.append(
                helper.make_tensor_value_info(name, graph.initializer[-1].data_type, stored.shape)
            )  # fmt: skip
    nodes = [proto for proto in file.graph.node if not (proto.output and proto.output[0] in file.stored)]
    version = file.versions.get("", 0)
    del graph.node[:]
    for proto in nodes:
        own = proto.domain in ROOT_DOMAINS and version >= _TWO_COPIES
        if own and (proto.op_type in ("MaxPool", "GlobalMaxPool") or _interpolates(proto)):
            graph.node.extend(_with_nan(proto, kind))
        else:
            graph.node.append(proto)
    return model


def _interpolates(proto: NodeProto) -> bool:
    mode = next((each.s for each in proto.attribute if each.name == "mode"), b"nearest")
    return proto.op_type in ("Resize", "Upsample") and mode != b"nearest"


def _with_nan(proto: NodeProto, kind: int) -> Iterator[NodeProto]:
    """An operator that gets no NaN, and a copy of it that says where it would have read one."""
    import onnx
    from onnx import helper, numpy_helper

    name = proto.output[0]

    def inner(what: str) -> str:
        return f"{name}{_SUFFIX}{what}"

    zero = numpy_helper.from_array(np.zeros((), helper.tensor_dtype_to_np_dtype(kind)))
    yield helper.make_node("Constant", [], [inner("zero")], value=zero)
    yield helper.make_node("IsNaN", [proto.input[0]], [inner("at")])
    yield helper.make_node("Cast", [inner("at")], [inner("mask")], to=kind)
    yield helper.make_node("Where", [inner("at"), inner("zero"), proto.input[0]], [inner("clean")])
    for source, target in (("clean", "result"), ("mask", "read")):
        copied = onnx.NodeProto()
        copied.CopyFrom(proto)
        copied.input[0], copied.output[0] = inner(source), inner(target)
        copied.name = f"{proto.name}{_SUFFIX}{target}"
        for i in range(1, len(copied.output)):
            if copied.output[i] and target == "read":
                copied.output[i] = inner(f"{target}{i}")
        yield copied
    # The root of a negative number is NaN, that of 0 is 0.
    yield helper.make_node("Mul", [inner("read"), inner("read")], [inner("square")])
    yield helper.make_node("Neg", [inner("square")], [inner("negative")])
    yield helper.make_node("Sqrt", [inner("negative")], [inner("nan")])
    yield helper.make_node("Add", [inner("result"), inner("nan")], [name])


def _parameters(
    graph: Graph,
    network: OnnxNetwork,
    session: _Session,
    values: Mapping[str, str],
    batch: int,
) -> Iterator[Mismatch]:
    """Differences in parameters, which belong to the first row that each of them reaches as NaN."""
    parameters = {
        module.reads[own]: parameter
        for module in network.modules()
        if isinstance(module, Node)
        for own, parameter in module.named_parameters(recurse=False)
    }
    if any(not parameter.is_floating_point() for parameter in parameters.values()):
        return  # integers cannot be NaN
    counted = {node.name: 0 for node in graph.nodes}
    images = np.ones((batch, *graph.input_shape))
    order = [node.name for node in graph.nodes if node.name in values]
    for name, parameter in parameters.items():
        outputs = session.run(images, wrong=name)
        first = next((row for row in order if _is_nan(outputs[values[row]]).any()), None)
        if first is not None:
            counted[first] += parameter.numel()
    yield from compare_parameters(graph, counted)


def _macs(graph: Graph, network: OnnxNetwork, session: _Session, batch: int) -> Iterator[Mismatch]:
    """A difference in the multiply-accumulates of the whole network, counted with the shapes of onnxruntime."""
    if any(proto.op_type in _UNCOUNTED or proto.domain not in ROOT_DOMAINS for proto in network.file.graph.node):
        return
    if any(each.type == each.GRAPH for proto in network.file.graph.node for each in proto.attribute):
        return
    session.run(np.ones((batch, *graph.input_shape)))
    total = 0
    for proto in network.file.graph.node:
        if proto.op_type in _PRODUCTS:
            left, right = (session.shape_of(name) for name in proto.input[:2])
            result = session.shape_of(proto.output[0])
            if left is None or right is None or result is None:
                return
            total += _macs_of(proto, left, right, result)
    yield from compare_macs(graph, total // batch)


def _macs_of(proto: NodeProto, left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]) -> int:
    """Multiply-accumulates of an operator for a batch."""
    match proto.op_type:
        case "Conv":
            return prod(result) * prod(right[1:])
        case "ConvTranspose":
            return prod(left) * prod(right[1:])
        case "Gemm":
            transposed = next((each.i for each in proto.attribute if each.name == "transA"), 0)
            return prod(result) * left[0 if transposed else 1]
    return prod(result) * left[-1]
