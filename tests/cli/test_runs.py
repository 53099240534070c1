"""`cnncli runs` as its users meet it."""

import json
import shutil
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.console import Console

from cnncli.cli.render import runs as render_runs
from cnncli.cli.render import table as render_table
from cnncli.runs.details import read_details
from cnncli.runs.summary import summarize_all

Cnncli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A folder with three copies of a run: complete, without checkpoints, and damaged."""
    folder = tmp_path / "runs"
    for name in ("tiny-20260131-120000", "tiny-20260131-130000", "odd [red]name"):
        shutil.copytree(trained, folder / name)
    early = folder / "tiny-20260131-130000"
    shutil.rmtree(early / "checkpoints")
    (early / "status.json").write_text('{"state": "interrupted"}')
    (folder / "odd [red]name" / "status.json").write_text("{")
    return folder


def test_the_list_is_the_default(runs: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("runs")
    assert (code, err) == (0, "")
    assert run_cnncli("runs", "list")[1] == run_cnncli("runs", runs.name)[1] == out
    heading, _, *rows = out.splitlines()
    assert heading.split()[:4] == ["run", "status", "config", "data"]
    assert [row.split("  ")[0] for row in rows[:3]] == ["odd [red]name", "tiny-20260131-120000", "tiny-20260131-130000"]
    results = json.loads((runs / "tiny-20260131-120000" / "results.json").read_text())
    assert f"{results['test']['accuracy']:.2%}" in rows[1]
    assert "status.json" in rows[-1]


def test_the_list_as_json(runs: Path, run_cnncli: Cnncli) -> None:
    code, out, _ = run_cnncli("runs", "--json", "--sort", "name", "--reverse")
    first, second, third = json.loads(out)
    assert code == 0
    assert [first["status"], second["status"], third["status"]] == ["interrupted", "complete", "damaged"]
    metrics = [json.loads(line) for line in (runs / second["name"] / "metrics.jsonl").read_text().splitlines()]
    assert second["curve"] == [epoch["val"]["accuracy"] for epoch in metrics]
    assert second["val_accuracy"] == max(second["curve"])
    assert second["accuracy"] == json.loads((runs / second["name"] / "results.json").read_text())["test"]["accuracy"]
    assert (first["params"], third["params"], first["problems"]) == (None, second["params"], [])


def test_filters(runs: Path, run_cnncli: Cnncli) -> None:
    def names(*arguments: str) -> list[str]:
        return [each["name"] for each in json.loads(run_cnncli("runs", "--json", "--sort", "name", *arguments)[1])]

    assert names("--status", "complete", "--status", "interrupted") == ["tiny-20260131-120000", "tiny-20260131-130000"]
    assert names("--filter", "name=tiny*", "--filter", "params>1") == ["tiny-20260131-120000"]
    assert names("--filter", "data!=digits") == []
    code, out, err = run_cnncli("runs", "--filter", "data!=digits")
    assert (code, out) == (0, "")
    assert "none of the 3 runs" in err


def test_wrong_arguments(runs: Path, run_cnncli: Cnncli) -> None:
    for arguments, code, message in [
        (("lst",), 2, "Did you mean list"),
        (("--sort", "acc"), 2, "runs have no acc"),
        (("--filter", "x"), 2, "not a condition"),
        (("--status", "done"), 2, "unknown state"),
        (("nowhere",), 5, "no such folder"),
        (("show", "nowhere"), 5, "does not exist"),
        (("prune", "--only", "x"), 2, "unknown part"),
        (("prune", "--older-than", "x"), 2, "not a time"),
    ]:
        actual, out, err = run_cnncli("runs", *arguments)
        assert (actual, out) == (code, ""), arguments
        assert message in err


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_the_list_fits_into_the_terminal(width: int, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    for module in (render_runs, render_table):
        monkeypatch.setattr(module, "out", lambda: Console(file=written, width=width, color_system=None))
    render_runs.show_runs(summarize_all(runs))
    heading, line, *rows = written.getvalue().splitlines()[:5]
    assert max(map(len, (heading, line, *rows))) <= width
    assert {"run", "status", "test"} <= set(heading.split()) or width < 40
    assert ("started" in heading) == (width >= 120)
    assert [row[:3] for row in rows] == ["odd", "tin", "tin"]


def test_an_output_without_unicode(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    file = TextIOWrapper(written, encoding="ascii", write_through=True)  # raises on any other character
    for module in (render_runs, render_table):
        monkeypatch.setattr(module, "out", lambda: Console(file=file, width=80, color_system=None))
    (runs / "odd [red]name").rename(runs / "größe")
    render_runs.show_runs(summarize_all(runs))
    render_runs.show_run(read_details(runs / "tiny-20260131-120000", data_dir=runs))
    text = written.getvalue().decode("ascii")
    assert "gr??e" in text
    assert "-----" in text
    assert "t train  v val" in text


def test_show(runs: Path, run_cnncli: Cnncli) -> None:
    run = runs / "tiny-20260131-120000"
    code, out, err = run_cnncli("runs", "show", run)
    assert (code, err) == (0, "")
    metadata = json.loads((run / "metadata.json").read_text())
    results = json.loads((run / "results.json").read_text())
    for part in (metadata["versions"]["torch"], metadata["platform"], *metadata["data"].values(), "adamw with lr 0.01"):
        assert part in out
    for split in ("train", "val", "test"):
        assert f"{results[split]['loss']:.4f}" in out
    assert all(f"{accuracy:.2%}" in out for accuracy in results["test"]["per_class"].values())
    assert "epoch 1" in out
    for file in run.rglob("*"):
        assert file.is_dir() or file.relative_to(run).as_posix() in out


def test_show_as_json(runs: Path, run_cnncli: Cnncli) -> None:
    run = runs / "tiny-20260131-120000"
    record = json.loads(run_cnncli("runs", "show", run, "--json")[1])
    assert record["results"] == json.loads((run / "results.json").read_text())
    assert record["metadata"] == json.loads((run / "metadata.json").read_text())
    assert record["files"]["results.json"] == (run / "results.json").stat().st_size
    assert record["settings"]["train"]["optimizer"]["adamw"]["lr"] == 0.01
    assert len(record["metrics"]) == 3
    assert record["network"]["params"] == record["params"]


@pytest.mark.parametrize("content", [b"\xff{\n", b'{"test": {"loss": NaN}}\n', b"[1, [2]]\n"])
@pytest.mark.parametrize("file", ["metadata.json", "results.json", "resolved.yaml", "metrics.jsonl"])
def test_a_damaged_run_is_shown_as_far_as_it_can_be_read(
    file: str, content: bytes, runs: Path, run_cnncli: Cnncli
) -> None:
    run = runs / "tiny-20260131-120000"
    (run / file).write_bytes(content)
    code, out, _ = run_cnncli("runs", "show", run)
    assert code == 0
    assert f"{run / file}" in out[out.index("problem: ") :]
    json.loads(run_cnncli("runs", "show", run, "--json")[1])


@pytest.mark.parametrize("value", ["text", [1], None])
def test_values_of_other_types_do_not_end_in_a_traceback(value: object, runs: Path, run_cnncli: Cnncli) -> None:
    run = runs / "tiny-20260131-120000"
    metadata = json.loads((run / "metadata.json").read_text())
    (run / "metadata.json").write_text(json.dumps(dict.fromkeys(metadata, value)))
    for path in (["epoch"], ["test", "accuracy"], ["val", "per_class"], ["test"]):
        results = json.loads((run / "results.json").read_text())
        inside = results[path[0]] if len(path) > 1 else results
        inside[path[-1]] = value
        (run / "results.json").write_text(json.dumps(results))
        render_runs.show_run(read_details(run, data_dir=runs))
    assert run_cnncli("runs", "compare", run, run)[0] == run_cnncli("runs", "--json")[0] == 0


def test_a_name_with_control_characters(runs: Path, run_cnncli: Cnncli) -> None:
    (runs / "odd [red]name").rename(runs / "odd\x1b[31mname")
    _, out, _ = run_cnncli("runs")
    assert "odd\\x1b[31mname" in out
    assert "\x1b" not in out


def test_prune_deletes_only_when_asked_to(runs: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("runs", "prune")
    assert code == 0
    assert "tiny-20260131-130000" in out
    assert "nothing has been deleted" in err
    assert len(list(runs.iterdir())) == 3
    plan = json.loads(run_cnncli("runs", "prune", "--json")[1])
    assert plan["deleted"] is False
    assert plan["size"] == sum(
        file.stat().st_size for file in (runs / "tiny-20260131-130000").rglob("*") if file.is_file()
    )
    code, out, err = run_cnncli("runs", "prune", "--yes")
    assert (code, err) == (0, "")
    assert sorted(each.name for each in runs.iterdir()) == ["odd [red]name", "tiny-20260131-120000"]
    assert run_cnncli("runs", "prune")[1:] == ("", "nothing to delete in runs\n")
