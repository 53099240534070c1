"""Networks in ONNX files against onnxruntime, and against the numbers of papers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cnncli.capture.graph import graph_of_module
from cnncli.capture.onnx.file import OLDEST, as_tensor, read_file
from cnncli.capture.onnx.network import OnnxNetwork
from cnncli.capture.onnx.node import Node
from cnncli.capture.onnx.probe import Verification, verify_onnx
from cnncli.capture.target import find_graph
from cnncli.errors import ConfigError, UsageError
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable, inspect_graph
from cnncli.windows import Sliding
from tests.onnx_models import LIGHT, make_model, one_node, saved, session_of

SEED = np.random.default_rng(0)


def inspected(model: onnx.ModelProto, folder: Path, shape: tuple[int, ...] | None = None) -> LayerTable:
    return inspect_graph(find_graph(str(saved(model, folder / "net.onnx")), input_shape=shape, kwargs={}))


def random(*shape: int) -> np.ndarray:
    return SEED.standard_normal(shape).astype(np.float32)


LIGHT_NETWORKS = {
    "squeezenet": (1_235_496, 349_151_936),
    "shufflenet": (1_393_320, 124_664_528),
    "inception_v1": (6_998_552, 1_431_556_352),
    "bvlc_alexnet": (60_965_224, 654_560_384),
    "densenet121": (8_062_504, 2_834_161_664),
    "inception_v2": (11_214_888, 2_018_851_840),
    "resnet50": (25_557_032, 4_089_184_256),
    "vgg19": (143_667_240, 19_632_062_464),
    "zfnet512": (87_250_536, 1_481_727_008),
}
QUICK = ("squeezenet", "shufflenet")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LIGHT_NETWORKS]
)
def test_light_networks_have_the_shapes_of_onnxruntime(name: str) -> None:
    """Every row of the networks in the package `onnx`. Parameters and MACs are those of other ports of the networks."""
    path = LIGHT / f"light_{name}.onnx"
    table = inspect_graph(find_graph(str(path), kwargs={}))
    assert not table.unknown
    assert (table.params, table.macs) == LIGHT_NETWORKS[name]
    model = onnx.load(path)
    outputs = {node.name: node.output[0] for node in model.graph.node if node.name}
    names = [outputs[row.name] for row in table]
    session = session_of(model, names)
    stored = {each.name for each in model.graph.initializer}
    feeds = {each.name: random(*each.shape) for each in session.get_inputs() if each.name not in stored}
    shapes = [value.shape[1:] for value in session.run(names, feeds)]
    assert [row.output_shape for row in table] == shapes


def kernel(*shape: int) -> np.ndarray:
    return random(*shape)


IMAGE = (2, 4, 13, 17)
OPERATORS: dict[str, onnx.ModelProto] = {
    "conv": one_node("Conv", IMAGE, kernel(6, 4, 3, 5), kernel(6), strides=[2, 1], dilations=[2, 1], pads=[1, 2, 1, 2]),
    "conv, uneven padding": one_node("Conv", IMAGE, kernel(6, 2, 4, 4), group=2, strides=[2, 3], pads=[0, 1, 2, 3]),
    "conv, SAME_UPPER": one_node("Conv", IMAGE, kernel(6, 4, 4, 3), strides=[2, 3], auto_pad="SAME_UPPER"),
    "conv, SAME_LOWER": one_node("Conv", IMAGE, kernel(6, 4, 4, 3), strides=[3, 2], auto_pad="SAME_LOWER"),
    "conv, VALID": one_node("Conv", IMAGE, kernel(6, 4, 4, 3), strides=[3, 2], auto_pad="VALID"),
    "conv 1d": one_node("Conv", (2, 4, 21), kernel(6, 4, 3), dilations=[3], pads=[2, 0]),
    "conv 3d": one_node("Conv", (2, 2, 6, 7, 8), kernel(3, 2, 2, 3, 3), strides=[1, 2, 2], pads=[0, 1, 1, 1, 1, 0]),
    "conv transpose": one_node("ConvTranspose", IMAGE, kernel(4, 3, 3, 4), kernel(6), group=2, strides=[2, 3]),
    "conv transpose, pads": one_node("ConvTranspose", IMAGE, kernel(4, 3, 3, 4), strides=[2, 3], pads=[1, 0, 0, 2]),
    "conv transpose, output_padding": one_node(
        "ConvTranspose", IMAGE, kernel(4, 3, 3, 3), strides=[3, 2], pads=[1, 1, 1, 1], output_padding=[2, 1]
    ),
    "conv transpose, SAME": one_node("ConvTranspose", IMAGE, kernel(4, 3, 3, 3), strides=[2, 3], auto_pad="SAME_UPPER"),
    "conv transpose, output_shape": one_node(
        "ConvTranspose", IMAGE, kernel(4, 3, 3, 3), strides=[2, 3], output_shape=[27, 51]
    ),
    "conv transpose, dilation": one_node(
        "ConvTranspose", IMAGE, kernel(4, 3, 3, 3), strides=[2, 2], dilations=[2, 3], pads=[1, 3, 1, 3]
    ),
    "max pool": one_node("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool, ceil": one_node("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 4], ceil_mode=1),
    "max pool, uneven padding": one_node("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 2]),
    "max pool, dilation": one_node("MaxPool", IMAGE, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1]),
    "max pool, SAME": one_node("MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    "average pool": one_node("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool, uneven padding": one_node("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 2, 1, 0]),
    "average pool, with padding": one_node(
        "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 2, 1, 0], count_include_pad=1
    ),
    "average pool, dilation": one_node("AveragePool", IMAGE, opset=19, kernel_shape=[3, 3], dilations=[2, 3]),
    "average pool 1d": one_node("AveragePool", (2, 4, 21), kernel_shape=[4], strides=[3], pads=[1, 2]),
    "lp pool": one_node("LpPool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1], p=3),
    "global average pool": one_node("GlobalAveragePool", IMAGE),
    "global max pool": one_node("GlobalMaxPool", (2, 4, 5, 6, 7)),
    "nearest upsampling": one_node("Upsample", IMAGE, np.array([1, 1, 2, 3], np.float32), opset=9),
    "resize, nearest": one_node("Resize", IMAGE, None, np.array([1, 1, 0.6, 1.7], np.float32), mode="nearest"),
    "resize, floor": one_node(
        "Resize",
        IMAGE,
        None,
        None,
        np.array([2, 4, 20, 9]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "resize, linear": one_node("Resize", IMAGE, None, None, np.array([2, 4, 20, 9]), mode="linear"),
    "resize, align corners": one_node(
        "Resize",
        IMAGE,
        None,
        None,
        np.array([2, 4, 25, 9]),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "resize, cubic": one_node("Resize", IMAGE, None, np.array([1, 1, 2, 1.5], np.float32), mode="cubic"),
    "pad": one_node("Pad", IMAGE, np.array([0, 0, 1, 2, 0, 0, 3, -1]), np.array(2, np.float32)),
    "pad, reflect": one_node("Pad", IMAGE, np.array([0, 0, 1, 2, 0, 0, 3, 0]), mode="reflect"),
    "pad, edge": one_node("Pad", IMAGE, np.array([0, 0, 1, 2, 0, 0, 3, 0]), mode="edge"),
    "slice": one_node("Slice", IMAGE, np.array([1, -1]), np.array([11, -99]), np.array([2, 3]), np.array([3, -2])),
    "gather": one_node("Gather", IMAGE, np.array([5, -1, 0, 5]), axis=2),
    "depth to space": one_node("DepthToSpace", (2, 8, 5, 6), blocksize=2),
    "depth to space, CRD": one_node("DepthToSpace", (2, 8, 5, 6), blocksize=2, mode="CRD"),
    "space to depth": make_model(
        [
            helper.make_node("SpaceToDepth", ["x"], ["blocks"], blocksize=2),
            helper.make_node("Conv", ["blocks", "w"], ["y"], pads=[1, 0, 0, 1]),
        ],
        (2, 3, 6, 8),
        {"w": kernel(2, 12, 2, 3)},
    ),
    "LRN": one_node("LRN", IMAGE, size=3, alpha=0.5),
    "instance norm": one_node("InstanceNormalization", IMAGE, kernel(4), kernel(4)),
    "softmax, opset 11": one_node("Softmax", (2, 4, 3, 5), opset=11, axis=2),
    "mean of rows": one_node("ReduceMean", IMAGE, axes=[2], keepdims=0),
    "cumsum": one_node("CumSum", IMAGE, np.array(3), reverse=1),
}


def network_of(model: onnx.ModelProto, folder: Path) -> OnnxNetwork:
    return OnnxNetwork(read_file(saved(model, folder / "net.onnx")), torch.device("cpu"))


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_compute_what_onnxruntime_does(name: str, tmp_path: Path) -> None:
    model = OPERATORS[name]
    images = random(*[each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim])
    [expected] = session_of(model).run(None, {"x": images})
    [actual] = network_of(model, tmp_path)(torch.from_numpy(images))
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def units_that_change(model: onnx.ModelProto, images: np.ndarray, axis: int) -> list[int]:
    """For each unit along an axis of the output, a mask of the positions that change it when they change."""
    session = session_of(model)
    [before] = session.run(None, {"x": images})
    units = before.shape[2 + axis] if before.ndim == images.ndim else 1
    masks = [0] * units
    for position in range(images.shape[2 + axis]):
        for value in (37.0, -41.0, 1e6, -1e6):
            changed = images.copy()
            np.moveaxis(changed, 2 + axis, 0)[position] += value
            [after] = session.run(None, {"x": changed})
            differs = after != before
            flat = np.moveaxis(differs, 2 + axis, 0).reshape(units, -1) if units > 1 else differs.reshape(1, -1)
            for unit in np.flatnonzero(flat.any(1)):
                masks[unit] |= 1 << position
    return masks


WITHOUT_POSITIONS = ("mean of rows",)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in WITHOUT_POSITIONS])
def test_every_unit_reads_the_positions_that_change_it(name: str, tmp_path: Path) -> None:
    """Rows and columns of the image are changed one after the other in onnxruntime."""
    model = OPERATORS[name]
    images = random(*[each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim])
    table = inspected(model, tmp_path)
    assert not table.unknown
    field = table.receptive_fields[table.rows[-1].name]
    assert isinstance(field, ReceptiveFields)
    for axis in range(images.ndim - 2):
        expected = units_that_change(model, images, axis)
        masks = list(field.axes[axis].masks)
        assert masks == expected if len(masks) == len(expected) else {*masks} == {*expected}


def test_rows_have_the_names_of_operators_and_weights_count_once(tmp_path: Path) -> None:
    weight = kernel(4, 4, 3, 3)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], name="/layer1/conv.0/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["r", "c"], ["s"], name="sum"),
        helper.make_node("BatchNormalization", ["s", "g", "g2", "m", "v"], ["n"], name="norm"),
        helper.make_node("GlobalAveragePool", ["n"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "fw"], ["y"], name="head"),
    ]
    vectors = {name: kernel(4) for name in ("b", "g", "g2", "m", "v")}
    model = make_model(nodes, ["batch", 4, "height", "width"], {"w": weight, "fw": kernel(4, 10), **vectors})
    table = inspected(model, tmp_path, (4, 8, 9))
    assert [(row.name, row.type, row.params, row.macs) for row in table] == [
        ("/layer1/conv.0/Conv", "conv", 4 * 4 * 9 + 4, 4 * 4 * 9 * 72),
        ("c", "conv", 0, 4 * 4 * 9 * 72),
        ("sum", "add", 8, 0),
        ("pool", "global_avg_pool", 0, 0),
        ("head", "linear", 40, 40),
    ]
    assert "shares weights" in table["c"].notes[0]
    assert table.memory.weights == 4 * (4 * 4 * 9 + 4 + 8 + 8 + 40)  # with the mean and the variance


def test_shapes_are_computed_from_constants_and_branches_are_taken(tmp_path: Path) -> None:
    """`x.view(x.size(0), -1)` as exporters write it, in a branch that is known, after a loop of two turns."""
    i64 = TensorProto.INT64
    turn = helper.make_graph(
        [
            helper.make_node("Conv", ["carried", "w"], ["next"], name="turn", pads=[1, 1, 1, 1]),
            helper.make_node("Identity", ["on"], ["again"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", i64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [onnx.ValueInfoProto(name="again"), onnx.ValueInfoProto(name="next")],
    )
    flat = helper.make_graph(
        [helper.make_node("Reshape", ["maps", "to"], ["flat"], name="view")],
        "then",
        [],
        [onnx.ValueInfoProto(name="flat")],
    )
    same = helper.make_graph(
        [helper.make_node("Identity", ["maps"], ["same"])], "else", [], [onnx.ValueInfoProto(name="same")]
    )
    nodes = [
        helper.make_node("Loop", ["two", "", "x"], ["maps"], name="loop", body=turn),
        helper.make_node("Shape", ["maps"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Equal", ["zero", "zero"], ["yes"]),
        helper.make_node("If", ["yes"], ["flat_or_not"], then_branch=flat, else_branch=same),
        helper.make_node("MatMul", ["flat_or_not", "fw"], ["y"], name="head"),
    ]
    constants = {"two": np.array(2), "zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}
    model = make_model(nodes, ["n", 2, 5, 6], {**constants, "w": kernel(2, 2, 3, 3), "fw": kernel(60, 3)})
    table = inspected(model, tmp_path)
    assert [(row.name, row.type, row.output_shape, row.params) for row in table] == [
        ("turn", "conv", (2, 5, 6), 36),
        ("turn#2", "conv", (2, 5, 6), 0),
        ("view", "flatten", (60,), 0),
        ("head", "linear", (3,), 180),
    ]
    field = table["turn#2"].receptive_field
    assert field is not None
    assert field.size == (5, 5)
    [result] = session_of(model).run(None, {"x": random(2, 2, 5, 6)})
    assert result.shape == (2, 3)


def test_an_unknown_operator_is_null_and_named(tmp_path: Path) -> None:
    """What comes before is known, what follows depends on it; shapes that the file states are used."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Wavelet", ["a", "k"], ["b"], name="mine", domain="my.ops"),
        helper.make_node("Relu", ["b"], ["y"], name="relu"),
    ]
    model = make_model(nodes, ["n", 1, 8, 8], {"w": kernel(2, 1, 3, 3), "k": kernel(5)})
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    table = inspected(model, tmp_path)
    conv, mine, relu = table
    assert conv.unknown is None
    assert (mine.type, mine.output_shape, mine.macs, mine.params) == ("my.ops::Wavelet", None, None, 5)
    assert mine.unknown == "mine: the operator my.ops::Wavelet of ONNX is not supported"
    assert relu.unknown is not None
    assert relu.output_shape is None
    model.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 7, 4, 4]))
    assert inspected(model, tmp_path)["mine"].output_shape == (7, 4, 4)


def refused(path: Path, error: type[Exception], **options: Any) -> str:
    with pytest.raises(error) as caught:
        find_graph(str(path), kwargs={}, **options)
    assert caught.value.remedy  # type: ignore[attr-defined]  # of every error of cnncli
    return str(caught.value)


def test_errors_of_files(tmp_path: Path) -> None:
    path = saved(OPERATORS["conv"], tmp_path / "net.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "is a damaged ONNX file" in refused(path, ConfigError)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "is only a pointer to a file in Git LFS" in refused(path, ConfigError)
    path.write_bytes(b"")
    assert "has no operators" in refused(path, ConfigError)
    path.write_bytes(b"\x08\x0a\x12\x01a")
    assert "has no operators" in refused(path, ConfigError)
    saved(one_node("Relu", IMAGE, opset=6), path)
    assert "uses version 6 of ONNX's operators; 7 is the oldest" in refused(path, ConfigError)
    saved(make_model([helper.make_node("Relu", ["z"], ["y"], name="r")], IMAGE), path)
    assert "the operator r reads z, which is not computed before it" in refused(path, ConfigError)
    damaged = one_node("Conv", IMAGE, kernel(6, 4, 3, 3))
    damaged.graph.initializer[0].dims[0] = -3
    assert "the tensor t0 of the ONNX file has the shape" in refused(saved(damaged, path), ConfigError)


def test_errors_of_shapes(tmp_path: Path) -> None:
    path = saved(one_node("Conv", ["n", 4, "h", "w"], kernel(6, 4, 3, 3)), tmp_path / "net.onnx")
    assert "takes inputs of 4xhxw: some sizes are not in the file" in refused(path, UsageError)
    assert "takes inputs of 4xhxw, not 3x8x8" in refused(path, UsageError, input_shape=(3, 8, 8))
    assert find_graph(str(path), kwargs={}, input_shape=(9,)).input_shape == (4, 9, 9)
    assert find_graph(str(path), kwargs={}, input_shape=(1, 4, 8, 9)).input_shape == (4, 8, 9)
    message = refused(path, ConfigError, input_shape=(4, 2, 2))
    assert "does not run on an input of 4x2x2" in message
    assert "a kernel of 3 does not fit into 2 positions" in message


def test_weights_in_another_file(tmp_path: Path) -> None:
    """They are not read for the table; one whose numbers are needed has to be there, and nowhere else."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Reshape", ["a", "to"], ["y"], name="view"),
    ]
    model = make_model(nodes, [2, 1, 8, 8], {"w": kernel(2, 1, 3, 3), "to": np.array([2, -1])})
    path = tmp_path / "net.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0, convert_attribute=False
    )
    assert find_graph(str(path), kwargs={}).nodes[-1].shape == (72,)
    (tmp_path / "weights.bin").rename(tmp_path / "other.bin")
    message = refused(path, ConfigError)
    assert "the tensor to is stored in the file weights.bin beside the network, which cannot be read" in message
    outside = onnx.load(path, load_external_data=False)
    for tensor in outside.graph.initializer:
        next(each for each in tensor.external_data if each.key == "location").value = "../weights.bin"
    (tmp_path.parent / "weights.bin").write_bytes(bytes(1000))
    assert "cannot be read" in refused(saved(outside, path), ConfigError)


def test_constants_are_not_computed_if_they_are_huge(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["big"], value=numpy_helper.from_array(np.array([1], np.int64))),
        helper.make_node("Cast", ["big"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "ones"], ["y"], name="mul"),
    ]
    model = make_model(nodes, ["n", 1, 8, 8], {"size": np.array([1 << 40])})
    table = inspected(model, tmp_path)
    assert table["mul"].unknown is not None


def test_channels_may_be_last(tmp_path: Path) -> None:
    """As TensorFlow's exporter writes networks; shapes and `--input` are channels first."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "w"], ["maps"], name="conv", strides=[2, 1], auto_pad="SAME_UPPER"),
        helper.make_node("Transpose", ["maps"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["last"], ["y"], name="mean", axes=[1, 2], keepdims=0),
    ]
    model = make_model(nodes, ["n", "h", "w", 3], {"w": kernel(4, 3, 3, 3)})
    for shape in ((3, 8, 11), (8, 11, 3)):
        table = inspected(model, tmp_path, shape)
        assert [(row.name, row.output_shape) for row in table] == [("conv", (4, 4, 11)), ("mean", (4,))]
        assert table.input_shape == (3, 8, 11)
    verification = verify_onnx(
        tmp_path / "net.onnx", find_graph(str(tmp_path / "net.onnx"), input_shape=shape, kwargs={})
    )
    assert (verification.mismatches, verification.skipped) == ([], frozenset())


def probed() -> onnx.ModelProto:
    """What onnxruntime computes with comparisons, or with weights of 0, among other layers."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="c1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "g", "s", "m", "v"], ["n1"], name="n1"),
        helper.make_node("Relu", ["n1"], ["r1"], name="r1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="p1", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
        helper.make_node("Resize", ["p1", "", "scales"], ["u1"], name="u1", mode="linear"),
        helper.make_node("Add", ["u1", "r1"], ["s1"], name="s1"),
        helper.make_node("ConvTranspose", ["s1", "w2"], ["c2"], name="c2", strides=[2, 1]),
        helper.make_node("GlobalMaxPool", ["c2"], ["gate"], name="gate"),
        helper.make_node("Sigmoid", ["gate"], ["gates"], name="sigmoid"),
        helper.make_node("Mul", ["c2", "gates"], ["c3"], name="scaled"),
        helper.make_node("Flatten", ["c3"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w3"], ["y"], name="head", transB=1),
    ]
    vectors = {name: np.abs(kernel(2)) for name in ("b1", "g", "s", "m", "v")}
    weights = {"w1": kernel(2, 1, 3, 3), "w2": kernel(2, 2, 3, 3), "w3": kernel(5, 2 * 17 * 11)}
    return make_model(nodes, ["n", 1, 8, 9], {**vectors, **weights, "scales": np.array([1, 1, 2, 1.8], np.float32)})


def test_verification_by_onnxruntime(tmp_path: Path) -> None:
    path = saved(probed(), tmp_path / "net.onnx")
    graph = find_graph(str(path), kwargs={})
    verification = verify_onnx(path, graph)
    assert verification == Verification([], frozenset(), frozenset())


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("c1", {"reads": (Sliding(kernel=3, before=1, after=1), Sliding(kernel=1))}, "receptive field"),
        ("u1", {"shape": (2, 8, 8)}, "shape"),
        ("c2", {"params": 35}, "params"),
        ("head", {"macs": 1}, "MACs"),
    ],
)
def test_verification_finds_wrong_rows(name: str, changes: dict[str, object], expected: str, tmp_path: Path) -> None:
    path = saved(probed(), tmp_path / "net.onnx")
    graph = find_graph(str(path), kwargs={})
    nodes = tuple(replace(node, **changes) if node.name == name else node for node in graph.nodes)  # type: ignore[arg-type]
    verification = verify_onnx(path, replace(graph, nodes=nodes))
    assert expected in {mismatch.what for mismatch in verification.mismatches}


def test_what_loses_nan_is_verified_in_part(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("ThresholdedRelu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w"], ["y"], name="conv2"),
    ]
    path = saved(make_model(nodes, [1, 1, 8, 8], {"w": kernel(1, 1, 3, 3)}), tmp_path / "net.onnx")
    verification = verify_onnx(path, find_graph(str(path), kwargs={}))
    assert verification == Verification([], frozenset({"conv", "conv2"}), frozenset())


MODELS = (
    "alexnet", "vgg11_bn", "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121",
    "googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small",
    "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_v2_s",
    "regnet_y_400mf", "regnet_x_800mf", "convnext_tiny", "vit_b_16", "maxvit_t",
)  # fmt: skip


def costs(table: LayerTable) -> list[tuple[object, ...]]:
    """What rows cost and see, without those of a view; exporters split norms' axes and pools in other ways."""
    return [
        (row.params, row.macs, row.receptive_field)
        for row in table
        if row.params or row.macs or row.type in ("max_pool", "add")
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_torchvision_exported_and_read_back(name: str, tmp_path: Path) -> None:
    """Every layer with parameters or MACs, every sum and max pool: as torch's own rows."""
    from torchvision import models

    kwargs = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = models.get_model(name, weights=None, **kwargs).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():  # the exporter merges tensors of the same numbers
        parameter.data.uniform_(-0.1, 0.1, generator=generator)
    for key, buffer in module.named_buffers():
        if "running" in key:
            buffer.uniform_(0.5, 1, generator=generator)
    size = 299 if name == "inception_v3" else 224
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, size, size),),
        path,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # norms stay norms
        do_constant_folding=False,
        dynamic_axes={"x": {0: "batch"}},
        input_names=["x"],
        opset_version=17,
    )
    expected = inspect_graph(graph_of_module(module, (3, size, size), name))
    table = inspect_graph(find_graph(str(path), kwargs={}))
    assert not table.unknown
    assert (table.params, table.macs) == (expected.params, expected.macs)
    assert costs(table) == costs(expected)
    shapes = [sorted(row.output_shape or ()) for row in table if row.type == "conv"]
    assert shapes == [sorted(row.output_shape or ()) for row in expected if row.type == "conv"]


UNCOMPUTED = frozenset({
    # Random, or of text, images in files, trees, training, or the order of regions.
    "Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike", "ImageDecoder", "NonMaxSuppression",
    "RoiAlign", "MaxUnpool", "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer",
    "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss",
    # Not followed.
    "NonZero", "Unique", "OneHot", "GatherND", "ScatterElements", "Scatter", "TensorScatter", "ReverseSequence", "STFT",
    "MelWeightMatrix", "BitCast", "Optional", "OptionalGetElement", "OptionalHasElement",
})  # fmt: skip
DIFFER = frozenset({
    # Types that torch lacks, ties, and indices of other kinds.
    "Cast", "CastLike", "QuantizeLinear", "TopK", "ArgMax", "ArgMin", "BitwiseNot", "LpNormalization", "MaxPool",
})  # fmt: skip
NUMBERS_DIFFER = (
    # bfloat16, rows without any key, statistics in training, sequences that end early, reductions of nothing.
    "bf16", "robustness", "fullymasked", "softmax_precision", "training_mode", "seq_length", "empty_set",
    # onnxruntime rounds sizes, and fills in constants, that ONNX's own reference does not.
    "align_corners", "extrapolation_value",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_compute_what_the_cases_of_onnx_say(tmp_path: Path) -> None:
    """The node models in the package `onnx`, one operator each: computed, or the reason says that it is not."""
    from onnx.backend.test.case.node import collect_testcases

    counted = {"equal": 0, "unknown": 0}
    for case in collect_testcases(None):
        model = case.model
        if model is None or len(model.graph.node) != 1:
            continue
        [proto] = model.graph.node
        version = model.opset_import[0].version
        if proto.op_type in UNCOMPUTED | DIFFER or proto.domain or version < OLDEST:
            continue
        if any(part in case.name for part in NUMBERS_DIFFER):
            continue
        for inputs, outputs in case.data_sets or ():
            computed = computed_case(model, inputs, tmp_path)
            if computed is None:
                counted["unknown"] += 1
                continue
            for actual, expected in zip(computed, outputs, strict=False):
                np.testing.assert_allclose(
                    actual.detach().to(torch.float64 if not actual.is_complex() else torch.complex128).numpy(),
                    np.asarray(expected).astype(np.float64),
                    rtol=1e-2 if np.asarray(expected).dtype == np.float16 else 1e-3,
                    atol=1e-3,
                    err_msg=case.name,
                )
            counted["equal"] += 1
    assert counted["equal"] > 800
    assert counted["unknown"] < 150


def computed_case(model: onnx.ModelProto, inputs: Sequence[Any], folder: Path) -> list[torch.Tensor] | None:
    """The outputs of a case; None if its operator is unknown for these inputs."""
    network = network_of(model, folder)
    first = next(each for each in network.modules() if isinstance(each, Node))
    given: dict[str, Any] = {}
    for position, (value, array) in enumerate(zip(model.graph.input, inputs, strict=True)):
        if not isinstance(array, np.ndarray) or array.dtype.kind in "OUS":
            return None
        numbers = first.is_number(position) or first.takes_numbers(position) or first.operator in ("Loop", "If")
        given[value.name] = array if numbers else as_tensor(array)
    unknown: list[str] = []

    def note(name: str, _arguments: object, call: Callable[[], Any]) -> Any:
        unknown.append(name)
        return call()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnncli.capture.onnx.node.as_operator", note)
        result = network.compute(given, device=torch.device("cpu"), batch=1)
    return None if unknown else result
