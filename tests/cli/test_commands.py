"""Commands that do not train: help, version, validate, inspect, schema, init."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from cnncli import __version__
from cnncli.config.config import named_configs
from cnncli.config.document import read_document

Cnncli = Callable[..., tuple[int, str, str]]

# Layer, type, output, parameters, MACs, receptive field, jump, start: computed by hand from the definitions.
LENET5 = [
    ("conv1", "conv", [6, 28, 28], 156, 117_600, 5, 1, -2),
    ("avg_pool1", "avg_pool", [6, 14, 14], 0, 0, 6, 2, -2),
    ("conv2", "conv", [16, 10, 10], 2_416, 240_000, 14, 2, -2),
    ("avg_pool2", "avg_pool", [16, 5, 5], 0, 0, 16, 4, -2),
]
LENET5_HEAD = [
    ("flatten1", "flatten", [400], 0, 0),
    ("linear1", "linear", [120], 48_120, 48_000),
    ("linear2", "linear", [84], 10_164, 10_080),
    ("logits1", "logits", [10], 850, 840),
]


def test_help_groups_the_commands(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("--help")
    assert (code, err) == (0, "")
    design, train = out.index("Design:"), out.index("Train:")
    assert all(design < out.index(f" {name} ", design) < train for name in ("init", "validate", "inspect", "schema"))
    assert out.index(" train ", train)


@pytest.mark.parametrize("command", ["init", "validate", "inspect", "unit", "pixel", "diff", "schema", "train", "help"])
def test_every_command_has_examples_in_its_help(command: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli(command, "--help")
    assert (code, err) == (0, "")
    assert f"cnncli {command}" in out[out.index("Examples:") :]


def test_version(run_cnncli: Cnncli) -> None:
    assert run_cnncli("--version") == run_cnncli("-V") == (0, f"cnncli {__version__}\n", "")


def test_an_unknown_command_is_exit_2(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("trian")
    assert (code, out) == (2, "")
    assert "trian" in err


def test_validate_prints_totals(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("validate", "lenet5", "tiny.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "lenet5: ok, 8 layers, 61,706 parameters, 416,520 MACs",
        "tiny.yaml: ok, 7 layers, 512 parameters, 6,000 MACs",
    ]


def test_validate_continues_after_an_invalid_config(run_cnncli: Cnncli) -> None:
    Path("broken.yaml").write_text("data: {name: digits, sise: 8}\nmodel: {layers: [flaten, logits]}\n")
    code, out, err = run_cnncli("validate", "broken.yaml", "tiny.yaml")
    assert code == 3
    assert out.startswith("tiny.yaml: ok")
    assert "broken.yaml:1:22 data.sise: unknown field. Did you mean size?" in err
    assert "broken.yaml:2:18 model.layers.0: unknown layer: flaten. Did you mean flatten?" in err
    assert "Traceback" not in err


def test_inspect_prints_a_table_with_totals(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("inspect", "lenet5")
    assert (code, err) == (0, "")
    rows = {cells[0]: cells[1:] for line in out.splitlines() if (cells := line.split())}
    assert rows["conv2"] == ["conv", "5/1/0/1", "16x10x10", "2,416", "240,000", "14", "2", "25.0"]
    assert rows["linear2"] == ["linear", "84", "10,164", "10,080", "all", "100.0"]
    assert rows["total"] == ["61,706", "416,520"]


def test_inspect_as_json(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("inspect", "lenet5", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {key: found[key] for key in ("version", "model", "input_shape")} == {
        "version": 1,
        "model": "lenet5",
        "input_shape": [1, 28, 28],
    }
    assert {key: found["totals"][key] for key in ("params", "macs")} == {"params": 61_706, "macs": 416_520}
    layers = found["layers"]
    inputs = ["input", *(layer["name"] for layer in layers)]
    assert [layer["inputs"] for layer in layers] == [[name] for name in inputs[:-1]]
    keys = ("name", "type", "output_shape", "params", "macs")
    assert [tuple(layer[key] for key in keys) for layer in layers] == [
        *(row[:5] for row in LENET5),
        *LENET5_HEAD,
    ]
    for layer, (*_, size, jump, start) in zip(layers[:4], LENET5, strict=True):
        end = start + size - 1
        expected = {
            "size": [size, size],
            "jump": [jump, jump],
            "start": [start, start],
            "end": [end, end],
            "center": [(start + end) / 2] * 2,
        }
        assert {key: layer["receptive_field"][key] for key in expected} == expected
    for layer in layers[4:]:
        assert layer["receptive_field"]["size"] == [28, 28]
        assert layer["receptive_field"]["global"] is True
    assert all(layer["notes"] == [] for layer in layers)


def test_set_changes_what_is_inspected(run_cnncli: Cnncli) -> None:
    _, out, _ = run_cnncli("inspect", "lenet5", "--json", "--set", "data.size=32", "--set", "data.name=digits")
    assert json.loads(out)["input_shape"] == [1, 32, 32]


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does once it has seen enough
    command = [sys.executable, "-m", "cnncli", "inspect", "lenet5"]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_schema_accepts_every_bundled_config(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("schema")
    assert (code, err) == (0, "")
    schema = jsonschema.Draft202012Validator(json.loads(out))
    for path in named_configs().values():
        schema.validate(read_document(path).data)


@pytest.mark.parametrize(
    "broken",
    [
        {"train": {"epoch": 3}},
        {"data": {"name": "digit"}},
        {"model": {"layer": ["flatten", "logits"]}},
        {"model": {"layers": [{"conv": {"out_channel": 3}}, "logits"]}},
        {"nam": "x"},
    ],
)
def test_the_schema_refuses_a_misspelled_key(broken: dict[str, object], run_cnncli: Cnncli) -> None:
    _, out, _ = run_cnncli("schema")
    schema = jsonschema.Draft202012Validator(json.loads(out))
    good = {"data": {"name": "digits"}, "model": {"layers": ["flatten", "logits"]}}
    schema.validate(good)
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(good | broken)


def test_init_writes_a_valid_config(run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("init", "mynet")
    assert (code, err) == (0, "")
    assert "cnncli train mynet.yaml" in out
    assert "# " in Path("mynet.yaml").read_text(), "commented"
    code, out, err = run_cnncli("validate", "mynet.yaml")
    assert (code, err) == (0, "")
    assert out.startswith("mynet.yaml: ok")


def test_init_overwrites_only_with_force(run_cnncli: Cnncli) -> None:
    Path("mine.yaml").write_text("mine")
    code, out, err = run_cnncli("init", "mine")
    assert (code, out) == (2, "")
    assert "mine.yaml already exists" in err
    assert "--force" in err
    assert Path("mine.yaml").read_text() == "mine"
    assert run_cnncli("init", "mine", "--force")[0] == 0
    assert run_cnncli("validate", "mine.yaml")[0] == 0


def test_init_creates_the_folder(run_cnncli: Cnncli) -> None:
    assert run_cnncli("init", "lectures/first/mine")[0] == 0
    assert run_cnncli("validate", "lectures/first/mine.yaml")[0] == 0


@pytest.mark.parametrize("name", ["folder/", ".", "..", ""])
def test_init_needs_the_name_of_a_file(name: str, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("init", name)
    assert (code, out) == (2, "")
    assert "names no file" in err
    assert f"cnncli init {Path(name, 'mynet')}" in err


def test_init_where_nothing_can_be_written_is_exit_7(run_cnncli: Cnncli) -> None:
    Path("file").write_text("")
    code, out, err = run_cnncli("init", "file/mine")
    assert (code, out) == (7, "")
    assert "cannot be written" in err
