"""Files to which a run appends: damaged ones are refused by name, and a resumed run continues the others."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnncli.runs.verify import verify_run
from cnncli.training.step import Step
from tests.reliability.conftest import Outcomes
from tests.reliability.kill import kill_before
from tests.reliability.runs import differences, program_in_child, resume_in_child, runs_in, tiny_config, train_in_child

ONE_MORE = ("--set", "train.epochs=4")


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of three epochs, for reading only."""
    out = tmp_path_factory.mktemp("complete")
    ended = train_in_child(tiny_config(out, "train.epochs=3", "log.images=0"), out / "runs")
    assert ended.code == 0, ended.output
    (run,) = runs_in(out / "runs")
    return run


def without_line(content: bytes, number: int) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[: number - 1], *lines[number:]])


def doubled(content: bytes, number: int) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:number], lines[number - 1], *lines[number:]])


def with_digit_changed(content: bytes, key: bytes, line: int) -> bytes:
    """The first digit behind a key of a line is another one."""
    lines = content.splitlines(keepends=True)
    start = lines[line - 1].index(key) + len(key) + len(b'": ')
    digit = lines[line - 1][start : start + 1]
    lines[line - 1] = lines[line - 1][:start] + (b"1" if digit != b"1" else b"2") + lines[line - 1][start + 1 :]
    return b"".join(lines)


METRICS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "emptied": (lambda content: b"", "it has 0 bytes, but it had"),
    "shortened by a line": (lambda content: without_line(content, 3), "bytes, but it had"),
    "shortened within a line": (lambda content: content[:-9], "bytes, but it had"),
    "a line is missing": (lambda content: without_line(content, 2), "line 2: it is epoch 3"),
    "a line is doubled": (lambda content: doubled(content, 1), "line 2: it is epoch 1"),
    "not JSON": (lambda content: content.replace(b'"epoch": 2', b'"epoch" 2'), "line 2: it is not JSON"),
    "binary": (lambda content: bytes(range(256)) * 9, "line 1: it is not JSON"),
    "another loss": (lambda content: with_digit_changed(content, b"loss", 2), "line 2, epoch 2: loss/train is"),
    "other seconds": (lambda content: with_digit_changed(content, b"seconds", 2), "have changed since the checkpoint"),
}


@pytest.mark.parametrize("damage", METRICS)
def test_damaged_metrics_are_refused_by_name(damage: str, complete: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    change, message = METRICS[damage]
    run = tmp_path / "run"
    shutil.copytree(complete, run)
    file = run / "metrics.jsonl"
    file.write_bytes(change(file.read_bytes()))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    ended = resume_in_child(run, *ONE_MORE)
    assert ended.code == 5, ended.output
    assert str(file) in ended.output
    assert message in ended.output
    assert {path: path.read_bytes() for path in before} == before, "nothing may be changed"
    assert any(
        check.outcome == "problem" and check.subject == "metrics.jsonl" for check in verify_run(run, data_dir=tmp_path)
    )
    outcomes.add("damaged metrics.jsonl, resumed", "refused, names the file and what is wrong")


@pytest.mark.parametrize("damage", ["shortened", "a bit changed", "deleted"])
def test_damaged_event_files_are_refused_by_name(
    damage: str, complete: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """A deleted one is a decision of the user: the run is resumed without it, with a message."""
    run = tmp_path / "run"
    shutil.copytree(complete, run)
    (file,) = run.glob("events.out.tfevents.*")
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(content if damage == "a bit changed" else content[: len(content) // 3])
    problems = [each.subject for each in verify_run(run, data_dir=tmp_path) if each.outcome == "problem"]
    assert file.name in problems
    ended = resume_in_child(run, *ONE_MORE)
    assert str(file) in ended.output
    assert ended.code == (0 if damage == "deleted" else 5), ended.output
    what = "resumed without it, with a message" if damage == "deleted" else "refused, names the file"
    outcomes.add("damaged event file, resumed", what)


def interrupted_after(step: int) -> Callable[[], None]:
    """Ctrl-C after a step of the process."""

    def attack() -> None:
        take: Any = Step.take

        def interrupting(self: Step, *arguments: object) -> None:
            take(self, *arguments)
            if self.training.step == step:
                os.kill(os.getpid(), signal.SIGINT)

        setattr(Step, "take", interrupting)  # noqa: B010  mypy refuses to assign to a method

    return attack


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)])
def test_ctrl_c_changes_no_file(step: int, tmp_path: Path, outcomes: Outcomes) -> None:
    """Step 3 is the last of an epoch: the histograms of its gradients are written by the process that resumes."""
    config = tiny_config(tmp_path, "log.steps=[1]")
    ended = train_in_child(config, tmp_path / "reference")
    assert ended.code == 0, ended.output
    ended = train_in_child(config, tmp_path / "stopped", attack=interrupted_after(step))
    assert ended.code == 130, ended.output
    (run,), (reference,) = (runs_in(tmp_path / name) for name in ("stopped", "reference"))
    assert resume_in_child(run).code == 0
    assert differences(run, reference) == []
    outcomes.add("SIGINT after a step", "resumed, same files")


def set_clock_back() -> None:
    """By a day, for this process."""
    now = time.time
    time.time = lambda: now() - 86_400


def test_the_clock_set_back_a_day_changes_no_order(complete: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """Compared with the same extension while the clock runs on; `differences` checks that times do not decrease."""
    runs = [tmp_path / name for name in ("right", "back")]
    for run, attack in zip(runs, (None, set_clock_back), strict=True):
        shutil.copytree(complete, run)
        ended = resume_in_child(run, *ONE_MORE, attack=attack)
        assert ended.code == 0, ended.output
    assert differences(runs[1], runs[0]) == []
    outcomes.add("clock set back a day before a resume", "same files")


@pytest.mark.parametrize(
    "number", [37, *(pytest.param(each, marks=pytest.mark.slow) for each in range(32, 60, 4))]
)  # operation 31 gives the run its status; its first checkpoint comes after about 70
def test_a_run_without_a_checkpoint_begins_again(number: int, tmp_path: Path, outcomes: Outcomes) -> None:
    config = tiny_config(tmp_path, "log.images=0", "train.epochs=1")
    assert train_in_child(config, tmp_path / "reference").code == 0
    ended = train_in_child(config, tmp_path / "killed", attack=kill_before(number, tmp_path / "killed"))
    assert ended.killed
    (run,) = runs_in(tmp_path / "killed")
    ended = resume_in_child(run)
    assert ended.code == 0, ended.output
    assert f"{run} has no checkpoint yet: training begins again in it" in ended.output
    assert differences(run, runs_in(tmp_path / "reference")[0]) == []
    outcomes.add("SIGKILL before the first checkpoint", "began again, same files")


def test_a_run_whose_checkpoints_were_deleted_does_not_begin_again(complete: Path, tmp_path: Path) -> None:
    """Its metrics say that it has been trained: they would be lost."""
    run = tmp_path / "run"
    shutil.copytree(complete, run)
    shutil.rmtree(run / "checkpoints")
    (run / "status.json").write_text('{"state": "interrupted"}')
    ended = program_in_child("train", "--resume", run, folder=tmp_path)
    assert ended.code == 5
    assert "no checkpoint in" in ended.output
    assert (run / "metrics.jsonl").read_bytes() == (complete / "metrics.jsonl").read_bytes()
