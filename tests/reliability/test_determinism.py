"""Equal config, seed, threads and versions give equal bits, whatever is logged, shown or served meanwhile."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import cnncli
from tests.reliability.conftest import Outcomes
from tests.reliability.runs import content_of, program_in_child, runs_in, tiny_config

RANDOM = """\
name: random
data: {name: digits, size: 8, validation: 0.2, augment: {crop: 0.8, rand_augment: 5, blur: 0.5, noise: 0.1, cutmix: 1}}
model:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, norm: batch_norm, activation: relu}
    - max_pool: 2
    - flatten
    - dropout: 0.3
    - logits
train:
  epochs: 2
  batch_size: 256
  optimizer: {adamw: {lr: 1e-2}}
  schedule: one_cycle
  loss: bce
  sampling: balanced
  label_smoothing: 0.1
  clip_norm: 1
  ema: 0.9
  early_stopping: {patience: 5}
  on_nan: rollback
log: {probes: 2, steps: [1, 3, 7]}
"""
"""Everything that draws random numbers or keeps a state; five steps an epoch."""

COMPARED = (
    *(f"checkpoints/{which}/{file}" for which in ("last", "best") for file in ("weights.safetensors", "state.pt")),
    *("metrics.jsonl", "results.json"),
)
ATTACK = "same config, run in another way"


@dataclass(frozen=True)
class Way:
    """Another way to run the same config.

    Attributes:
        options: of `cnncli train`.
        before: called in the process before the program starts.
        folder: in which it starts, relative to that of the test.
    """

    options: Sequence[str] = ()
    before: Callable[[], None] | None = None
    folder: str = "."


def _pretend_terminal() -> None:
    """The live display, which another thread draws."""
    setattr(sys.stderr, "isatty", lambda: True)  # noqa: B010  mypy allows no assignment to a method


def _use_random_numbers() -> None:
    torch.manual_seed(1234)
    torch.rand(7)
    random.seed(5)
    np.random.seed(6)


def _another_environment() -> None:
    os.environ |= {"TZ": "Pacific/Auckland", "LC_ALL": "C", "COLUMNS": "30", "PYTHONUTF8": "0", "TERM": "dumb"}


def _set(*assignments: str) -> tuple[str, ...]:
    return tuple(word for each in assignments for word in ("--set", each))


WAYS = {
    "again": Way(),
    "quiet": Way(("--quiet",)),
    "JSON": Way(("--json",)),
    "live display": Way(before=_pretend_terminal),
    "live page": Way(("--live",)),
    "profile": Way(("--profile",)),
    "debug": Way(("--debug",)),
    "nothing logged": Way(
        _set(
            *("log.images=0", "log.histograms=false", "log.graph=false", "log.kernels=false", "log.feature_maps=false"),
            *("log.dead_filters=false", "log.snapshots=false", "log.weights=0", "log.steps=null"),
        )
    ),
    "pictures of other steps": Way(_set("log.steps=[2, 4, 5, 8, 9]", "log.probes=5", "log.weights=1")),
    "small budget": Way(_set("log.budget=0.01")),
    "other name": Way(("--name", "another")),
    "other folder": Way(folder="some/where else"),
    "other environment": Way(before=_another_environment),
    "random numbers used before": Way(before=_use_random_numbers),
    "device by name": Way(("--device", "cpu")),
}
SAMPLE = ("live display", "live page", "nothing logged", "random numbers used before")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_config(tmp_path_factory.mktemp("config"), text=RANDOM)


def train(config: Path, out: Path, way: Way) -> Path:
    """The run directory of a training."""
    folder = out / way.folder
    folder.mkdir(parents=True)
    ended = program_in_child(
        *("train", config, "--out", out, "--threads", 1), *way.options, folder=folder, attack=way.before
    )
    assert ended.code == 0, ended.output
    (run,) = runs_in(out)
    return run


@pytest.fixture(scope="module")
def reference(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config, tmp_path_factory.mktemp("reference") / "runs", Way())


def different(run: Path, reference: Path) -> list[str]:
    return [name for name in COMPARED if content_of(run / name) != content_of(reference / name)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in WAYS]
)
def test_the_same_bits(name: str, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    assert different(train(config, tmp_path / "runs", WAYS[name]), reference) == []
    outcomes.add(ATTACK, "same bits")


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_the_same_bits_with_other_hashes(
    seed: str, config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """Sets of texts have another order in every process, unless PYTHONHASHSEED fixes it."""
    package = str(Path(cnncli.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "4"}
    command = [sys.executable, "-m", "cnncli", "train", str(config), "--out", str(tmp_path), "--threads", "1", "-q"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (run,) = runs_in(tmp_path)
    assert different(run, reference) == []
    outcomes.add(ATTACK, "same bits")


def test_the_same_bits_from_the_library(config: Path, reference: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        path = cnncli.train(config, out=tmp_path, device="cpu").path
    finally:
        torch.set_num_threads(threads)
    assert different(path, reference) == []
    outcomes.add(ATTACK, "same bits")


@pytest.mark.parametrize("change", ["train.seed=1", pytest.param("data.augment.noise=0.11", marks=pytest.mark.slow)])
def test_another_config_has_other_bits(change: str, config: Path, reference: Path, tmp_path: Path) -> None:
    """The comparison sees a difference."""
    run = train(config, tmp_path / "runs", Way(_set(change)))
    assert different(run, reference) == list(COMPARED)


def test_other_threads_are_named_when_a_run_is_resumed(reference: Path, tmp_path: Path, config: Path) -> None:
    run = train(config, tmp_path / "runs", Way())
    metadata = json.loads((run / "metadata.json").read_text())
    metadata["threads"] = 3
    (run / "metadata.json").write_text(json.dumps(metadata))
    ended = program_in_child("train", "--resume", run, "--threads", 1, "--set", "train.epochs=3", folder=tmp_path)
    assert ended.code == 0, ended.output
    assert "resuming with threads: 1 (started with 3): results will not be bit-identical" in ended.output
