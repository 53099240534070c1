"""A trial is a run: resumed from what an earlier process has left, and ended by the sweep."""

from pathlib import Path

import pytest
import torch

from cnncli.config.config import change_config, read_config
from cnncli.errors import RunError
from cnncli.experiment.train import evaluate_test
from cnncli.run import load_run
from cnncli.sweep.limits import costs_of
from cnncli.sweep.trial import Outcome, Place, Task, TrialEpoch, train_trial
from cnncli.training.run_directory import RunDirectory

EPOCHS = 3
CONFIG = """\
name: tiny
data: {name: digits, size: 8, validation: 0.5}
model: {layers: [{conv: {out_channels: 3, kernel_size: 3}}, relu, flatten, {dropout: 0.2}, logits]}
train: {epochs: 3, batch_size: 128, optimizer: {sgd: {lr: 0.05}}}
log: {images: 0, histograms: false, graph: false}
"""


@pytest.fixture(autouse=True)
def _threads() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    config = read_config(str(path), data_dir=tmp_path)
    return Task(number=3, values={"train.optimizer.sgd.lr": 0.05}, config=config, costs=costs_of(config.network))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path, data_dir=tmp_path, device="cpu", threads=1, share=1, command=("cnncli", "sweep"))


def train(
    task: Task, place: Place, *, prune_at: int = 0, stop_at: int | None = None
) -> tuple[list[TrialEpoch], Outcome]:
    """The epochs and the outcome; `stop_at` counts the steps of this call."""
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_at

    training, epochs = train_trial(task, place, stop=stop), []
    try:
        epoch = next(training)
        while True:
            epochs.append(epoch)
            epoch = training.send(epoch.number == prune_at)
    except StopIteration as end:
        return epochs, end.value


def test_an_interrupted_trial_ends_as_an_uninterrupted_one(task: Task, place: Place, tmp_path: Path) -> None:
    other = Place(**{**vars(place), "folder": tmp_path / "whole"})
    whole, expected = train(task, other)
    assert [epoch.number for epoch in whole] == [1, 2, 3]
    assert expected.status == "complete"
    assert expected.accuracy == max(epoch.accuracy for epoch in whole)

    first, interrupted = train(task, place, stop_at=11)  # 898 images: 8 steps an epoch
    assert (len(first), interrupted.status) == (1, "interrupted")
    again, outcome = train(task, place)
    assert again == whole, "the first epoch is reported again"
    assert Outcome(**{**vars(outcome), "seconds": 0}) == Outcome(**{**vars(expected), "seconds": 0})

    results = (place.run_path(3) / "results.json").read_bytes()
    assert b'"test"' not in results
    once_more, same = train(task, place)
    assert (once_more, same) == (again, outcome), "a complete run is not trained again"
    assert (place.run_path(3) / "results.json").read_bytes() == results


def test_a_pruned_trial_is_a_run_that_can_be_resumed(task: Task, place: Place) -> None:
    epochs, outcome = train(task, place, prune_at=2)
    assert (len(epochs), outcome.status, outcome.epochs) == (2, "pruned", 2)
    run = RunDirectory.open(place.run_path(3))
    assert run.status().state == "interrupted"
    assert run.last.exists()
    assert load_run(run.path, data_dir=place.data_dir, device=torch.device("cpu")).epoch == outcome.epoch
    with pytest.raises(RunError, match="not complete"):
        evaluate_test(load_run(run.path, data_dir=place.data_dir, device=torch.device("cpu")))


def test_a_run_without_a_checkpoint_is_started_again(task: Task, place: Place) -> None:
    run = RunDirectory.create_at(place.run_path(3))
    run.write_resolved(task.config.resolved())
    run.set_status("running")
    assert train(task, place)[1].status == "complete"


def test_a_run_with_other_settings_is_left_alone(task: Task, place: Place) -> None:
    run = RunDirectory.create_at(place.run_path(3))
    run.write_resolved(change_config(task.config, ["train.epochs=7"], data_dir=place.data_dir).resolved())
    run.set_status("running")
    with pytest.raises(RunError, match="not of this sweep"):
        train(task, place)
    assert run.resolved.exists()


def test_values_that_the_data_does_not_permit(task: Task, place: Place) -> None:
    """719 training images: 718 leave a last batch of one image, whose variance is unknown."""
    layers = "[{conv: {out_channels: 3, kernel_size: 8}}, batch_norm, flatten, logits]"
    config = change_config(task.config, [f"model.layers={layers}", "train.batch_size=718"], data_dir=place.data_dir)
    epochs, outcome = train(Task(**{**vars(task), "config": config}), place)
    assert (epochs, outcome.status) == ([], "failed")
    assert outcome.reason is not None
    assert "batch_size" in outcome.reason
