"""Exported files, read without cnncli: by onnxruntime, onnx's reference evaluator, torch and safetensors."""

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

import cnncli
from cnncli.config.config import read_config
from cnncli.data.batches import Normalization
from cnncli.data.load import load_dataset
from cnncli.errors import DataError, RunError, UsageError
from cnncli.export import FORMATS, FormatName, export
from cnncli.export.export import Comparison, compare, export_run
from cnncli.export.pixels import PixelModule
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph
from cnncli.module import CnnModule
from cnncli.run import Run, Splits
from tests.networks import network_of, randomize, run_of_model

CHECKOUT = Path(cnncli.__file__).parents[1]
NAMES = (
    "model.layers.1.avg_pool.name=images",
    "model.layers.3.avg_pool.name=linear",
    "model.layers.4={flatten: {name: logits}}",
)
"""Layers called like the input, the output and a tensor of the graph."""
CLASSES = ("cat", "dög", 'the "other" one', *"defghij")
NORMALIZATION = Normalization(mean=(0.1 + 0.2,), std=(1 / 3,))
"""Numbers that neither float32 nor a short decimal holds."""
EXPORTS: list[tuple[FormatName, bool]] = [
    ("onnx", False), ("onnx", True), ("torch", False), ("safetensors", False)
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet-5 with random weights, and 30 random test images."""
    path = tmp_path_factory.mktemp("run")
    config = read_config("lenet5", data_dir=path, assignments=NAMES)
    generator = torch.Generator().manual_seed(0)
    model = randomize(CnnModule(config.network), generator)
    images = torch.randint(256, (30, *config.network.input_shape), dtype=torch.uint8, generator=generator)
    made = run_of_model(model, images, torch.arange(30) % 10, path=path, classes=CLASSES, normalization=NORMALIZATION)
    return replace(made, config=config)


@dataclass(frozen=True)
class File:
    """A file as another program reads it: its metadata, and the logits (N, K) of its inputs (N, C, H, W)."""

    path: Path
    metadata: dict[str, str]
    logits: Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def files(run: Run) -> dict[tuple[FormatName, bool], File]:
    """Format and whether it normalizes -> file."""
    written = {}
    for name, with_preprocessing in EXPORTS:
        out = run.path / f"{name}-{with_preprocessing}{FORMATS[name].suffix}"
        export = export_run(run, name, out=out, with_preprocessing=with_preprocessing)
        assert export.path == out
        assert export.comparison.same_predictions == export.comparison.images == 30
        written[name, with_preprocessing] = READERS[name](out)
    return written


def read_onnx(path: Path) -> File:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return File(
        path,
        session.get_modelmeta().custom_metadata_map,
        lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]),
    )


def read_torch(path: Path) -> File:
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if "/extra/" in name]
        metadata = {Path(name).name: archive.read(name).decode() for name in inside}
    return File(path, metadata, torch.export.load(path).module())


def read_safetensors(path: Path) -> File:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    (path.parent / "from-metadata.yaml").write_text(metadata["config"], encoding="utf-8")
    config = read_config(str(path.parent / "from-metadata.yaml"), data_dir=path.parent)
    module = CnnModule(config.network).eval()
    module.load_state_dict(safetensors.torch.load_file(path))
    return File(path, metadata, module)


READERS: dict[FormatName, Callable[[Path], File]] = {
    "onnx": read_onnx,
    "torch": read_torch,
    "safetensors": read_safetensors,
}


def normalized(pixels: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(each, dtype=torch.float64).view(-1, 1, 1) for each in (NORMALIZATION.mean, NORMALIZATION.std)
    )
    return ((pixels.double() / 255 - mean) / std).float()


@pytest.mark.parametrize("which", EXPORTS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_logits(
    run: Run, files: dict[tuple[FormatName, bool], File], which: tuple[FormatName, bool], count: int
) -> None:
    """Those of the model in double precision, for batches of any size."""
    pixels = run.test.images[:count]
    logits = files[which].logits(pixels if which[1] else normalized(pixels))
    expected = double_precision(run.model)(normalized(pixels).double())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=2e-5)


@torch.no_grad()
def double_precision(model: CnnModule) -> CnnModule:
    copy = CnnModule(model.network).double().eval().requires_grad_(False)
    copy.load_state_dict(model.state_dict())
    return copy


@pytest.mark.parametrize("which", [each for each in EXPORTS if each[0] == "onnx"])
def test_onnx_is_valid_and_its_reference_agrees(
    run: Run, files: dict[tuple[FormatName, bool], File], which: tuple[FormatName, bool]
) -> None:
    model = onnx.load(files[which].path)
    onnx.checker.check_model(model, full_check=True)
    pixels = run.test.images[:3]
    images = pixels if which[1] else normalized(pixels)
    (logits,) = onnx.reference.ReferenceEvaluator(model).run(None, {"images": images.numpy()})
    np.testing.assert_allclose(np.asarray(logits), run.model(normalized(pixels)).detach().numpy(), rtol=1e-4, atol=1e-4)
    (image,) = model.graph.input
    kind = onnx.TensorProto.UINT8 if which[1] else onnx.TensorProto.FLOAT
    assert image.type.tensor_type.elem_type == kind
    assert [each.dim_param or each.dim_value for each in image.type.tensor_type.shape.dim] == ["batch", 1, 28, 28]


def test_onnx_is_inspected_like_the_run(run: Run, files: dict[tuple[FormatName, bool], File]) -> None:
    """Layers with parameters, and pools: their costs and receptive fields, after the normalization as without it."""
    expected = [row for row in run.table if row.params or "pool" in row.type]
    for with_preprocessing in (False, True):
        table = cnncli.inspect(files["onnx", with_preprocessing].path)
        own = [row for row in table if not row.name.startswith("preprocessing/")]
        rows = [row for row in own if row.params or "pool" in row.type]
        assert [(row.params, row.macs, row.output_shape, row.receptive_field) for row in rows] == [
            (row.params, row.macs, row.output_shape, row.receptive_field) for row in expected
        ]


def test_onnx_has_the_names_of_the_layers(run: Run, files: dict[tuple[FormatName, bool], File]) -> None:
    """Operators, outputs of layers and weights; where a name is taken, the output has another."""
    graph = onnx.load(files["onnx", True].path).graph
    assert [node.name for node in graph.node] == [
        *("preprocessing/Cast", "preprocessing/Mul", "preprocessing/Add"),
        *("conv1.conv/Conv", "conv1.activation/Tanh", "images/AveragePool"),
        *("conv2.conv/Conv", "conv2.activation/Tanh", "linear/AveragePool", "logits/Reshape"),
        *("linear1.linear/Gemm", "linear1.activation/Tanh", "linear2.linear/Gemm", "linear2.activation/Tanh"),
        "logits1/Gemm",
    ]
    outputs = [name for node in graph.node for name in node.output]
    layers = {node.name for node in run.network.nodes}
    assert layers - set(outputs) == {"images", "logits1"}
    assert outputs[-1] == "logits"
    assert len({*outputs, "images"}) == len(outputs) + 1
    weights = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weights[name], weight)


@pytest.mark.parametrize("which", EXPORTS)
def test_metadata(run: Run, files: dict[tuple[FormatName, bool], File], which: tuple[FormatName, bool]) -> None:
    """All that is needed to use the network, with every digit of the normalization."""
    metadata = files[which].metadata
    assert metadata.keys() == {"cnncli", "name", "epoch", "input", "preprocessing", "config"}
    preprocessing = json.loads(metadata["preprocessing"])
    assert tuple(preprocessing["classes"]) == CLASSES
    assert (tuple(preprocessing["mean"]), tuple(preprocessing["std"])) == (NORMALIZATION.mean, NORMALIZATION.std)
    assert (preprocessing["channels"], preprocessing["size"]) == (1, [28, 28])
    assert metadata["input"] == ("pixels" if which[1] else "normalized")
    assert (metadata["cnncli"], metadata["name"], metadata["epoch"]) == (cnncli.__version__, "lenet5", "1")
    assert metadata["config"] == run.config.resolved()


@pytest.mark.parametrize("which", EXPORTS)
def test_nothing_in_a_file_tells_where_it_was_written(
    files: dict[tuple[FormatName, bool], File], which: tuple[FormatName, bool]
) -> None:
    path = files[which].path
    contents = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist()]
    for folder in (Path(cnncli.__file__).parents[1], Path(torch.__file__).parents[1], path.parent):
        assert not any(str(folder).encode() in content for content in contents)


@pytest.mark.slow
def test_maps_with_channels_last_are_read_back_from_onnx(tmp_path: Path) -> None:
    """The file does not imitate their strides; its rows add up to those of the config."""
    layers = "[{conv: 4}, layer_norm, {self_attention: 2}, rms_norm, glu, global_avg_pool, logits]"
    network = network_of(layers.replace("conv: 4", "conv: {out_channels: 4, kernel_size: 3}"), (1, 8, 8), 3)
    module = CnnModule(network, portable=True).eval().requires_grad_(False)
    path = tmp_path / "file.onnx"
    path.write_bytes(FORMATS["onnx"].content(module, torch.zeros(2, 1, 8, 8), {}))
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "ReduceMean" in operators
    assert not operators & {"Gather", "Range"}
    table, expected = cnncli.inspect(path), inspect_graph(graph_of(network, "test"))
    assert table.macs == expected.macs
    assert table["logits1/Gemm"].output_shape == (3,)


def test_torch_with_preprocessing(run: Run, tmp_path: Path) -> None:
    export = export_run(run, "torch", out=tmp_path / "net.pt2", with_preprocessing=True)
    assert export.comparison.largest_difference <= 1e-6 * export.comparison.largest_logit
    pixels = run.test.images[:5]
    logits = torch.export.load(export.path).module()(pixels)
    torch.testing.assert_close(logits, run.model(normalized(pixels)), rtol=1e-5, atol=2e-5)


def test_each_channel_is_normalized_by_its_own_mean_and_deviation() -> None:
    network = network_of("[flatten, logits]", (3, 4, 5))
    normalization = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    module, other = PixelModule(network, normalization), CnnModule(network)
    other.load_state_dict(module.state_dict())
    pixels = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    channels = [(pixels[:, i] / 255 - (0.1, 0.2, 0.3)[i]) / (0.4, 0.5, 0.6)[i] for i in range(3)]
    torch.testing.assert_close(module(pixels), other(torch.stack(channels, dim=1)))


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("config", sorted(path.stem for path in (CHECKOUT / "configs").glob("*.yaml")))
def test_bundled_configs_on_all_test_images(config: str, real_data_dir: Path, tmp_path: Path) -> None:
    """Trained on the embedded digits, which is short; compared on all 10,000 test images of their data set."""
    overrides = {"data.name": "digits", "log.images": 0}
    run = cnncli.train(config, epochs=1, out=tmp_path, overrides=overrides)
    data = read_config(config, data_dir=real_data_dir).data
    test = load_dataset(data, data_dir=real_data_dir).test
    run = replace(run, load_splits=lambda download: {"test": (test, None)})
    for name, with_preprocessing in [*EXPORTS, ("torch", True)]:
        out = tmp_path / f"net{FORMATS[name].suffix}"
        comparison = export_run(run, name, out=out, with_preprocessing=with_preprocessing, images=len(test)).comparison
        print(config, name, with_preprocessing, comparison)  # noqa: T201  the figures, with -s
        assert comparison.same_predictions == comparison.images == (359 if data.name == "digits" else 10_000)
        assert comparison.largest_difference <= 1e-5 * comparison.largest_logit


# docs/export.md

PAGE = (CHECKOUT / "docs/export.md").read_text(encoding="utf-8")
EXAMPLES: list[tuple[tuple[FormatName, bool], str]] = [
    (("onnx", True), "lenet5.onnx"), (("torch", False), "lenet5.pt2"), (("safetensors", False), "lenet5.safetensors")
]  # fmt: skip


@pytest.mark.parametrize(("which", "name"), EXAMPLES)
def test_examples_predict_without_cnncli(
    run: Run,
    files: dict[tuple[FormatName, bool], File],
    which: tuple[FormatName, bool],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copyfile(files[which].path, tmp_path / name)
    pixels = run.test.images[7]
    Image.fromarray(pixels[0].numpy()).save(tmp_path / "seven.png")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if name in block)
    assert "import cnncli" not in example
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    expected = run.model(normalized(pixels)[None])
    torch.testing.assert_close(torch.as_tensor(namespace["logits"]), expected, rtol=1e-4, atol=1e-4)
    assert capsys.readouterr().out == f"{CLASSES[int(expected.argmax())]}\n"


def test_the_page_names_all_keys(run: Run, files: dict[tuple[FormatName, bool], File]) -> None:
    _, _, described = PAGE.partition("## Metadata")
    listed = re.findall(r"^\| `(\w+)` \|", described.partition("## ONNX")[0], re.MULTILINE)
    assert set(listed) == set(files["safetensors", False].metadata)


# What goes wrong


def test_an_operator_that_onnx_lacks_is_named() -> None:
    example = torch.zeros(2, 1, 11, 9)
    with pytest.raises(RunError, match="adaptive_max_pool2d") as raised:
        FORMATS["onnx"].content(torch.nn.AdaptiveMaxPool2d(3).eval(), example, {})
    assert "\x1b" not in raised.value.message
    assert "--format torch" in str(raised.value.remedy)


def test_a_file_that_computes_something_else_is_not_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of an earlier export stays."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"earlier")
    right = FORMATS["safetensors"]
    write = right.content

    def wrong(module: torch.nn.Module, *others: object) -> bytes:
        with torch.no_grad():
            module.get_parameter("logits1.bias")[0] += 0.01
        return write(module, *others)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(type(right), "content", staticmethod(wrong))
    with pytest.raises(RunError, match=r"the largest difference is 0\.01"):
        export_run(run, "safetensors", out=path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"earlier"]


@pytest.mark.parametrize(
    ("difference", "largest_logit", "agrees"),
    [
        (0.0, 0.0, True),
        (9e-5, 0.5, True),
        (2e-4, 0.5, False),
        (2e-3, 30.0, True),
        (4e-3, 30.0, False),
        (float("nan"), 1.0, False),
        (float("nan"), float("nan"), False),
        (float("inf"), 1.0, False),
    ],
)
def test_differences_of_rounding(difference: float, largest_logit: float, agrees: bool) -> None:
    comparison = Comparison(
        runtime="",
        source="test",
        images=1,
        same_predictions=1,
        largest_difference=difference,
        largest_logit=largest_logit,
    )
    assert comparison.agrees == agrees


def test_logits_that_are_not_finite_are_not_exported(run: Run, tmp_path: Path) -> None:
    broken = CnnModule(run.network).eval()
    broken.load_state_dict(run.model.state_dict())
    with torch.no_grad():
        broken.get_parameter("logits1.bias")[:] = float("nan")
    with pytest.raises(RunError, match="nan"):
        export_run(replace(run, model=broken), "safetensors", out=tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"needs the package {package}") as raised:
        export_run(run, "onnx", out=tmp_path / "net.onnx")
    assert raised.value.remedy == 'pip install "cnncli[onnx]"'
    assert list(tmp_path.iterdir()) == []


def test_without_the_data_set_random_images_are_compared(run: Run, tmp_path: Path) -> None:
    def load_splits(download: bool) -> Splits:
        assert not download
        raise DataError("the images are gone")

    comparison = export_run(
        replace(run, load_splits=load_splits), "safetensors", out=tmp_path / "net.safetensors", images=50
    ).comparison
    assert (comparison.source, comparison.images, comparison.same_predictions) == ("random", 50, 50)


def test_the_number_of_images(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly spaced, for the images of a folder are sorted by class."""
    seen = []

    def watched(*arguments: Any, **named: Any) -> Comparison:
        seen.append(arguments[3].images)
        return compare(*arguments, **named)

    monkeypatch.setattr(export, "compare", watched)
    assert export_run(run, "safetensors", out=tmp_path / "net.safetensors", images=3).comparison.images == 3
    assert torch.equal(seen[0], run.test.images[[0, 10, 20]])


def test_arguments_that_do_not_fit(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no graph"):
        export_run(run, "safetensors", out=tmp_path / "net.safetensors", with_preprocessing=True)
    with pytest.raises(UsageError, match="is a directory"):
        export_run(run, "torch", out=tmp_path)
    with pytest.raises(UsageError, match=r"\.onnx is the suffix") as raised:
        export_run(run, "torch", out=tmp_path / "net.onnx")
    assert raised.value.remedy is not None
    assert "--format onnx" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []
