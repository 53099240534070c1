"""ONNX files as targets of `inspect`, `unit`, `pixel` and `diff`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner, Result

import cnncli
from cnncli.cli.app import app
from cnncli.errors import UsageError
from tests.onnx_models import make_model, saved


def lenet() -> onnx.ModelProto:
    """LeNet-5 as in the bundled config, without its activations, with the names that torch's exporter gives."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def conv(name: str, source: str, **options: Any) -> onnx.NodeProto:
        return helper.make_node(
            "Conv", [source, f"{name}.weight", f"{name}.bias"], [name], name=f"/{name}/Conv", **options
        )

    def gemm(name: str, source: str, target: str) -> onnx.NodeProto:
        weights = [f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Gemm", [source, *weights], [target], name=f"/head/{name}/Gemm", transB=1)

    nodes = [
        conv("conv1", "x", pads=[2, 2, 2, 2]),
        helper.make_node("AveragePool", ["conv1"], ["p1"], name="/pool1", kernel_shape=[2, 2], strides=[2, 2]),
        conv("conv2", "p1"),
        helper.make_node("AveragePool", ["conv2"], ["p2"], name="/pool2", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["flat"], name="/flatten"),
        *(gemm("linear1", "flat", "h1"), gemm("linear2", "h1", "h2"), gemm("logits", "h2", "y")),
    ]
    shapes = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "linear1": (120, 400), "linear2": (84, 120)}
    weights = {
        f"{name}.{kind}": zeros(*(shape if kind == "weight" else shape[:1]))
        for name, shape in {**shapes, "logits": (10, 84)}.items()
        for kind in ("weight", "bias")
    }
    return make_model(nodes, ["batch", 1, 28, 28], weights)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(lenet(), tmp_path_factory.mktemp("onnx") / "lenet.onnx")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result


def test_a_file_has_the_numbers_of_its_config(path: Path) -> None:
    expected = {row.type: row for row in cnncli.inspect("lenet5")}
    table = cnncli.inspect(path)
    assert [row.name for row in table][:2] == ["/conv1/Conv", "/pool1"]
    assert (table.params, table.macs) == (61_706, 416_520)
    for row in table:
        config = expected[row.type] if row.name != "/head/logits/Gemm" else expected["logits"]
        if row.name in ("/conv2/Conv", "/pool2", "/head/linear2/Gemm", "/flatten", "/head/logits/Gemm"):
            assert (row.output_shape, row.params, row.macs) == (config.output_shape, config.params, config.macs)
            assert row.receptive_field == config.receptive_field
    text = run("inspect", path).stderr
    assert "permissions" not in text  # nothing in it runs


def test_all_outputs_of_a_file(path: Path) -> None:
    by_module = json.loads(run("inspect", path, "--by", "module", "--json").stdout)["groups"]
    assert [each["name"] for each in by_module] == ["/conv1", "/pool1", "/conv2", "/pool2", "/flatten", "/head"]
    head = json.loads(run("inspect", path, "--depth", "1", "--json").stdout)["layers"][-1]
    assert (head["name"], head["params"]) == ("/head", 61_706 - 156 - 2416)
    assert "rows 0 to 11" in run("unit", path, "/conv2/Conv", "0,0").stdout
    assert "/pool1" in run("pixel", path, "10,0").stdout
    assert "/head" in run("inspect", path, "--latency", "1").stdout


def test_diff_of_a_config_and_a_file(path: Path) -> None:
    differences = json.loads(run("diff", "lenet5", path, "--json").stdout)
    assert {each["status"] for each in differences["changes"]} <= {"changed"}
    assert differences["before"]["totals"]["params"] == differences["after"]["totals"]["params"] == 61_706
    assert "parameters: 61,706, both" in run("diff", "lenet5", path).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "train.epochs=1"], "--set changes a config"),
        (["--kwargs", "{}"], ""),
        (["--kwargs", '{"a": 1}'], "--kwargs gives arguments to a model in code"),
        (["--module", "head"], "--module is for a model in code"),
        (["--input", "3x28x28"], "takes inputs of 1x28x28, not 3x28x28"),
    ],
)
def test_options_that_do_not_apply(path: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["inspect", str(path), *options])
    if message:
        assert isinstance(result.exception, UsageError)
        assert message in str(result.exception)
        assert result.exception.remedy
    else:
        assert result.exit_code == 0


def test_without_the_extra_the_error_names_the_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match="need the package onnx, which is not installed") as caught:
        cnncli.inspect(path)
    assert caught.value.remedy == 'pip install "cnncli[onnx]"'


def test_verify_runs_onnxruntime(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "receptive field of all 8 rows" in run("inspect", path, "--verify").stderr
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    error = CliRunner().invoke(app, ["inspect", str(path), "--verify"]).exception
    assert isinstance(error, UsageError)
    assert error.remedy == 'pip install "cnncli[onnx]"'
