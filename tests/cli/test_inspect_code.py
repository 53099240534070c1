"""`cnncli inspect` of models in code, and with `--verify`, as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cnncli.cli.app import app
from cnncli.errors import CnncliError, ConfigError, UsageError

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)

    def forward(self, images):
        return nn.functional.max_pool2d(self.conv(images), 2)

class Sorted(Net):
    def forward(self, images):
        return super().forward(images).renorm(2, 2, 1).relu()

class Scales(nn.Module):
    def forward(self, images):
        return images * float(images.mean())

def broken():
    raise RuntimeError("no such weights")

class Masked(Net):
    def forward(self, images):
        maps = self.conv(images)
        print("printed by the model")
        return maps.masked_fill(maps < 0, 0).renorm(2, 2, 1)

def number_of_rows():
    return 3

number = 3
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["inspect", *arguments])


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(NET)
    return str(path)


def refused(*arguments: str) -> CnncliError:
    result = run(*arguments)
    assert isinstance(result.exception, CnncliError), result.exception
    assert result.exception.remedy
    return result.exception


def test_a_batch_axis_is_dropped(net: str) -> None:
    result = run(f"{net}:Net", "--input", "1x1x6x8", "--json")
    assert json.loads(result.stdout)["input_shape"] == [1, 6, 8]


def test_the_size_alone_is_for_networks_of_images(net: str) -> None:
    result = run("torchvision:resnet18", "--input", "64", "--json")
    assert json.loads(result.stdout)["input_shape"] == [3, 64, 64]
    assert "3x64x64" in str(refused(f"{net}:Net", "--input", "64").remedy)


def test_a_file(net: str) -> None:
    result = run(f"{net}:Net", "--input", "1x6x8", "--kwargs", '{"width": 5}', "--json", "--verify")
    assert result.exit_code == 0, result.exception
    layers = json.loads(result.stdout)["layers"]
    assert [(layer["name"], layer["output_shape"], layer["params"]) for layer in layers] == [
        ("conv", [5, 6, 8], 50),
        ("max_pool", [5, 3, 4], 0),
    ]
    assert layers[1]["receptive_field"]["size"] == [4, 4]
    assert "verified: shape, parameters and receptive field of all 2 rows" in result.stderr


def test_a_message_says_once_that_code_runs(
    net: str, exit_code_of: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where the model is created more than once: it cannot run on `meta`, and is verified."""
    message = f"this runs the code of {net} with your permissions"
    exit_code_of("inspect", f"{net}:Scales", "--input", "1x6x8", "--json", "--verify")
    out, err = capfd.readouterr()
    assert "".join(err.split()).count("".join(message.split())) == 1
    assert json.loads(out)
    for target in ("torchvision:resnet18", "lenet5"):
        assert exit_code_of("inspect", target, "--json") == 0
        assert capfd.readouterr().err == ""


def test_an_unknown_operation(net: str) -> None:
    """Rows before it are known, it and the rows after it are not; --strict makes that an error."""
    layers = json.loads(run(f"{net}:Sorted", "--input", "1x6x8", "--json").stdout)["layers"]
    assert [layer["receptive_field"] is None for layer in layers] == [False, False, True]
    assert refused(f"{net}:Sorted", "--input", "1x6x8", "--strict").exit_code == ConfigError.exit_code


def test_output_of_a_model_goes_to_stderr(net: str) -> None:
    result = run(f"{net}:Masked", "--input", "1x6x8", "--json", "--verify")
    assert [layer["name"] for layer in json.loads(result.stdout)["layers"]] == ["conv", "renorm"]
    assert "printed by the model" in result.stderr


def test_rows_that_cannot_be_verified(net: str) -> None:
    """NaN is not less than 0, so it does not pass a comparison; what a sort reads is unknown."""
    result = run(f"{net}:Masked", "--input", "1x6x8", "--verify")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-3:] == [
        "verified: shape, parameters and receptive field of 0 rows",
        "verified in part: 1 row after a comparison or a mask; no unit sees more than the table says",
        "not verified: 1 row with unknown values",
    ]


def test_a_forward_that_needs_numbers(net: str) -> None:
    result = run(f"{net}:Scales", "--input", "1x6x8", "--json")
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["layers"][-1]["output_shape"] == [1, 6, 8]


@pytest.mark.parametrize(
    ("arguments", "error_type", "message"),
    [
        (["{net}:Missing", "--input", "1x6x8"], UsageError, "has no Missing"),
        (["{net}:number", "--input", "1x6x8"], UsageError, "is not a model, but of type int"),
        (["{net}"], UsageError, "is code, not a config"),
        (["{net}:number_of_rows", "--input", "1x6x8"], ConfigError, "returned an object of type int"),
        (["{net}:Net"], UsageError, "the input shape of this model is unknown"),
        (["{net}:broken", "--input", "1x6x8"], ConfigError, "failed: RuntimeError: no such weights"),
        (["{net}:Net", "--input", "3x6x8"], ConfigError, "does not run on an input of 3x6x8"),
        (["{net}:Net", "--input", "1x6x8", "--kwargs", '{"depth": 3}'], ConfigError, "unexpected keyword argument"),
        (["{net}:Net", "--input", "1x6x8", "--kwargs", f'{{"width": {2**63 - 1}}}'], ConfigError, "overflow"),
        (["no/such/file.py:Net", "--input", "1x6x8"], UsageError, "file not found"),
        (["no_such_package.nets:Net", "--input", "1x6x8"], UsageError, "no module named no_such_package"),
        (["torchvision:resnet17"], UsageError, "has no model resnet17"),
    ],
)
def test_models_that_cannot_be_loaded(
    net: str, arguments: list[str], error_type: type[CnncliError], message: str
) -> None:
    error = refused(*(each.replace("{net}", net) for each in arguments))
    assert isinstance(error, error_type)
    assert message in error.message


def test_a_config_is_verified() -> None:
    result = run("lenet5", "--verify")
    assert result.exit_code == 0
    assert "verified: shape, parameters and receptive field of all 8 rows" in result.stderr


def test_mismatches_are_printed_and_exit_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnncli.capture import verify

    wrong = verify.Mismatch("conv1", "params", "156", "157")
    monkeypatch.setattr(verify, "verify_network", lambda network, module: [wrong])
    result = run("lenet5", "--verify")
    assert result.exit_code == 1
    assert "conv1: params: 156 in the table, 157 in the network" in result.stderr


def test_a_forward_that_fails_shows_the_layers_before_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "nets.py"
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(100, 10)\n"
        "    def forward(self, images):\n"
        "        maps = self.conv(images)\n"
        "        return self.fc(maps.flatten(1))\n"
    )
    result = run(f"{path}:Net", "--input", "1x28x28")
    assert [line.split()[0] for line in result.stdout.splitlines()[3:6]] == ["input", "conv", "flatten"]
    error = result.exception
    assert isinstance(error, ConfigError)
    assert "mat1 and mat2 shapes cannot be multiplied (2x2704 and 100x10)" in error.message
    assert error.remedy is not None
    assert error.remedy.splitlines()[:2] == [
        "in fc (Linear), called with 2x2704, a batch of 2",
        f"{path}:8: return self.fc(maps.flatten(1))",
    ]
    assert run(f"{path}:Net", "--input", "1x28x28", "--json").stdout == ""
