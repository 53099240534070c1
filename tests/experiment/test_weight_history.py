"""The weights that a run keeps from steps, against its checkpoints and an independent training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cnncli.library import load_run
from cnncli.module import seeded_module
from cnncli.training.run_directory import RunDirectory
from cnncli.training.weight_history import WeightHistory

Train = Callable[..., RunDirectory]


def files_of(run: RunDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.path / "weights").iterdir()}


def test_the_steps_with_pictures_are_kept(complete: RunDirectory) -> None:
    assert WeightHistory(complete.path).steps() == [0, 1, 2, 4, 8, 16, 24]


def test_the_last_weights_are_those_of_the_checkpoint(complete: RunDirectory) -> None:
    """The network has a moving average, which the checkpoint stores as its weights."""
    kept, checkpoint = WeightHistory(complete.path).read(24), load_file(complete.last / "weights.safetensors")
    assert kept.keys() == checkpoint.keys()
    for name, tensor in checkpoint.items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(kept[name], rounded), name


def test_step_0_is_the_untrained_network(complete: RunDirectory) -> None:
    run = load_run(complete.path)
    untrained = seeded_module(run.network, run.config.train.seed).state_dict()
    kept = run.weights_at(0)
    assert run.weight_steps[0] == 0
    for name, tensor in untrained.items():
        assert torch.equal(kept[name], tensor.half().to(kept[name].dtype)), name
    run.model.load_state_dict(kept)


def test_a_step_between_is_that_of_a_training_that_ends_there(
    complete: RunDirectory, network: str, train: Train, tmp_path: Path
) -> None:
    stopped = train(tmp_path, network, stop_at=8)
    checkpoint = load_file(stopped.last / "weights.safetensors")
    kept = WeightHistory(complete.path).read(8)
    for name, tensor in checkpoint.items():
        assert torch.equal(kept[name], tensor.half().to(kept[name].dtype)), name


@pytest.mark.parametrize("stop_at", [pytest.param(6, marks=pytest.mark.slow), 9, 16])
def test_a_resumed_run_ends_with_the_same_files(
    stop_at: int, complete: RunDirectory, network: str, train: Train, tmp_path: Path
) -> None:
    run = train(tmp_path, network, stop_at=stop_at)
    train(tmp_path, network, run=run)
    assert files_of(run) == files_of(complete)


def test_after_a_crash_later_files_are_replaced(
    complete: RunDirectory, network: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, network, crash_at=13)
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    for step in (16, 20):
        (path / "weights" / f"{step}.safetensors").write_bytes(b"of a step that is not in the checkpoint")
    train(tmp_path, network, run=run)
    assert files_of(run) == files_of(complete)


def test_the_limit_is_kept(network: str, train: Train, tmp_path: Path) -> None:
    messages: list[str] = []
    run = train(tmp_path, network, "log.weights=0.013", log=messages.append)
    assert WeightHistory(run.path).steps() == [0, 2, 8, 24]
    assert sum(map(len, files_of(run).values())) <= 13_000
    assert [message for message in messages if "log.weights" in message] == [
        "log.weights of 0.013 MB: the weights of 3 of 7 steps are not kept (0.00302 MB each)"
    ]


@pytest.mark.parametrize("assignment", ["log.weights=0", "log.images=0"])
def test_none_are_kept(assignment: str, network: str, train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, network, assignment, "train.epochs=1")
    assert not (run.path / "weights").exists()
    assert load_run(run.path).weight_steps == []


def test_the_weights_where_early_stopping_ends_are_kept(network: str, train: Train, tmp_path: Path) -> None:
    """Without progress for an epoch the training ends; the learning rate is too low for any."""
    still = ("train.optimizer.adamw.lr=1e-12", "train.schedule=constant", "train.early_stopping={patience: 1}")
    run = train(tmp_path, network, "train.epochs=40", *still)
    last = run.metrics()[-1]["step"]
    assert last < 240
    assert WeightHistory(run.path).steps()[-1] == last
    kept, checkpoint = WeightHistory(run.path).read(last), load_file(run.last / "weights.safetensors")
    assert torch.equal(kept["conv1.conv.weight"], checkpoint["conv1.conv.weight"].half().float())


def test_an_extended_run_keeps_its_earlier_steps(
    complete: RunDirectory, network: str, train: Train, tmp_path: Path
) -> None:
    run = train(tmp_path, network)
    messages: list[str] = []
    train(tmp_path, network, "train.epochs=6", run=run, log=messages.append)
    assert all("the learning rate jumps" in each for each in messages)
    assert WeightHistory(run.path).steps() == [0, 1, 2, 4, 8, 16, 24, 32, 36]
    assert files_of(complete).items() <= files_of(run).items()
