"""Run directories: creation, status after crashes, metrics and the lock."""

import errno
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
from cnncli.training.run_lock import is_training

NOON = datetime(2025, 3, 1, 12, 0, 5)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "runs", "lenet5", NOON)
    run.set_status("running")
    return run


def line(epoch: int) -> dict[str, Any]:
    score = {"loss": 1 / 3, "accuracy": 0.5}
    return {"epoch": epoch, "step": epoch * 10, "train": score, "val": None, "seconds": 1.5}


def scores() -> dict[str, Any]:
    return {"loss": 0.5, "accuracy": 0.75, "per_class": {"0": 1, "1": None}}


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
    assert run.status() == Status("interrupted", "stopped without notice")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"{}", "state is missing"),
        (b'{"state": "sleeping"}', "state must be 'running', 'complete', 'interrupted' or 'failed'"),
        (b'{"state": Infinity}', "Infinity is not JSON"),
        (b'{"state": ["running"]}', "state must be"),
        (b'{"state": "failed", "reason": 5}', "reason must be a valid string"),
        (None, "Is a directory"),
    ],
)
def test_a_damaged_status(content: bytes | None, problem: str, run: RunDirectory) -> None:
    file = run.path / "status.json"
    file.unlink()
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(RunError) as caught:
        RunDirectory.open(run.path).status()
    assert str(file) in caught.value.message
    assert problem in caught.value.message
    assert f"cnncli train --resume {run.path}" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"data": 5}, "data must be a valid dictionary"),
        ({"threads": "4"}, "threads must be a valid integer"),
        ({"threads": 0}, "threads must be greater than or equal to 1"),
        ({"resumed": [{}]}, "resumed.0.versions is missing"),
        ({"command": "cnncli"}, "command must be a valid list"),
    ],
)
def test_damaged_metadata(change: dict[str, Any], problem: str, run: RunDirectory) -> None:
    versions = {"versions": {"torch": "2"}, "device": {"type": "cpu", "name": "x"}}
    metadata = versions | {"platform": "x", "threads": 1, "data": {}, "command": []}
    run.write_metadata(metadata)
    assert (run.metadata(), run.threads()) == (metadata, 1)
    run.write_metadata(metadata | change)
    with pytest.raises(RunError) as caught:
        run.metadata()
    assert caught.value.message == f"{run.path / 'metadata.json'}: {problem}"
    assert run.threads() is None


def test_damaged_results(run: RunDirectory) -> None:
    run.finish({"epoch": 2, "train": scores(), "test": {"loss": 0.5, "accuracy": 1.5, "per_class": {}}})
    with pytest.raises(RunError, match=r"results\.json: test\.accuracy must be less than or equal to 1"):
        run.results()


def test_the_status_is_stored(run: RunDirectory) -> None:
    run.set_status("failed", "training diverged")
    assert run.status() == Status("failed", "training diverged")
    run.set_status("interrupted")
    assert run.status() == Status("interrupted")


def test_a_run_is_complete_only_with_its_results(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="not complete"):
        run.results()
    results = {"epoch": 2, "train": scores(), "test": scores()}
    run.finish(results)
    assert run.status() == Status("complete")
    assert run.results() == results
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
    whole = [json.dumps(line(epoch)) for epoch in (1, 2, 3)]
    for lines, problem in (
        ([whole[0], '{"epoch": 2'], "line 2: it is not JSON"),
        ([whole[0], "{}"], "line 2: epoch is missing"),
        ([whole[0], "5"], "line 2: it must be a JSON object"),
        ([whole[0], "[" * 100_000], "line 2: it is nested too deeply"),
        ([whole[0], whole[2]], "line 2: it is epoch 3, not 2"),
        ([whole[0], whole[0]], "line 2: it is epoch 1, not 2"),
        ([whole[0], whole[1].replace("20", "10")], "line 2: step 10 is not after that of the epoch before"),
        ([whole[0].replace("0.5", "7")], "line 1: train.accuracy must be less than or equal to 1"),
        ([whole[0].replace("0.5", "NaN")], "line 1: NaN is not JSON"),
        ([whole[0].replace('"step": 10', '"step": "10"')], "line 1: step must be a valid integer"),
    ):
        (run.path / "metrics.jsonl").write_text("\n".join([*lines, ""]))
        with pytest.raises(RunError) as caught:
            run.metrics()
        assert caught.value.message.startswith(f"{run.path / 'metrics.jsonl'}: {problem}")
    (run.path / "metrics.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(RunError, match="line 1: it is not UTF-8 text"):
        run.metrics()
    (run.path / "metrics.jsonl").unlink()
    (run.path / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"cannot read .*metrics\.jsonl: Is a directory"):
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


@pytest.mark.skipif(sys.platform == "win32", reason="locks otherwise")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks(
    number: int, run: RunDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a warning, and the run is trained."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    with run.lock() as lock:
        lock.check()
        assert not is_training(run.path)
    assert "this disk has no file locks" in caplog.text


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


def test_a_deleted_lock_lets_no_other_process_in_and_is_noticed(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    with run.lock() as lock:
        lock.check()
        assert not caplog.records
        (run.path / "lock").unlink()
        assert run.status() == Status("running")
        with pytest.raises(RunError, match="in use by another process"), RunDirectory(run.path).lock():
            pass
        lock.check()
        assert "lock was deleted during the training: it is locked again" in caplog.text
        assert (run.path / "lock").read_text() == f"process {os.getpid()}\n"
        with pytest.raises(RunError, match=holder(os.getpid())), RunDirectory(run.path).lock():
            pass
        caplog.clear()
        lock.check()
        assert not caplog.records
    with run.lock():
        pass


def test_without_locks_of_directories_a_process_notices_that_another_has_taken_its_lock(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network disks."""
    monkeypatch.setattr("cnncli.training.run_lock._lock_directory", lambda path, exclusive: None)
    with run.lock() as lock:
        assert run.status() == Status("running")
        with pytest.raises(RunError, match=holder(os.getpid())), RunDirectory(run.path).lock():
            pass
        (run.path / "lock").unlink()
        with RunDirectory(run.path).lock(), pytest.raises(RunError, match="in use by"):
            lock.check()
    assert run.status() == Status("interrupted", "stopped without notice")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_that_is_renamed_during_the_training_is_noticed(replaced: bool, run: RunDirectory) -> None:
    with run.lock() as lock:
        run.path.rename(run.path.with_name("elsewhere"))
        if replaced:
            run.path.mkdir()
        with pytest.raises(DiskError, match="the folder of the run was removed or renamed") as caught:
            lock.check()
        assert "resume it there" in str(caught.value.remedy)
    assert not replaced or not list(run.path.iterdir())


def test_nothing_in_a_run_may_be_a_link(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(run.path)
    assert RunDirectory.open(tmp_path / "linked").path == tmp_path / "linked"
    (run.path / ".#status.json").symlink_to("of an editor")
    RunDirectory.open(run.path)
    victim = tmp_path / "victim"
    victim.write_text("text")
    (run.path / "show" / "kernels").mkdir(parents=True)
    for name, target in (("lock", victim), ("show/kernels/conv.png", victim), ("weights", tmp_path), ("x", "nowhere")):
        (run.path / name).symlink_to(target)
        with pytest.raises(RunError, match="is a symbolic link") as caught:
            RunDirectory.open(run.path)
        assert caught.value.message.startswith(str(run.path / name))
        if name == "lock":
            with pytest.raises(RunError, match="lock is a symbolic link"), run.lock():
                pass
        (run.path / name).unlink()
    assert victim.read_text() == "text"


def test_nothing_in_a_run_may_be_a_pipe(run: RunDirectory) -> None:
    """Whoever opens one waits until somebody writes to it."""
    (run.path / "show").mkdir()
    os.mkfifo(run.path / "show" / "log")
    with pytest.raises(RunError, match="show/log is neither a file nor a folder"):
        RunDirectory.open(run.path)


def test_folders_in_a_run_may_be_deep(run: RunDirectory) -> None:
    folder = run.path
    for _ in range(1200):
        folder = folder / "a"
        folder.mkdir()
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(RunError, match="a/link is a symbolic link"):
        RunDirectory.open(run.path)
    (folder / "link").unlink()
    while folder != run.path:  # pytest could not delete so many
        folder.rmdir()
        folder = folder.parent


def test_a_run_without_a_status_is_a_damaged_run(run: RunDirectory) -> None:
    (run.path / "status.json").unlink()
    with pytest.raises(RunError, match="not a run directory"):
        RunDirectory.open(run.path)
    run.write_resolved("name: x\n")
    run.append_metrics(line(1))
    with pytest.raises(RunError, match=r"cannot read .*status\.json: No such file"):
        RunDirectory.open(run.path).status()


def test_a_missing_config_is_an_error_that_says_what_the_run_has(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"resolved\.yaml is missing$"):
        run.find_config()
    run.append_metrics(line(1))
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
