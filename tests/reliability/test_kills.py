"""Runs that are killed before any operation on their files, and resumed: every file is that of an uninterrupted run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from cnncli.config.config import read_config
from cnncli.sweep.limits import costs_of
from cnncli.sweep.trial import Place, Task, train_trial
from tests.reliability.conftest import Outcomes
from tests.reliability.kill import Attack, kill_before, list_operations
from tests.reliability.runs import (
    differences,
    program_in_child,
    resume_in_child,
    runs_in,
    tiny_config,
    train_in_child,
)

SETTINGS = {
    "adamw": (),
    "sgd, no pictures": ("train.optimizer={sgd: {lr: 0.1, nesterov: true}}", "log.images=0", "train.clip_norm=1"),
    "ema, augmentation": ("train.ema=0.9", "data.augment={shift: 1, rotate: 10, noise: 0.1}"),
    "batch norm, dropout": (
        "model.layers=[{conv: {out_channels: 2, kernel_size: 3, norm: batch, activation: relu}}, {dropout2d: 0.2}, "
        "{max_pool: 2}, flatten, {dropout: 0.3}, logits]",
    ),
    "early stopping": (
        *("train.epochs=9", "train.early_stopping={patience: 1}", "train.optimizer={adamw: {lr: 1e-12}}"),
        "log.steps=[1]",
    ),
    "small budget": ("log.budget=0.012",),
    "image folder": ("data={name: image-folder, path: pictures, size: 8, channels: 1, validation: 0.25, test: 0.25}",),
}
"""What may be different after a resume, each in a short run."""


@dataclass(frozen=True)
class Trained:
    """A run that was not interrupted, and its operations on files in their order."""

    folder: Path
    config: Path
    options: tuple[str, ...]
    run: Path
    operations: tuple[str, ...]


def trained(folder: Path, *assignments: str, options: tuple[str, ...] = ()) -> Trained:
    if any("pictures" in each for each in assignments):
        draw_pictures(folder / "pictures")
    config, out, file = tiny_config(folder, *assignments), folder / "reference", folder / "operations.txt"
    ended = train_in_child(config, out, *options, attack=list_operations(out, file))
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    return Trained(folder, config, options, run, tuple(file.read_text(encoding="utf-8").splitlines()))


def draw_pictures(folder: Path) -> None:
    for label, shade in (("dark", 20), ("light", 120)):
        (folder / label).mkdir(parents=True)
        for i in range(40):
            Image.new("L", (8, 8), shade + i).save(folder / label / f"{i}.png")


@pytest.fixture(scope="module")
def adamw(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("adamw"))


def kill_and_resume(reference: Trained, number: int, *, torn: bool = False, second: int = 0) -> str:
    """The outcome of a kill before an operation, and of a second one in the resumed process."""
    operation = f"operation {number}, {reference.operations[number - 1]}"
    out = reference.folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    ended = train_in_child(reference.config, out, *reference.options, attack=kill_before(number, out, torn=torn))
    assert ended.killed, f"{operation}: {ended}"
    if not runs_in(out):
        assert not [*out.rglob("events*"), *out.rglob("metrics*"), *out.rglob("checkpoints")], operation
        return "no run yet, nothing trained"
    (run,) = runs_in(out)
    if second:
        ended = resume_in_child(run, *reference.options, attack=kill_before(second, out))
        assert ended.killed or ended.code == 0, f"{operation}: {ended}"
    ended = resume_in_child(run, *reference.options)
    if "is complete" in ended.output:
        outcome = "had been complete"
    else:
        assert ended.code == 0, f"{operation}: {ended.output}"
        outcome = "began again" if "training begins again" in ended.output else "resumed"
    assert differences(run, reference.run) == [], operation
    return f"{outcome}, same files"


def moments(operations: tuple[str, ...]) -> dict[str, int]:
    """Numbers of operations before which a kill once left event files that were wrong."""
    found: dict[str, int] = {}
    swaps = [i for i, name in enumerate(operations, 1) if name.startswith("os.rename") and name.endswith("last.new")]
    metrics = [i for i, name in enumerate(operations, 1) if name.startswith("open") and name.endswith("metrics.jsonl")]
    last = metrics[-1]
    found["between a picture's checkpoint and the metrics"] = last
    found["between the metrics and the swap of the checkpoint"] = next(i for i in swaps if i > last)
    found["between the last and the best checkpoint"] = next(
        i for i, name in enumerate(operations, 1) if i > last and name.endswith("best.new")
    )
    found["between the test scores and the results"] = next(
        i for i, name in enumerate(operations, 1) if ".results.json" in name and name.startswith("open")
    )
    return found


def test_the_moments_at_which_event_files_were_once_wrong(adamw: Trained, outcomes: Outcomes) -> None:
    numbers = moments(adamw.operations)
    for when, number in numbers.items():
        outcome = kill_and_resume(adamw, number, torn=when.endswith("metrics"))
        assert outcome == "resumed, same files"
        outcomes.add(f"SIGKILL {when}", outcome)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_sigkill_before_every_operation(part: int, adamw: Trained, outcomes: Outcomes) -> None:
    for number in range(1 + part, len(adamw.operations) + 1, 4):
        outcomes.add("SIGKILL before each file operation", kill_and_resume(adamw, number))


@pytest.mark.slow
def test_sigkill_in_the_middle_of_a_write(adamw: Trained, outcomes: Outcomes) -> None:
    for number, name in enumerate(adamw.operations, 1):
        if name == "write" and number % 2:
            outcomes.add("SIGKILL in the middle of a write", kill_and_resume(adamw, number, torn=True))


@pytest.mark.slow
def test_a_second_sigkill_while_the_run_is_resumed(adamw: Trained, outcomes: Outcomes) -> None:
    for number in range(31, len(adamw.operations), 9):
        outcomes.add(
            "second SIGKILL while the run is resumed", kill_and_resume(adamw, number, second=1 + number * 7 % 60)
        )


@pytest.mark.slow
@pytest.mark.parametrize("setting", [each for each in SETTINGS if each != "adamw"])
def test_sigkill_with_other_settings(setting: str, tmp_path: Path, outcomes: Outcomes) -> None:
    reference = trained(tmp_path, *SETTINGS[setting], options=("--data-dir", str(tmp_path)))
    for number in sample(len(reference.operations), 30):
        outcomes.add(f"SIGKILL: {setting}", kill_and_resume(reference, number))


@pytest.mark.slow
def test_sigkill_while_the_playground_is_served(tmp_path: Path, outcomes: Outcomes) -> None:
    reference = trained(tmp_path, options=("--live",))
    for number in sample(len(reference.operations), 12):
        outcomes.add("SIGKILL: --live", kill_and_resume(reference, number))


def train_two(*arguments: object) -> subprocess.Popen[bytes]:
    """`torchrun` of `cnncli train` in two processes, which does not wait."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "cnncli", "train", "--device", "cpu", "--threads", "1", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_sigkill_of_one_of_two_processes(tmp_path: Path, outcomes: Outcomes) -> None:
    """The one that writes, as soon as a file is there."""
    config = tiny_config(tmp_path)
    assert train_two(config, "--out", tmp_path / "reference").wait() == 0
    (reference,) = runs_in(tmp_path / "reference")
    for number, file in enumerate(("snapshots/1.safetensors", "metrics.jsonl")):
        out = tmp_path / f"killed-{number}"
        with train_two(config, "--out", out) as training:
            while not list(out.glob(f"*/{file}")):
                assert training.poll() is None
                time.sleep(0.001)
            (run,) = runs_in(out)
            os.kill(int((run / "lock").read_text().split()[1]), signal.SIGKILL)
            assert training.wait() != 0
        assert train_two("--resume", run).wait() == 0
        assert differences(run, reference) == [], file
        outcomes.add("SIGKILL of one of two processes", "resumed, same files")


def train_trial_in(folder: Path, attack: Attack) -> Attack:
    """Instead of the program: the trial of a sweep, attacked."""

    def run() -> None:
        config = read_config(str(tiny_config(folder.parent)), data_dir=folder)
        task = Task(number=0, values={}, config=config, costs=costs_of(config.network))
        place = Place(folder=folder, data_dir=folder, device="cpu", threads=1, share=1, command=("cnncli", "sweep"))
        attack()
        for _ in train_trial(task, place, stop=lambda: False):
            pass
        raise SystemExit

    return run


@pytest.mark.slow
def test_sigkill_of_a_trial_of_a_sweep(tmp_path: Path, outcomes: Outcomes) -> None:
    """The sweep calls the same function again. A trial without a checkpoint starts in a new directory."""
    reference, file, killed = tmp_path / "reference", tmp_path / "operations.txt", tmp_path / "killed"
    reference.mkdir()
    attack = train_trial_in(reference, list_operations(reference, file))
    ended = program_in_child(folder=reference, attack=attack)
    assert ended.code == 0, ended.output
    for number in sample(len(file.read_text().splitlines()), 25):
        shutil.rmtree(killed, ignore_errors=True)
        killed.mkdir()
        attack = train_trial_in(killed, kill_before(number, killed))
        assert program_in_child(folder=killed, attack=attack).killed
        ended = program_in_child(folder=killed, attack=train_trial_in(killed, lambda: None))
        assert ended.code == 0, f"operation {number}: {ended.output}"
        assert differences(killed / "trial-000", reference / "trial-000") == [], f"operation {number}"
        outcomes.add("SIGKILL of a trial of a sweep", "resumed, same files")


def sample(count: int, most: int) -> Iterator[int]:
    """Numbers from 1 to `count`, at equal distances."""
    edges = [1 + round(i * count / most) for i in range(most + 1)]
    return (first + (after - first) // 2 for first, after in pairwise(edges))


def test_runs_are_equal_or_their_differences_have_names(adamw: Trained, tmp_path: Path) -> None:
    """The comparison that the attacks rely on."""
    ended = train_in_child(tiny_config(tmp_path, "train.seed=1"), tmp_path / "other")
    assert ended.code == 0, ended.output
    found = differences(runs_in(tmp_path / "other")[0], adamw.run)
    assert {"checkpoints/last/state.pt differs", "metrics.jsonl differs", "events: loss/train differs"} <= {*found}
    same = tmp_path / "same"
    shutil.copytree(adamw.run, same)
    assert differences(same, adamw.run) == []
    (same / "checkpoints" / "last.old").mkdir()
    (same / "checkpoints" / "last.old" / "state.pt").touch()
    next(same.glob("events.out.tfevents.*")).write_bytes(b"")
    found = differences(same, adamw.run)
    assert found[0] == "checkpoints/last.old/state.pt is left behind"
    assert "events: loss/train has steps [] instead of [3, 6]" in found
