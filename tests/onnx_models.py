"""ONNX models made by hand, and what onnxruntime computes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
"""Networks without weights that come with onnx."""
IR_VERSION = 10
"""Of files; onnxruntime reads it."""


def make_model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    tensors: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    dtype: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model from `x` to its outputs."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def one_node(
    operator: str, shape: Sequence[int | str], *tensors: np.ndarray | None, opset: int = 17, **attributes: Any
) -> onnx.ModelProto:
    """A model of one operator `node` of `x` and stored tensors."""
    named = {f"t{i}": each for i, each in enumerate(tensors) if each is not None}
    inputs = ["x", *("" if each is None else f"t{i}" for i, each in enumerate(tensors))]
    node = helper.make_node(operator, inputs, ["y"], name="node", **attributes)
    return make_model([node], shape, named, opset=opset)


def session_of(model: onnx.ModelProto, outputs: Sequence[str] = ()) -> onnxruntime.InferenceSession:
    """A model in onnxruntime as it is written, with more outputs."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {each.name for each in copied.graph.output}
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(copied.SerializeToString(), options, providers=["CPUExecutionProvider"])


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
