"""`cnncli inspect` of files of torch and safetensors, of libraries' models by name, and of parts of models."""

import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner, Result

from cnncli.capture.graph import graph_of_module
from cnncli.cli.app import app
from cnncli.errors import CnncliError, ConfigError, UsageError
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import inspect_graph


class Net(nn.Module):
    """A residual block, a pool, and a head that flattens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.stem(images)
        maps = maps + self.conv(maps).relu()
        scores: torch.Tensor = self.head(maps.mean((2, 3)))
        return scores


IMAGE = (1, 9, 11)


def run(*arguments: object, command: str = "inspect") -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def rows(*arguments: object) -> list[dict[str, object]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    layers: list[dict[str, object]] = json.loads(result.stdout)["layers"]
    return layers


def refused(*arguments: object, command: str = "inspect") -> CnncliError:
    error = run(*arguments, command=command).exception
    assert isinstance(error, CnncliError), error
    assert error.remedy
    return error


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def expected(net: Net) -> list[dict[str, object]]:
    layers: list[dict[str, object]] = as_json(inspect_graph(graph_of_module(net, IMAGE, "net")))["layers"]
    return layers


def save_exported(net: Net, path: Path, *, dynamic: bool) -> Path:
    size = torch.export.Dim.AUTO if dynamic else torch.export.Dim.STATIC
    shapes = {"images": {axis: size for axis in (0, 2, 3)}}
    images = torch.zeros(2 if dynamic else 1, *IMAGE)
    torch.export.save(torch.export.export(net, (images,), dynamic_shapes=shapes), path)
    return path


def test_an_exported_program_for_one_image_has_the_rows_of_the_module(
    net: Net, expected: list[dict[str, object]], tmp_path: Path
) -> None:
    path = save_exported(net, tmp_path / "net.pt2", dynamic=False)
    assert rows(path) == expected
    result = run(path, "--verify")
    assert result.exit_code == 0, result.stdout
    assert "of all 5 rows" in result.stderr
    error = refused(path, "--input", "1x9x9")
    assert str(error) == f"{path} takes inputs of 1x9x11, not 1x9x9"


class Planted:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, for reading only."""
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.export.save(torch.export.export(nn.Conv2d(1, 2, 3), (torch.zeros(1, 1, 8, 8),)), path)
    return path


def changed(archive: Path, path: Path, change: Callable[[str, bytes], bytes], *more: tuple[str, bytes]) -> Path:
    """A copy of a zip archive in which the content of each entry is `change(name, content)`."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
        for name, content in more:
            copy.writestr(f"{source.namelist()[0].partition('/')[0]}/{name}", content)
    return path


@pytest.mark.parametrize("place", ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"])
def test_a_pickled_object_in_an_exported_program_is_not_loaded(place: str, exported: Path, tmp_path: Path) -> None:
    """Weights and constants in one pickled file are an older format, which torch reads if such an entry exists."""
    buffer = io.BytesIO()
    torch.save(((Planted(tmp_path / "ran"),), {}), buffer)
    more = [] if "sample" in place else [(place, buffer.getvalue())]
    path = changed(
        exported,
        tmp_path / "evil.pt2",
        lambda name, content: buffer.getvalue() if name.endswith(place) else content,
        *more,
    )
    assert "reading it would run code" in str(refused(path))
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("name", ["data/constants/opaque_obj_0", "data/AOTInductor/model/net.so"])
def test_code_in_an_exported_program_is_refused(name: str, exported: Path, tmp_path: Path) -> None:
    path = changed(exported, tmp_path / "code.pt2", lambda _, content: content, (name, b""))
    assert f"{name}), which would run" in str(refused(path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"major"', b'"mojor"'),
        (b'"p_weight"', rb'"p_\u001b[31mweight"'),
        (b"torch.ops.aten.conv2d.default", b"os.system"),
        (b'"as_int": 8', b'"as_int": -8'),
        (b"{", b"[" * 20_000),
    ],
)
def test_a_damaged_exported_program(
    old: bytes, new: bytes, exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        assert old in content
        return content.replace(old, new)

    error = refused(changed(exported, tmp_path / "damaged.pt2", change))
    assert error.exit_code == ConfigError.exit_code
    assert "damaged.pt2 is a program of torch.export that" in str(error)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_file_with_a_network_runs_and_a_message_says_so(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="cnncli")
    run(exported)
    assert f"{exported}: this runs the program in the file with your permissions" in caplog.messages


def test_an_exported_program_for_any_size(net: Net, expected: list[dict[str, object]], tmp_path: Path) -> None:
    path = save_exported(net, tmp_path / "net.pt2", dynamic=True)
    assert "--input" in str(refused(path).remedy)
    assert rows(path, "--input", "1x9x11") == expected


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript(way: str, net: Net, expected: list[dict[str, object]], tmp_path: Path) -> None:
    """The modules that ran are not in the file: only rows with parameters have the names of their modules."""
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        images = torch.zeros(1, *IMAGE)
        script = torch.jit.script(net) if way == "script" else torch.jit.trace(net, images)  # type: ignore[no-untyped-call]  # torch does not annotate it
        script.save(path)
    actual = rows(path, "--input", "1x9x11")
    same = ("output_shape", "params", "macs", "receptive_field", "kernel_size", "unknown")
    assert [{key: row[key] for key in same} for row in actual] == [{key: row[key] for key in same} for row in expected]
    assert [row["name"] for row in actual] == ["stem.0", "conv", "add", "mean", "head"]
    assert run(path, "--input", "1x9x11", "--verify").exit_code == 0
    assert "is not in the file" in str(refused(path))


def test_a_frozen_module(tmp_path: Path) -> None:
    """It has neither parameters nor a mode."""
    path = tmp_path / "frozen.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        script = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval())
        torch.jit.freeze(script).save(path)
    result = json.loads(run(path, "--input", "1x6x7", "--json").stdout)
    [row] = result["layers"]
    assert (row["output_shape"], row["receptive_field"]["size"], row["macs"]) == ([2, 4, 5], [3, 3], 2 * 9 * 20)
    assert result["notes"] == ["a frozen module: its weights are constants, and not counted as parameters"]


def tensors(path: Path) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in json.loads(run(path, "--json").stdout)["tensors"]}


def save(content: object, path: Path) -> None:
    torch.save(content, path)


def save_old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [save, save_old, save_file])
def test_a_state_dict(write: Callable[[object, Path], None], net: Net, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    write(net.state_dict(), path)
    found = tensors(path)
    assert {name: (tuple(each["shape"]), each["bytes"]) for name, each in found.items()} == {  # type: ignore[arg-type]
        name: (tuple(each.shape), each.nbytes) for name, each in net.state_dict().items()
    }
    layers = {name.rpartition(".")[0]: each["layer"] for name, each in found.items() if each["layer"]}
    assert layers == {
        "stem.0": "conv 3x3, 1 -> 4 or depthwise",
        "stem.1": "batch_norm, 4 channels",
        "conv": "conv 3x3, 4 -> 4",
        "head": "linear, 4 -> 3",
    }
    text = run(path).stdout
    assert f"{sum(each.numel() for each in net.state_dict().values()):,}" in text
    assert "the order in which layers are computed" in text


def test_guesses_for_other_layers_of_torch(tmp_path: Path) -> None:
    model = nn.ModuleDict({
        "lstm": nn.LSTM(5, 7), "gru": nn.GRU(5, 7), "attention": nn.MultiheadAttention(8, 2), "norm": nn.LayerNorm(8),
        "words": nn.Embedding(9, 8), "line": nn.Conv1d(2, 3, 5),
    })  # fmt: skip
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    guesses = {name.rpartition(".")[0]: each["layer"] for name, each in tensors(path).items() if each["layer"]}
    assert guesses == {
        "lstm": "lstm, 5 -> 7",
        "gru": "gru, 5 -> 7",
        "attention": "attention, 8 features",
        "attention.out_proj": "linear, 8 -> 8",
        "norm": "layer_norm or group_norm, 8",
        "words": "linear or embedding, 8 -> 9",
        "line": "conv 5, 2 -> 3",
    }


def test_a_checkpoint_with_other_values_types_and_shared_weights(tmp_path: Path) -> None:
    weight = torch.zeros(4, 3, dtype=torch.bfloat16)
    content = {"epoch": 3, "model": {"a": weight, "b": weight, "c": [torch.zeros(2, dtype=torch.int8)]}}
    path = tmp_path / "last.pt"
    torch.save(content, path)
    result = json.loads(run(path, "--json").stdout)
    assert [(each["name"], each["dtype"], each["shared_with"]) for each in result["tensors"]] == [
        ("model.a", "bfloat16", None),
        ("model.b", "bfloat16", "model.a"),
        ("model.c.0", "int8", None),
    ]
    assert result["totals"] == {"tensors": 3, "numbers": 14, "bytes": 26}
    assert "it also holds epoch" in result["notes"]
    assert run(path, "--format", "csv").stdout.splitlines()[2] == "model.b,bfloat16,4x3,12,24,model.a,"
    assert "| model.a | bfloat16 | 4x3 | 12 | 24 B |" in run(path, "--format", "markdown").stdout


def test_what_tensors_alone_do_not_answer(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(net.state_dict(), path)
    assert "no network for --verify" in str(refused(path, "--verify"))
    assert "holds tensors alone" in str(refused(path, "conv", "0,0", command="unit"))
    error = refused(path, command="train")
    assert str(error) == f"{path} is a safetensors file, not a config"
    assert error.exit_code == ConfigError.exit_code


def test_a_whole_pickled_module_is_not_loaded(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(nn.Sequential(nn.ReLU()), path)
    error = refused(path)
    assert "holds an object of torch.nn.modules.container.Sequential, and reading it would run code" in str(error)


@pytest.mark.parametrize("write", [save, save_old, save_file])
def test_a_damaged_file(write: Callable[[object, Path], None], net: Net, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    write(net.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path).exit_code == ConfigError.exit_code


def test_very_many_tensors(tmp_path: Path) -> None:
    """A terminal gets the first 1,000 and the totals of all."""
    path = tmp_path / "many.safetensors"
    save_file({f"layer{i:04}.{'x' * 5000 if i == 0 else ''}": torch.zeros(3) for i in range(1234)}, path)
    text = run(path).stdout
    assert "and 234 more" in text
    assert "1234 tensors" in text.replace(",", "")
    assert "3,702" in text
    assert "x" * 150 not in text
    assert "layer0999" in text
    assert "layer1000" not in text
    assert len(tensors(path)) == 1234


def test_names_of_tensors_are_printable_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "names.safetensors"
    save_file({"\x1b[31mred\u202e\n.weight": torch.zeros(2)}, path)
    lines = run(path).stdout.splitlines()
    assert lines[3].startswith(r"\x1b[31mred\u202e\n.weight  float32")


@pytest.mark.parametrize("name", ["zero.pt", "zero.safetensors"])
def test_an_empty_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert str(refused(tmp_path / name)) == f"{tmp_path / name} is empty"


def test_a_whole_number_that_is_too_large() -> None:
    error = run("lenet5", "--set", "train.epochs=99999999999999999999999999").exception
    assert isinstance(error, ConfigError)
    assert "train.epochs: must be a whole number below 2**63, found 1e+26" in str(error)


def test_an_empty_target() -> None:
    assert isinstance(refused(""), UsageError)


def test_a_model_of_torchvision_without_its_prefix() -> None:
    error = refused("resnet152")
    assert "torchvision:resnet152" in str(error.remedy)
    assert "Did you mean lenet5" in str(refused("lenet6"))


def test_torchvisions_models_in_submodules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the weights of the backbone, which torchvision would download."""
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", None)
    layers = rows("torchvision:fcn_resnet50", "--input", "32")
    assert layers[-1]["output_shape"] == [21, 32, 32]
    video = rows("torchvision:r3d_18", "--input", "3x4x32x32")
    assert video[-1]["output_shape"] == [400]
    assert "resnet50" in str(refused("torchvision:resnet51"))


def test_a_part_of_a_model() -> None:
    """Its input is the one that it gets in the model, or given."""
    layers = rows("torchvision:resnet18", "--module", "layer2.0")
    assert [row["name"] for row in layers] == ["conv1", "conv2", "downsample.0", "add"]
    assert layers[1]["output_shape"] == [128, 28, 28]
    assert layers[1]["receptive_field"]["size"] == [7, 7]  # type: ignore[index]  # 3 + 2 * (3 - 1), of its own input
    smaller = rows("torchvision:resnet18", "--module", "layer2.0", "--input", "64x8x8")
    assert smaller[0]["output_shape"] == [128, 4, 4]
    [head] = rows("torchvision:resnet18", "--module", "fc", "--input", "512")
    assert (head["output_shape"], head["params"]) == ([1000], 513_000)
    assert "Did you mean layer2" in str(refused("torchvision:resnet18", "--module", "layer22"))
    assert "--module" in str(refused("lenet5", "--module", "conv1"))


def test_the_backbone_of_a_detector() -> None:
    layers = rows("torchvision:fasterrcnn_resnet50_fpn", "--module", "backbone", "--input", "3x64x64")
    [last] = [row for row in layers if row["name"] == "body.layer4.2.add"]
    assert last["output_shape"] == [2048, 2, 2]
    assert last["receptive_field"]["size"] == [427, 427]  # type: ignore[index]  # of ResNet-50


CODE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, width=4):
        super().__init__(nn.Conv2d(1, width, 3))

    @classmethod
    def from_name(cls, name):
        return cls({"small": 2, "large": 8}[name])
"""


@pytest.fixture
def code(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(CODE)
    return str(path)


def test_a_factory_in_a_class(code: str) -> None:
    [row] = rows(f"{code}:Net.from_name", "--input", "1x5x5", "--kwargs", '{"name": "large"}')
    assert row["output_shape"] == [8, 3, 3]
    assert "has no from_nam" in str(refused(f"{code}:Net.from_nam", "--input", "1x5x5"))


def test_diff_takes_arguments_for_each_side(code: str) -> None:
    def shapes(*options: str) -> tuple[list[int], list[int]]:
        result = run(f"{code}:Net", f"{code}:Net", "--input", "1x5x5", "--json", *options, command="diff")
        assert result.exit_code == 0, result.exception
        [change] = json.loads(result.stdout)["changes"] or [None]
        return (change["before"]["output_shape"], change["after"]["output_shape"]) if change else ([], [])

    assert shapes("--kwargs", '{"width": 2}', "--kwargs", '{"width": 3}') == ([2, 3, 3], [3, 3, 3])
    assert shapes("--kwargs", '{"width": 2}') == ([], [])
    assert "--kwargs" in str(refused("lenet5", "nin", "--kwargs", '{"width": 2}', command="diff"))
    mixed = run("lenet5", f"{code}:Net", "--input", "1x28x28", "--kwargs", '{"width": 2}', command="diff")
    assert mixed.exit_code == 0, mixed.exception


def test_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for timm, which is not needed for anything else, with its functions as documented."""

    def create_model(name: str, *, width: int = 4) -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, width, 3))
        model.pretrained_cfg = {"input_size": (3, 7, 9)}  # type: ignore[assignment]  # modules take any attribute
        return model

    monkeypatch.setitem(sys.modules, "timm", None)
    missing = refused("timm:tiny")
    assert (str(missing), missing.remedy) == ("timm is not installed", "pip install timm")
    stand_in = SimpleNamespace(
        create_model=create_model, is_model=lambda name: name == "tiny", list_models=lambda: ["tiny"]
    )
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    [row] = rows("timm:tiny.in1k", "--kwargs", '{"width": 6}')
    assert row["output_shape"] == [6, 5, 7]
    error = refused("timm:tini")
    assert isinstance(error, UsageError)
    assert "Did you mean tiny" in str(error)
