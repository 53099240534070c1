"""Trainings that diverge and are rolled back, as a user runs them: files, messages, interruptions and resuming."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.experiment.tensorboard_log import TensorBoardLog
from cnncli.training.logged import Logged
from cnncli.training.step import Step
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import differences, program_in_child, resume_in_child, runs_in, tiny_config, train_in_child

# The loss overflows in the second epoch, at the steps 14, 15 and 16 of 27: three rollbacks.
HIGH = """\
name: high
data: {name: digits, size: 8, validation: 0.2}
model:
  layers: [{conv: {out_channels: 4, kernel_size: 3, activation: relu}}, {max_pool: 2}, flatten, {dropout: 0.1}, logits]
train: {epochs: 3, batch_size: 128, optimizer: {sgd: {lr: 30}}, schedule: {step: 2}, on_nan: rollback}
log: {probes: 1, steps: [1, 10, 12, 13, 15, 20]}
"""
ROLLED_BACK = "SIGKILL around a rollback"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_config(tmp_path_factory.mktemp("config"), text=HIGH)


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the training, which nothing has interrupted; for reading only."""
    out = tmp_path_factory.mktemp("whole")
    ended = train_in_child(config, out)
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    (out / "printed").write_text(ended.output)
    return run


def metrics_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_is_noted_everywhere(whole: Path) -> None:
    first, second, third = metrics_of(whole)
    assert first["rollbacks"] == third["rollbacks"] == []
    rollbacks = second["rollbacks"]
    assert isinstance(rollbacks, list)
    assert [(each["epoch"], each["restored"], each["factor"]) for each in rollbacks] == [
        (2, 9, 0.5),
        (2, 9, 0.25),
        (2, 9, 0.125),
    ]
    steps = [each["step"] for each in rollbacks]
    assert all(10 < step <= 18 for step in steps)
    # The schedule divides the learning rate by 10 after two epochs.
    rates = [each["learning_rate"] for each in (first, second, third)]
    assert rates == pytest.approx([30, 30 / 8, 3 / 8])
    printed = " ".join((whole.parent / "printed").read_text().split())
    for number, step in enumerate(steps, 1):
        assert f"training diverged at step {step} (epoch 2," in printed
        assert f"back to step 9 with half the learning rate (rollback {number} of at most 3)" in printed
    assert f"diverged at step {', '.join(map(str, steps))} and was rolled back each time" in printed
    assert json.loads((whole / "status.json").read_text()) == {"state": "complete"}


def test_files_hold_every_step_once(whole: Path) -> None:
    """Pictures of the steps 10, 12 and 13 were drawn up to four times; only those of the last time count."""
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
        EventAccumulator,
    )

    accumulated = EventAccumulator(str(whole), size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = accumulated.Tags()
    drawn = [0, 1, 10, 12, 13, 15, 20, 27]
    kernels = [each.step for each in accumulated.Images("kernels/01_conv1")]
    assert kernels == drawn
    for tag in tags["scalars"]:
        steps = [each.step for each in accumulated.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
    assert [each.step for each in accumulated.Scalars("loss/train")] == [9, 18, 27]
    rates = [each.value for each in accumulated.Scalars("training/learning_rate")]
    assert rates == pytest.approx([line["learning_rate"] for line in metrics_of(whole)])
    for folder in ("snapshots", "weights"):
        assert sorted(int(path.stem) for path in (whole / folder).iterdir()) == drawn


def signaled_in(step: int, count: int, number: int) -> Callable[[], None]:
    """An attack: a signal at the beginning of a step, when it is taken the `count`-th time."""

    def attack() -> None:
        take, taken = Step.take, [0]

        def take_after_signal(self: Step, *arguments: object) -> None:
            if self.training.step + 1 == step:
                taken[0] += 1
                if taken[0] == count:
                    os.kill(os.getpid(), number)
            take(self, *arguments)  # type: ignore[arg-type]  # passed on

        setattr(Step, "take", take_after_signal)  # noqa: B010  mypy allows no assignment to a method

    return attack


CASES = [(step, count) for step in (10, 11, 12, 13, 14) for count in (1, 2, 3, 4)] + [
    (15, 2),
    (16, 3),
    (18, 1),
    (22, 1),
]


def times_taken(run: Path, step: int) -> int:
    """How often a step is taken: once, and before in each attempt that has diverged at it or later."""
    rollbacks = metrics_of(run)[(step - 1) // 9]["rollbacks"]
    assert isinstance(rollbacks, list)
    return 1 + sum(1 for each in rollbacks if each["step"] >= step)


def sampled(*sample: tuple[int, int]) -> list[object]:
    return [pytest.param(*case, marks=() if case in sample else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(("step", "count"), sampled((10, 2)))
def test_killed_and_resumed(
    step: int, count: int, config: Path, whole: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The process dies before the `count`-th time, or the last one, that it takes a step."""
    count = min(count, times_taken(whole, step))  # where a training diverges depends on the processor
    ended = train_in_child(config, tmp_path, attack=signaled_in(step, count, signal.SIGKILL))
    assert ended.killed, ended.output
    (run,) = runs_in(tmp_path)
    ended = resume_in_child(run)
    assert ended.code == 0, ended.output
    assert differences(run, whole) == []
    outcomes.add(ROLLED_BACK, "resumed, same files")


@pytest.mark.parametrize(("step", "count"), sampled((12, 2)))
def test_stopped_and_resumed(
    step: int, count: int, config: Path, whole: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The checkpoint is of a step within the epoch; the training returns to the epoch's beginning nevertheless."""
    count = min(count, times_taken(whole, step))
    ended = train_in_child(config, tmp_path, attack=signaled_in(step, count, signal.SIGINT))
    assert ended.code == 130, ended.output
    (run,) = runs_in(tmp_path)
    ended = resume_in_child(run)
    assert ended.code == 0, ended.output
    assert differences(run, whole) == []
    outcomes.add("SIGINT around a rollback", "resumed, same files")


def killed_after_files_were_cut() -> None:
    """An attack: the process is killed when what was logged since the restore point has been deleted."""
    return_to = TensorBoardLog.return_to

    def return_and_die(self: TensorBoardLog, logged: Logged) -> None:
        return_to(self, logged)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(TensorBoardLog, "return_to", return_and_die)  # noqa: B010  mypy allows no assignment to a method


def test_killed_when_files_were_cut(config: Path, whole: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """The checkpoint was replaced before: that of a later step would not fit the event files."""
    ended = train_in_child(config, tmp_path, attack=killed_after_files_were_cut)
    assert ended.killed, ended.output
    (run,) = runs_in(tmp_path)
    ended = resume_in_child(run)
    assert ended.code == 0, ended.output
    assert differences(run, whole) == []
    outcomes.add(ROLLED_BACK, "resumed, same files")


def test_stop_and_then_rollback(config: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """By default the run fails; its last checkpoint is good, and it can be resumed with rollback from there."""
    ended = train_in_child(config, tmp_path, "--set", "train.on_nan=stop", "--set", "log.steps=[]")
    assert ended.code == 6, ended.output
    assert "set train.on_nan to rollback" in " ".join(ended.output.split())
    (run,) = runs_in(tmp_path)
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "failed"
    assert re.match(r"training diverged at step 14 \(epoch 2, learning rate 30\): .* is not finite", status["reason"])
    ended = resume_in_child(run, "--set", "train.on_nan=rollback")
    assert ended.code == 0, ended.output
    assert json.loads((run / "status.json").read_text())["state"] == "complete"
    outcomes.add("training that diverges", "ended, and resumed with rollback")


def test_too_often(config: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """The learning rate is so high that an eighth of it is too high as well; a resumed run fails in the same way."""
    ended = train_in_child(config, tmp_path, "--set", "train.optimizer.sgd.lr=3000")
    assert ended.code == 6, ended.output
    (run,) = runs_in(tmp_path)
    reason = json.loads((run / "status.json").read_text())["reason"]
    assert "after 3 rollbacks" in reason
    assert not (run / "results.json").exists()
    ended = resume_in_child(run)
    assert ended.code == 6, ended.output
    assert json.loads((run / "status.json").read_text())["reason"] == reason
    outcomes.add("training that diverges", "ended after three rollbacks")


def test_pictures_change_nothing(config: Path, whole: Path, tmp_path: Path) -> None:
    """Without pictures, the training never stops within an epoch."""
    ended = program_in_child(
        *("train", config, "--out", tmp_path, "--threads", 1, "--set", "log.images=0", "--json"), folder=tmp_path
    )
    assert ended.code == 0, ended.output
    (run,) = runs_in(tmp_path)
    changed = differences(run, whole)
    assert not [line for line in changed if line.startswith(("checkpoints", "metrics", "results"))]
    printed = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    assert [line["rollbacks"] for line in printed] == [line["rollbacks"] for line in metrics_of(whole)]
