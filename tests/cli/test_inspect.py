"""`cnncli inspect` as a user types it."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import cnncli
from cnncli.cli.app import app
from cnncli.cli.commands.inspect import refuse_unknown
from cnncli.cli.render.table import show_inspection
from cnncli.config.config import bundled_configs
from cnncli.errors import CnncliError, ConfigError, RunError, UsageError
from cnncli.inspection.formatting import Line, hint_lines, table_lines
from cnncli.inspection.graph import Graph, GraphNode
from cnncli.inspection.serialization import as_csv, as_json
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
    assert not any("…" in line.partition("  ")[0] for line in table.splitlines()), "names are whole"
    for heading in ("layer", "type", "k/s/p/d", "output", "params", "MACs", "RF", "jump", "%", "hint"):
        assert heading in table


def test_wide_shows_more() -> None:
    heading = printed("lenet5", "--wide").splitlines()[1]
    for word in ("start", "center", "padding", "smallest", "groups", "activation", "FLOPs", "trained/frozen"):
        assert word in heading


def test_json_csv_and_markdown_agree() -> None:
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


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ("48", [1, 48, 48]),
        ("3x64x48", [3, 64, 48]),
        ("3X64X48", [3, 64, 48]),
        ("3,64,48", [3, 64, 48]),
        ("(3, 64, 48)", [3, 64, 48]),
        ("3 64 48", [3, 64, 48]),
        ("1x3x64x48", [3, 64, 48]),
    ],
)
def test_forms_of_a_shape(given: str, shape: list[int]) -> None:
    result = run("lenet5", "--input", given, "--json")
    assert json.loads(result.stdout)["input_shape"] == shape


def test_a_run_is_inspected_through_its_config(tmp_path: Path) -> None:
    text = bundled_configs()["lenet5"].read_text(encoding="utf-8")
    (tmp_path / "resolved.yaml").write_text(text, encoding="utf-8")
    assert json.loads(printed(str(tmp_path), "--json"))["totals"]["params"] == 61_706


def test_hints_can_be_ignored() -> None:
    assert "most-parameters" in printed("lenet5")
    assert "most-parameters" not in printed("lenet5", "--ignore", "most-parameters")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["lenet5", "--ignore", "critcal"], UsageError),
        (["lenet5", "--input", "28x28"], UsageError),
        (["lenet5", "--input", "2x3x28x28"], UsageError),
        (["lenet5", "--input", "0"], UsageError),
        (["lenet5", "--input", "3x-1x2"], UsageError),
        (["lenet5", "--input", ""], UsageError),
        (["lenet5", "--kwargs", "{"], UsageError),
        (["lenet5", "--kwargs", '{"width": 3}'], UsageError),
        (["nets.py:Net", "--set", "data.size=3"], UsageError),
        (["."], RunError),
        (["no-such-config"], ConfigError),
    ],
)
def test_invalid_arguments(arguments: list[str], error: type[CnncliError]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert result.exception.remedy


def test_unknown_rows_have_reasons_and_strict_refuses_them(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (
        GraphNode(name="a", type="relu", inputs=("input",), shape=(1, 4, 4), reads=Reach.SAME, params=0, macs=0),
        GraphNode(name="b", type="fft", inputs=("a",), shape=None, reads=Unknown("no rule"), params=None, macs=None),
        GraphNode(name="c", type="relu", inputs=("b",), shape=(1, 4, 4), reads=Reach.SAME, params=0, macs=0),
    )
    table = inspect_graph(Graph(name="test", input_shape=(1, 4, 4), nodes=nodes))
    assert [row.known_receptive_field is None for row in table] == [False, True, True]
    assert [row.unknown for row in table] == [None, "b: no rule", "b: no rule"]
    with pytest.raises(ConfigError) as caught:
        refuse_unknown(table)
    assert caught.value.exit_code == 3
    from cnncli.cli.render.table import show_table

    show_table(table)
    assert "unknown: b: no rule (also affects 1 later layer)" in capsys.readouterr().out
    (hint,) = table.hints
    assert hint.says == "where receptive fields are known, no unit spans the whole input: at most 1 of 4 pixels"
    assert as_json(table)["layers"][2]["receptive_field"] is None
    assert len(as_csv(table).splitlines()) == 4


def test_numbers_are_complete_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.cli.render.console._PIPED_WIDTH", 50)
    table, left_out, _ = printed("lenet5", "--wide").partition("left out, for the width:")
    assert max(map(len, table.splitlines())) <= 50
    assert left_out
    for number in ("16x10x10", "240,000", "2,416", "61,706", "416,520"):
        assert number in table


def test_legend_and_hints_are_wrapped_between_words() -> None:
    table = cnncli.inspect("lenet5")

    def words_of(lines: list[Line]) -> list[str]:
        return " ".join("".join(text for text, _ in line) for line in lines).split()

    wrapped = hint_lines(table, width=60)
    assert max(sum(len(text) for text, _ in line) for line in wrapped) <= 60
    assert len(wrapped) > len(hint_lines(table))
    assert words_of(wrapped) == words_of(hint_lines(table))
    *_, legend = table_lines(table)
    below = table_lines(table, prose_width=60)[-6:]
    assert max(sum(len(text) for text, _ in line) for line in below) <= 60
    assert words_of(below)[-10:] == words_of([legend])[-10:]


def test_the_parts_of_a_network_and_its_largest_layers() -> None:
    arguments = ("resnet-mnist", "--json", "--only", "*conv*", "--sort", "macs")
    layers = json.loads(printed(*arguments))["layers"]
    assert all("conv" in layer["name"] for layer in layers)
    assert [layer["macs"] for layer in layers] == sorted((layer["macs"] for layer in layers), reverse=True)
    whole = json.loads(printed("resnet-mnist", "--json"))["totals"]
    assert json.loads(printed("resnet-mnist", "--json", "--depth", "1"))["totals"] == whole
    groups = json.loads(printed("resnet-mnist", "--by", "type", "--json"))["groups"]
    assert sum(group["params"] for group in groups) == whole["params"]
    assert "█" in printed("resnet-mnist", "--by", "module")
    error = run("resnet-mnist", "--by", "type", "--format", "csv").exception
    assert isinstance(error, UsageError)


def test_the_largest_layers_have_their_whole_names() -> None:
    names = [row["name"] for row in json.loads(printed("resnet-mnist", "--json"))["layers"]]
    lines = printed("resnet-mnist", "--sort", "params").splitlines()
    assert {line.partition(" ")[0] for line in lines} >= set(names)


def test_memory_with_fewer_bits() -> None:
    """LeNet-5 holds most numbers while the tanh of conv1 runs: its 6x28x28 inputs and outputs, and the image."""
    text = printed("lenet5", "--bits", "8")
    assert "with numbers of 8 bits: weights 60.3 kB" in text  # 61,706 parameters
    totals = json.loads(printed("lenet5", "--json", "--bits", "4"))["totals"]
    assert totals["quantized_memory"] == {"bits": 4, "weights": 61_706 // 2, "inference": (784 + 2 * 4704) // 2}
    assert "quantized_memory" not in json.loads(printed("lenet5", "--json"))["totals"]


def test_measured_times() -> None:
    result = run("lenet5", "--latency", "2", "--json")
    layers = json.loads(result.stdout)["layers"]
    assert all(layer["latency_ms"]["median"] > 0 for layer in layers)
    assert "ms" in printed("lenet5", "--latency", "1").splitlines()[1].split()


@pytest.mark.parametrize("arguments", [("--latency", "10001"), ("--batch", "1000001")])
def test_numbers_that_nobody_means(arguments: tuple[str, str]) -> None:
    assert run("lenet5", *arguments).exit_code == 2


def test_long_tables_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = printed("resnet-mnist")
    assert printed("resnet-mnist", "--no-fold") == whole
    monkeypatch.setattr("cnncli.cli.commands.inspect.LONG", 5)
    folded = printed("torchvision:resnet18", "--input", "32")
    assert "as layer1.0" in folded
    assert len(folded.splitlines()) < len(printed("torchvision:resnet18", "--input", "32", "--no-fold").splitlines())
    layers = json.loads(printed("torchvision:resnet18", "--input", "32", "--json"))["layers"]
    assert not any(layer["type"].startswith("as ") for layer in layers), "JSON has every layer unless asked"


def test_a_pager_on_a_terminal_where_the_table_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """None if it fits, and none if the output is not a terminal."""
    from rich.console import Console

    paged: list[str] = []
    monkeypatch.setattr("rich.pager.SystemPager.show", lambda self, content: paged.append(content))
    for height, expected in ((10, 1), (100, 0)):
        terminal = Console(file=io.StringIO(), force_terminal=True, width=90, height=height, color_system=None)
        monkeypatch.setattr("cnncli.cli.render.table.out", lambda terminal=terminal: terminal)
        show_inspection(cnncli.inspect("lenet5"), wide=False, tree=True)
        assert len(paged) == expected
        assert ("logits1" in paged.pop()) if expected else ("logits1" in terminal.file.getvalue())  # type: ignore[attr-defined]
    monkeypatch.setattr("cnncli.cli.render.table.out", lambda: Console(file=io.StringIO(), width=90, height=10))
    show_inspection(cnncli.inspect("lenet5"), wide=False, tree=True)
    assert paged == []
