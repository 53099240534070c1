"""Ranks, the best trial and its config, from outcomes that are made up."""

from collections.abc import Callable
from pathlib import Path

import pytest

import cnncli
from cnncli.sweep.results import Summary, finish_sweep, summarize, write_trials
from cnncli.sweep.study import TrialQueue
from cnncli.sweep.trial import Outcome, Place, Status

NewQueue = Callable[..., TrialQueue]

CHANNELS = "model.layers.0.conv.out_channels"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        folder=tmp_path / "sweep", data_dir=tmp_path, device="cpu", threads=1, share=1, command=("cnncli", "sweep")
    )


def summary_of(queue: TrialQueue, place: Place, outcomes: dict[int, tuple[Status, float | None]]) -> Summary:
    """A sweep whose trials end as given by their number of kernels."""
    while (task := queue.next_task()) is not None:
        status, accuracy = outcomes[task.values[CHANNELS]]
        queue.finish(task.number, Outcome(status=status, accuracy=accuracy, epoch=1, epochs=2, threads=3))
    return summarize(queue, queue._plan, place)


def test_ranks(new_queue: NewQueue, place: Place) -> None:
    """The smaller of two equal networks is better; a pruned trial has no rank, however good it was."""
    outcomes: dict[int, tuple[Status, float | None]] = {
        16: ("complete", 0.9),
        8: ("complete", 0.9),
        4: ("complete", 0.8),
        5: ("pruned", 0.95),
        6: ("diverged", None),
        7: ("failed", None),
    }
    queue = new_queue(f"{CHANNELS}=4,5,6,7,8,16,99", sampler="grid", limits=("params=9k",), trials=7)
    summary = summary_of(queue, place, outcomes)
    found = [(trial.values[CHANNELS], trial.rank, trial.status) for trial in summary.trials]
    assert found == [
        (8, 1, "complete"),
        (16, 2, "complete"),
        (4, 3, "complete"),
        (5, None, "pruned"),
        (6, None, "diverged"),
    ]
    rejected = {(trial.values[CHANNELS], trial.status) for trial in summary.rejected}
    assert rejected == {(7, "failed"), (99, "infeasible")}
    assert summary.best is not None
    assert summary.best.values[CHANNELS] == 8
    write_trials(summary)


def test_the_best_run_is_on_another_machine(
    new_queue: NewQueue, place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it was deleted on this one."""
    queue = new_queue(f"{CHANNELS}=4,8", sampler="grid", trials=2)
    found = summary_of(queue, place, {4: ("complete", 0.5), 8: ("complete", 0.75)})
    assert finish_sweep(found, place).results is None
    assert f"{found.best and place.run_path(found.best.number)} is missing" in caplog.text
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert finish_sweep(found, place).results is None
    assert "run the same command there" in caplog.text
    text = (place.folder / "best.yaml").read_text()
    assert "validation accuracy 0.75 in epoch 1" in text
    assert "--threads 3" in text
    assert cnncli.inspect(place.folder / "best.yaml")["conv1"].output_shape == (8, 16, 16)
