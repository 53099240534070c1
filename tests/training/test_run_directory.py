"""Run directories: creation, status after crashes, metrics and the lock."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cnncli.errors import DiskError, RunError
from cnncli.files import replace_json
from cnncli.training.run_directory import RunDirectory, Status

NOON = datetime(2025, 3, 1, 12, 0, 5)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "runs", "lenet5", NOON)
    run.set_status("running")
    return run


def line(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "step": epoch * 10, "train": {"loss": 1 / 3, "accuracy": 0.5}, "val": None}


def test_names_and_places(run: RunDirectory, tmp_path: Path) -> None:
    assert run.path == tmp_path / "runs" / "lenet5-20250301-120005"
    assert run.last == run.path / "checkpoints" / "last"
    assert run.best == run.path / "checkpoints" / "best"


def test_two_runs_in_one_second(run: RunDirectory, tmp_path: Path) -> None:
    names = [RunDirectory.create(tmp_path / "runs", "lenet5", NOON).path.name for _ in range(2)]
    assert names == ["lenet5-20250301-120005-2", "lenet5-20250301-120005-3"]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DiskError, match="cannot be written") as caught:
        RunDirectory.create(tmp_path / "runs", "lenet5", NOON)
    assert "--out" in str(caught.value.remedy)


def test_texts_are_stored_unchanged(run: RunDirectory) -> None:
    run.keep_config("name: größe  # as given\r\n")
    run.keep_config("name: other\n")  # the run has one
    run.write_resolved("name: größe\n")
    run.write_metadata({"versions": {"torch": "2"}})
    assert (run.path / "config.yaml").read_bytes() == "name: größe  # as given\r\n".encode()
    assert run.resolved.read_text(encoding="utf-8") == "name: größe\n"
    assert json.loads((run.path / "metadata.json").read_text()) == {"versions": {"torch": "2"}}


def test_a_run_whose_process_has_died_is_interrupted(run: RunDirectory) -> None:
    with run.lock():
        assert run.status() == Status("running")
    assert run.status().state == "interrupted"


def test_the_status_is_stored(run: RunDirectory) -> None:
    run.set_status("failed", "training diverged")
    assert run.status() == Status("failed", "training diverged")
    run.set_status("interrupted")
    assert run.status() == Status("interrupted")


def test_a_run_is_complete_only_with_its_results(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="not complete"):
        run.results()
    run.finish({"test": {"accuracy": 0.9}})
    assert run.status() == Status("complete")
    assert run.results() == {"test": {"accuracy": 0.9}}
    run.set_status("running")
    assert not (run.path / "results.json").exists()


@pytest.mark.parametrize("dies_at", ["results.json", "status.json"])
def test_a_crash_before_the_status_is_written(dies_at: str, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(path: Path, value: dict[str, Any]) -> None:
        if path.name == dies_at:
            raise KeyboardInterrupt
        replace_json(path, value)

    monkeypatch.setattr("cnncli.training.run_directory.replace_json", dying)
    with pytest.raises(KeyboardInterrupt):
        run.finish({})
    assert run.status().state == "interrupted"


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_replacing_a_file_leaves_the_old_one(
    owner: Any,
    name: str,
    run: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run.set_status("failed", "first")

    def dying(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(KeyboardInterrupt):
        run.set_status("failed", "second")
    assert run.status() == Status("failed", "first")


def test_metrics_are_one_line_per_epoch(run: RunDirectory) -> None:
    run.append_metrics(line(1))
    run.append_metrics(line(2))
    text = (run.path / "metrics.jsonl").read_text()
    assert text.count("\n") == 2
    assert text.startswith('{"epoch": 1, "step": 10, "train": {"loss": 0.3333333333333333, "accuracy": 0.5}')
    assert run.metrics() == [line(1), line(2)]


def test_metrics_are_cut_where_they_were(run: RunDirectory) -> None:
    extents = [run.metrics_extent()]
    for epoch in (1, 2, 3):
        run.append_metrics(line(epoch))
        extents.append(run.metrics_extent())
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # the power went
    assert len(run.metrics()) == 3
    for epoch in (3, 2, 0):
        assert extents[epoch].is_beginning_of(run.metrics_file)
        assert extents[epoch].cut(run.metrics_file)
        assert run.metrics() == [line(each + 1) for each in range(epoch)]
        assert not extents[epoch].cut(run.metrics_file)
    assert not extents[1].is_beginning_of(run.metrics_file)


def test_no_metrics_yet(run: RunDirectory) -> None:
    assert run.metrics() == []
    assert run.metrics_extent().size == 0


def test_a_damaged_line_is_an_error(run: RunDirectory) -> None:
    (run.path / "metrics.jsonl").write_text('{"epoch": 1\n{"epoch": 2}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl: a line is not JSON"):
        run.metrics()


def test_the_error_for_a_wrong_path_names_runs_near_it(run: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    other = RunDirectory.create(out, "vgg", NOON).path
    RunDirectory(other).set_status("running")
    assert RunDirectory.open(run.path) == run
    for path, what, near in [
        (out, "not a run directory", {str(run.path), str(other)}),
        (out / "lenet5-20250301-120006", "does not exist", {str(run.path)}),
        (run.last, "does not exist", {str(run.path)}),
    ]:
        with pytest.raises(RunError, match=what) as caught:
            RunDirectory.open(path)
        heading, *lines = str(caught.value.remedy).splitlines()
        assert heading == "Runs near it:"
        assert {each.strip() for each in lines} >= near
    with pytest.raises(RunError) as caught:
        RunDirectory.open(tmp_path / "elsewhere" / "x")
    assert caught.value.remedy == "There are no runs near it."


def holder(process: int) -> str:
    """How the error names the process, if the system lets others read a locked file."""
    return "in use by another process" if os.name == "nt" else f"in use by process {process}"


def test_only_one_process_holds_the_lock(run: RunDirectory) -> None:
    with run.lock(), pytest.raises(RunError, match=holder(os.getpid())), run.lock():
        pass
    with run.lock():
        pass


def test_the_lock_of_a_killed_process_is_released(run: RunDirectory) -> None:
    program = (
        "import os, sys; from pathlib import Path; from cnncli.training.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert run.status() == Status("running")
        with pytest.raises(RunError, match=holder(process.pid)), run.lock():
            pass
        process.kill()
        process.wait()
    assert (run.path / "lock").exists()
    with run.lock():
        assert run.status() == Status("running")


def test_a_missing_config_is_an_error_that_says_what_the_run_has(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"resolved\.yaml is missing$"):
        run.find_config()
    run.append_metrics({"epoch": 1})
    with pytest.raises(RunError, match=r"resolved\.yaml is missing, and so are the checkpoints"):
        run.find_config()
    run.best.mkdir(parents=True)
    with pytest.raises(RunError, match=r"resolved\.yaml is missing$") as caught:
        run.find_config()
    assert f"cnncli train CFG --resume {run.path}" in str(caught.value.remedy)
    run.write_resolved("name: x\n")
    assert run.find_config() == run.resolved


def test_run_directories_are_read_without_torch() -> None:
    program = "import sys, cnncli.training.run_directory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
