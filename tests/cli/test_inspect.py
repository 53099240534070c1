"""`cnncli inspect` as a user types it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cnncli.cli.app import app
from cnncli.cli.commands.inspect import refuse_unknown
from cnncli.config.config import bundled_configs
from cnncli.errors import CnncliError, ConfigError, RunError, UsageError
from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.table import inspect_graph
from cnncli.layers import Reach
from cnncli.layers.base import Unknown


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["inspect", *arguments])


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


@pytest.mark.parametrize("config", ["lenet5", "inception", "resnet-mnist", "nin", "dilated"])
def test_the_table_fits_100_columns(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.cli.render.console._PIPED_WIDTH", 100)
    table, _, _ = printed(config).partition("memory:")
    assert max(map(len, table.splitlines())) <= 100
    assert "…" not in table
    for heading in ("layer", "kind", "k/s/p/d", "output", "params", "MACs", "field", "jump", "%", "hint"):
        assert heading in table


def test_wide_shows_more() -> None:
    heading = printed("lenet5", "--wide").splitlines()[2]
    for word in ("start", "center", "padding", "smallest", "groups", "activation", "FLOPs", "trained/frozen"):
        assert word in heading


def test_json_csv_and_markdown_say_the_same() -> None:
    layers = json.loads(printed("lenet5", "--json"))["layers"]
    rows = list(csv.DictReader(io.StringIO(printed("lenet5", "--format", "csv"))))
    assert [row["name"] for row in rows] == [layer["name"] for layer in layers]
    assert rows[0]["receptive_field.size"] == "5x5"
    assert int(rows[0]["macs"]) == layers[0]["macs"] == 117_600
    lines = printed("lenet5", "--format", "markdown").splitlines()
    assert lines[2].startswith("| conv1 | conv | 5/1/2/1 | 6x28x28 | 156 | 117,600 | 5 | 1 |")
    assert len(lines[0].split("|")) == len(lines[1].split("|")) == len(lines[2].split("|"))


def test_totals_and_memory() -> None:
    totals = json.loads(printed("lenet5", "--json", "--batch", "3"))["totals"]
    assert (totals["params"], totals["macs"], totals["flops"]) == (61_706, 416_520, 833_040)
    one = json.loads(printed("lenet5", "--json"))["totals"]["memory"]
    assert totals["memory"]["training"] == 3 * one["training"]
    assert one["weights"] == 4 * 61_706


def test_another_input() -> None:
    assert json.loads(printed("resnet-mnist", "--input", "3x64x48", "--json"))["input_shape"] == [3, 64, 48]


def test_a_run_is_inspected_by_its_config(tmp_path: Path) -> None:
    text = bundled_configs()["lenet5"].read_text(encoding="utf-8")
    (tmp_path / "resolved.yaml").write_text(text, encoding="utf-8")
    assert json.loads(printed(str(tmp_path), "--json"))["totals"]["params"] == 61_706


def test_a_unit_and_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "field.png"
    text = printed("lenet5", "--layer", "conv2", "--unit", "0,0", "--picture", str(picture))
    assert "inside the image: rows 0 to 11, columns 0 to 11 (12 x 12)" in text
    assert "with padding: rows -2 to 11, columns -2 to 11 (14 x 14)" in text
    assert "padding: 26.5% of that" in text  # 1 - 144 / 196
    # The terminal picture: the fields of conv2, avg_pool1 and conv1 inside one another.
    assert {"1", "2", "3", "·"} <= set("".join(line for line in text.splitlines() if line.count("· ") > 3))
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 4


def test_units_that_see_a_pixel() -> None:
    lines = printed("lenet5", "--pixel", "10,0").splitlines()
    assert " ".join(lines[1].split()) == "conv1 rows 8-12, columns 0-2 1.9% of its units"


def test_hints_can_be_left_out() -> None:
    assert "most-parameters" in printed("lenet5")
    assert "most-parameters" not in printed("lenet5", "--ignore", "most-parameters")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["lenet5", "--ignore", "critcal"], UsageError),
        (["lenet5", "--input", "28"], UsageError),
        (["lenet5", "--unit", "0,0"], UsageError),
        (["lenet5", "--layer", "conv1", "--unit", "0,0", "--pixel", "3,3"], UsageError),
        (["lenet5", "--layer", "conv1", "--unit", "here"], UsageError),
        (["lenet5", "--kwargs", "{"], UsageError),
        (["lenet5", "--kwargs", '{"width": 3}'], UsageError),
        (["nets.py:Net", "--set", "data.size=3"], UsageError),
        (["."], RunError),
        (["no-such-config"], ConfigError),
    ],
)
def test_mistakes(arguments: list[str], error: type[CnncliError]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert result.exception.remedy


def test_what_is_unknown_is_said_and_strict_refuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (
        GraphNode(name="a", type="relu", inputs=("input",), shape=(1, 4, 4), reads=Reach.SAME, params=0, macs=0),
        GraphNode(name="b", type="fft", inputs=("a",), shape=None, reads=Unknown("no rule"), params=None, macs=None),
        GraphNode(name="c", type="relu", inputs=("b",), shape=(1, 4, 4), reads=Reach.SAME, params=0, macs=0),
    )
    inspection = inspect_graph(Graph(name="test", input_shape=(1, 4, 4), nodes=nodes))
    assert [row.receptive_field is None for row in inspection.rows] == [False, True, True]
    assert [row.unknown for row in inspection.rows] == [None, "b: no rule", "b: no rule"]
    with pytest.raises(ConfigError) as caught:
        refuse_unknown(inspection)
    assert caught.value.exit_code == 3
    from cnncli.cli.render.table import csv_text, json_text, show_layers

    show_layers(inspection)
    assert "not known: b: no rule (and so for 1 more layer after it)" in capsys.readouterr().out
    (hint,) = inspection.hints
    assert hint.says == "as far as fields are known, no unit sees from edge to edge of the input: at most 1 of 4 pixels"
    assert json.loads(json_text(inspection))["layers"][2]["receptive_field"] is None
    assert len(csv_text(inspection).splitlines()) == 4


def test_units_and_pixels_as_json() -> None:
    """conv1: 5x5, padded by 2. Unit i of conv2 sees the pixels from 2 i - 2 to 2 i + 11."""
    (unit,) = json.loads(printed("lenet5", "--layer", "conv1", "--unit", "0,0", "--json"))
    assert unit == {
        "layer": "conv1",
        "unit": [0, 0],
        "unclipped": [[-2, 2], [-2, 2]],
        "clipped": [[0, 2], [0, 2]],
        "padding": 1 - 9 / 25,
    }
    (dependent_units,) = json.loads(printed("lenet5", "--layer", "conv2", "--pixel", "3,3", "--json"))
    assert dependent_units == {"layer": "conv2", "units": [[0, 1, 2], [0, 1, 2]], "share": 9 / 100}


def test_rows_of_features_have_no_places() -> None:
    shown = printed("lenet5", "--pixel", "3,3")
    assert "all units" in next(line for line in shown.splitlines() if line.startswith("flatten1"))


def test_units_are_no_table() -> None:
    result = run("lenet5", "--layer", "conv1", "--unit", "0,0", "--format", "csv")
    assert isinstance(result.exception, UsageError)


def test_no_digit_is_lost_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.cli.render.console._PIPED_WIDTH", 40)
    table = printed("lenet5", "--wide")
    for number in ("16x10x10", "240,000", "480,000", "2,416/0", "61,706/0"):
        assert number in table
