"""A run that is stopped or killed and then resumed ends with the weights of an uninterrupted run."""

import json
import re
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cnncli.training.checkpoint import read_manifest
from cnncli.training.run_directory import RunDirectory
from tests.forked import Forked

Cnncli = Callable[..., tuple[int, str, str]]
Start = Callable[..., Forked]
ExitCodeOf = Callable[..., int]

RUNS = Path("my runs")
FLAGS = ("--threads", 1, "--data-dir", "my data", "--out", RUNS)
EPOCHS, STEPS = 3, 288  # an epoch has 1,150 images in batches of 4
# Everything a checkpoint must restore: moments, schedule, dropout, augmentation, moving average.
CONFIG = """\
name: long
data: {name: digits, size: 8, validation: 0.2, augment: {shift: 1, noise: 0.1}}
model:
  layers:
    [{conv: {out_channels: 4, kernel_size: 3}}, batch_norm, relu, {drop_path: 0.1}, flatten, {dropout: 0.2}, logits]
train: {epochs: 3, batch_size: 4, optimizer: {sgd: {lr: 1e-2, momentum: 0.9}}, schedule: one_cycle, ema: 0.99}
log: {images: 0, graph: false}
"""
# A step takes some seconds.
SLOW = """\
data: {name: digits, size: 8}
model:
  defaults: {conv: {kernel_size: 3, padding: same, activation: relu}}
  layers: [{repeat: {times: 16, layers: [{conv: 128}]}}, global_avg_pool, logits]
train: {epochs: 3, batch_size: 512}
log: {images: 0, graph: false}
"""


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "long.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def wait_for(condition: Callable[[], object], process: Forked) -> None:
    """Wait until a condition holds while a process runs, and a little longer."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
    time.sleep(0.2)


def is_past_an_epoch() -> bool:
    """Whether there is a checkpoint of the first epoch, or a later one."""
    return any(RUNS.glob("*/checkpoints/last/manifest.json"))


def metrics_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line | {"seconds": 0, "images_per_second": 0} for line in lines]


def only_run(out: Path = RUNS) -> Path:
    (run,) = out.iterdir()
    return run


def assert_same_result(run: Path, uninterrupted: Path) -> None:
    for which in ("last", "best"):
        ours = load_file(run / "checkpoints" / which / "weights.safetensors")
        theirs = load_file(uninterrupted / "checkpoints" / which / "weights.safetensors")
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert without_times(metrics_of(run)) == without_times(metrics_of(uninterrupted))
    assert json.loads((run / "results.json").read_bytes()) == json.loads((uninterrupted / "results.json").read_bytes())


@pytest.fixture(scope="module")
def uninterrupted(exit_code_of: ExitCodeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of the same config, for reading only."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "long.yaml").write_text(CONFIG, encoding="utf-8")
    assert exit_code_of("train", folder / "long.yaml", "--threads", 1, "--quiet", "--out", folder / "runs") == 0
    run = only_run(folder / "runs")
    assert [line["step"] for line in metrics_of(run)] == [STEPS * epoch for epoch in range(1, EPOCHS + 1)]
    return run


@pytest.mark.parametrize(
    ("number", "code"),
    # tests/reliability/test_signals.py sends SIGTERM to forked processes, at chosen moments
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_stopped_run_is_resumed(
    number: signal.Signals, code: int, config: Path, start_cnncli: Start, run_cnncli: Cnncli, uninterrupted: Path
) -> None:
    process = start_cnncli("train", config, *FLAGS)
    wait_for(is_past_an_epoch, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    run = RunDirectory.open(only_run())
    assert run.status().state == "interrupted"
    assert not (run.path / "results.json").exists()
    stopped_at = read_manifest(run.last)["step"]
    assert STEPS < stopped_at < EPOCHS * STEPS
    assert f"stopped at step {stopped_at};" in err
    assert run.path.joinpath("config.yaml").read_text() == CONFIG

    (command,) = re.findall(r"resume with: cnncli (.*)", err)
    arguments = shlex.split(command)
    assert arguments[:3] == ["train", "--resume", str(run.path)]
    assert {"--threads", "1", "--data-dir", "my data"} <= {*arguments}, "these options must be repeated"
    again, _, err = run_cnncli(*arguments)
    assert again == 0, err
    assert run.status().state == "complete"
    assert run.path.joinpath("config.yaml").read_text() == CONFIG, "unchanged"
    assert_same_result(run.path, uninterrupted)


@pytest.mark.slow  # tests/reliability/test_kills.py kills at chosen moments
def test_a_killed_run_is_resumed_from_its_last_epoch(
    config: Path, start_cnncli: Start, run_cnncli: Cnncli, uninterrupted: Path
) -> None:
    process = start_cnncli("train", config, *FLAGS)
    wait_for(is_past_an_epoch, process)
    process.kill()
    process.communicate(timeout=60)
    run = RunDirectory.open(only_run())
    assert run.status().state == "interrupted", "status.json still has running, but no process holds the lock"
    assert not (run.path / "results.json").exists()
    with (run.path / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"epoch": 2, "st')  # as if it had been killed while it wrote this line

    code, _, err = run_cnncli("train", "--resume", run.path, "--threads", 1)
    assert code == 0, err
    assert_same_result(run.path, uninterrupted)


def test_the_second_signal_stops_at_once(start_cnncli: Start) -> None:
    Path("slow.yaml").write_text(SLOW)
    process = start_cnncli("train", "slow.yaml", *FLAGS)
    wait_for(lambda: [*RUNS.glob("*/metadata.json")], process)
    process.send_signal(signal.SIGINT)
    while "press Ctrl-C again to stop immediately" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    run = RunDirectory.open(only_run())
    assert run.status().state == "interrupted"
    assert not run.last.exists(), "the step was not finished"
