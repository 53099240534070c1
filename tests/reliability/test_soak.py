"""Thousands of epochs: memory, open files, the event file and the time of an epoch do not grow."""

import json
import os
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from PIL import Image

from cnncli.training.run_directory import RunDirectory
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import program_in_child, runs_in, tiny_config

# 18 images for training in batches of 9, and 6 for validation.
SMALL = """\
name: soak
data: {name: image-folder, path: FOLDER, channels: 1, size: 8, validation: 6}
model: {layers: [{conv: {out_channels: 4, kernel_size: 3, activation: relu}}, {max_pool: 2}, flatten, logits]}
train: {epochs: 100, batch_size: 9, optimizer: {adamw: {lr: 1e-3}}}
log: {probes: 1}
"""


class Measured(NamedTuple):
    """The process at the end of an epoch: bytes of memory, open files, bytes of the event file, CPU seconds."""

    memory: int
    files: int
    events: int
    seconds: float


def measure(run: Path) -> Measured:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    events = sum(path.stat().st_size for path in run.glob("events.out.tfevents.*"))
    files = len([*Path("/proc/self/fd").iterdir()])
    return Measured(pages * os.sysconf("SC_PAGE_SIZE"), files, events, time.process_time())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("epochs", [40, pytest.param(5_000, marks=pytest.mark.slow)])
def test_nothing_grows(epochs: int, tmp_path: Path, outcomes: Outcomes) -> None:
    images = tmp_path / "images"
    for number in range(30):
        path = images / ("train", "test")[number % 5 == 4] / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 8).save(path)
    config = tiny_config(tmp_path, f"train.epochs={epochs}", text=SMALL.replace("FOLDER", str(images)))
    parts = 20
    log = tmp_path / "measured.jsonl"

    def attack() -> None:
        append = RunDirectory.append_metrics

        def appended(run: RunDirectory, record: dict[str, int]) -> None:
            append(run, record)
            if record["epoch"] % (epochs // parts) == 0:
                with log.open("a") as file:
                    file.write(json.dumps(measure(run.path)) + "\n")

        RunDirectory.append_metrics = appended  # type: ignore[method-assign, assignment]

    out = tmp_path / "runs"
    out.mkdir()
    arguments = ("train", config, "--out", out, "--threads", 1, "--data-dir", tmp_path)
    ended = program_in_child(*arguments, folder=out, attack=attack, seconds=3600)
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    assert len(RunDirectory.open(run).metrics()) == epochs

    measured = [Measured(*json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(measured) == parts
    assert len({each.files for each in measured}) == 1
    memory = [each.memory for each in measured]
    jumps = sorted(after - before for before, after in pairwise(memory[parts // 2 - 1 :]))
    # The largest may be a table of Python's that doubles, such as that of interned file names: it does so once.
    assert sum(jumps[:-1]) < 2_000_000, memory
    assert jumps[-1] < 8_000_000, memory
    added = [after.events - before.events for before, after in pairwise(measured)]
    seconds = [after.seconds - before.seconds for before, after in pairwise(measured)]
    assert median(added[-5:]) <= 1.01 * median(added[5:10]), added  # pictures belong to few steps
    if epochs >= 1000:  # a few epochs take as long as the machine pleases
        assert median(seconds[-5:]) <= 1.5 * median(seconds[5:10]), seconds
    outcomes.add(f"{epochs:,} epochs", "nothing grows")
