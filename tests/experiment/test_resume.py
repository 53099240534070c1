"""Runs that are resumed or extended, and runs that must not be."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import Tensor

from cnncli.config.config import read_config
from cnncli.errors import RunError, UsageError
from cnncli.experiment.setup import prepare
from cnncli.training.checkpoint import read_manifest, save_checkpoint
from cnncli.training.run_directory import RunDirectory
from tests.data.own_digits import write_digits

Train = Callable[..., RunDirectory]
ReadEvents = Callable[[RunDirectory], EventAccumulator]

TINY = """\
name: tiny
data: {name: digits, size: 8}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, flatten, logits]}
train: {epochs: 3, batch_size: 512, optimizer: adamw}
"""
FOLDER = """\
name: folder
data: {name: image-folder, path: pictures, size: 8, channels: 1, validation: 0.25, test: 0.25}
model: {layers: [flatten, logits]}
train: {epochs: 2, batch_size: 4}
"""
NO_GAIN = ("train.epochs=9", "train.early_stopping.patience=1", "train.optimizer.adamw.lr=1e-12")
"""A learning rate of almost 0: early stopping ends the run after about two epochs."""


def test_an_extended_run_keeps_every_point_of_its_curves(train: Train, read_events: ReadEvents, tmp_path: Path) -> None:
    """1,294 images in batches of 512 are 3 steps an epoch."""
    run = train(tmp_path, TINY)
    train(tmp_path, TINY, "train.epochs=6", run=run)
    events = read_events(run)
    assert [point.step for point in events.Scalars("accuracy/val")] == [3, 6, 9, 12, 15, 18]
    assert [image.step for image in events.Images("kernels/01_conv1")] == [0, 1, 2, 4, 8, 9, 16, 18]


@pytest.mark.parametrize("batch_size", [512, 2000])  # three steps an epoch, one step an epoch
def test_a_run_stopped_at_its_first_step_has_pictures_of_the_untrained_network(
    batch_size: int, train: Train, read_events: ReadEvents, tmp_path: Path
) -> None:
    """They are drawn after the step, from a copy. A resumed run does not differ from one that was not interrupted."""
    text = TINY.replace("batch_size: 512", f"batch_size: {batch_size}")
    (tmp_path / "whole").mkdir()
    whole, run = train(tmp_path / "whole", text), train(tmp_path, text, stop_at=1)
    assert run.status().state == "interrupted"
    assert read_manifest(run.last)["step"] == 1

    def kernels() -> dict[int, Tensor]:
        return {
            int(path.stem): load_file(path)["conv1:shown"] for path in (run.path / "snapshots").glob("*.safetensors")
        }

    config = read_config(str(tmp_path / "config.yaml"), data_dir=tmp_path)
    untrained = prepare(config, data_dir=tmp_path, device=torch.device("cpu")).model.kernels()["conv1"]
    assert kernels().keys() == {0}
    assert torch.equal(kernels()[0], untrained)

    train(tmp_path, text, run=run)
    assert not torch.equal(kernels()[1], untrained)
    for name in ("checkpoints/last/weights.safetensors", "checkpoints/best/weights.safetensors", "results.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    ours, theirs = (
        {
            tag: [(image.step, image.encoded_image_string) for image in events.Images(tag)]
            for tag in events.Tags()["images"]
        }
        for events in map(read_events, (run, whole))
    )
    assert ours == theirs
    assert [step for step, _ in ours["kernels/01_conv1"]][:3] == [0, 1, 2]


def test_a_run_on_parquet_files_is_resumed_bit_for_bit(train: Train, tmp_path: Path) -> None:
    """They hold the same images, so that its weights are those of a run on the embedded digits."""
    (tmp_path / "whole").mkdir()
    no_pictures = ("log.images=0", "log.graph=false")
    whole = train(tmp_path / "whole", TINY, *no_pictures)
    text = TINY.replace("name: digits, size: 8", write_digits(tmp_path, "parquet"))
    run = train(tmp_path, text, *no_pictures, stop_at=4)
    train(tmp_path, text, *no_pictures, run=run)
    for name in ("last", "best"):
        weights = f"checkpoints/{name}/weights.safetensors"
        assert (run.path / weights).read_bytes() == (whole.path / weights).read_bytes()


def test_without_its_last_checkpoint_a_run_is_resumed_from_the_best(train: Train, tmp_path: Path) -> None:
    """Stopped in epoch 3, after `best` was written in an earlier one: the same steps again give the same weights."""
    (tmp_path / "whole").mkdir()
    whole, run = train(tmp_path / "whole", TINY), train(tmp_path, TINY, stop_at=8)
    best = read_manifest(run.best)
    assert best["epoch"] < 3
    shutil.rmtree(run.last)
    messages: list[str] = []
    train(tmp_path, TINY, run=run, log=messages.append)
    assert messages == [f"no checkpoint in {run.last}: resuming from the best epoch, {best['epoch']}"]
    assert run.metadata()["resumed"][0]["checkpoint"] == "best"
    assert [each["epoch"] for each in run.metrics()] == [1, 2, 3]
    for name in ("checkpoints/last/weights.safetensors", "results.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_an_older_last_checkpoint_keeps_the_newer_best_one(train: Train, tmp_path: Path) -> None:
    """The same steps again give the same weights: nothing is lost, and no message says so."""
    run = train(tmp_path, TINY, stop_at=4)
    shutil.copytree(run.last, tmp_path / "older")
    train(tmp_path, TINY, run=run)
    results = run.results()
    assert results["epoch"] == 3
    shutil.rmtree(run.last)
    shutil.copytree(tmp_path / "older", run.last)
    messages: list[str] = []
    train(tmp_path, TINY, run=run, log=messages.append)
    assert not any("best" in message for message in messages), messages
    assert run.results() == results


def test_what_a_killed_process_has_left_is_deleted(train: Train, tmp_path: Path) -> None:
    """Also if the resumed process, with other settings of `log`, does not write these files again."""
    run = train(tmp_path, TINY, stop_at=4)
    for folder in ("snapshots", "weights"):
        shutil.copy(run.path / folder / "1.safetensors", run.path / folder / "5.safetensors")
    (run.path / "weights" / ".5.safetensors.0.part").touch()
    (run.path / ".status.json.0.part").touch()
    shutil.copytree(run.last, run.last.with_name("last.new"))
    train(tmp_path, TINY, run=run)
    for folder in ("snapshots", "weights"):
        assert sorted(path.name for path in (run.path / folder).iterdir()) == [
            f"{step}.safetensors" for step in (0, 1, 2, 4, 8, 9)
        ]
    assert sorted(path.name for path in run.last.parent.iterdir()) == ["best", "last"]
    assert not list(run.path.glob(".*"))


def test_the_last_checkpoint_is_written_before_the_best_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`best` can be written again from `last`; a `last` without its epoch would be trained again, perhaps otherwise."""
    written: list[str] = []

    def save(path: Path, *arguments: Any, **settings: Any) -> None:
        written.append(path.name)
        save_checkpoint(path, *arguments, **settings)

    monkeypatch.setattr("cnncli.experiment.train.save_checkpoint", save)
    train(tmp_path, TINY, "train.epochs=1", "log.images=0")
    assert written == ["last", "best"]


def test_without_its_resolved_config_a_run_is_resumed_with_the_config_given(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, TINY, stop_at=4)
    run.resolved.unlink()
    with pytest.raises(UsageError, match=r"was trained with other settings: train\.seed"):
        train(tmp_path, TINY, "train.seed=8", run=run)
    train(tmp_path, TINY, run=run)
    assert run.status().state == "complete"
    assert run.resolved.is_file()


def test_a_run_with_nothing_left_to_train_is_refused(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, TINY)
    with pytest.raises(UsageError, match="already has 3 epochs and is complete"):
        train(tmp_path, TINY, run=run)
    with pytest.raises(UsageError, match="already has 3 epochs"):
        train(tmp_path, TINY, "train.epochs=2", run=run)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ("train.batch_size=256", "train.batch_size"),
        ("train.seed=1", "train.seed"),
        ("train.optimizer.adamw.betas=[0.8, 0.9]", "train.optimizer.adamw.betas"),
        ("data.size=16", "data.size"),
    ],
)
def test_other_settings_are_refused(changed: str, field: str, train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, TINY, stop_at=4)
    with pytest.raises(UsageError, match=f"trained with other settings: {field}$"):
        train(tmp_path, TINY, changed, run=run)


@pytest.mark.parametrize("value", ["null", "{patience: 5}", "{patience: 1, metric: loss}"])
def test_early_stopping_may_change_when_a_run_is_resumed(value: str, train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, TINY, "train.early_stopping={patience: 1}", stop_at=2)
    train(tmp_path, TINY, f"train.early_stopping={value}", run=run)
    assert run.status().state == "complete"
    resolved = read_config(str(run.resolved), data_dir=tmp_path).train.early_stopping
    assert (resolved is None) == (value == "null")


def test_a_run_that_early_stopping_ended_is_extended_only_without_it(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, TINY, *NO_GAIN)
    ended = len(run.metrics())
    assert ended < 9
    with pytest.raises(UsageError, match=f"stopped early after {ended} epochs"):
        train(tmp_path, TINY, *NO_GAIN, "train.epochs=20", run=run)
    assert run.status().state == "complete"
    train(tmp_path, TINY, *NO_GAIN, f"train.epochs={ended + 2}", "train.early_stopping=null", run=run)
    assert len(run.metrics()) == ended + 2


def test_other_data_are_refused(train: Train, tmp_path: Path) -> None:
    for label, shade in (("dark", 20), ("light", 220)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(12):
            Image.new("L", (8, 8), shade + i).save(tmp_path / "pictures" / label / f"{i}.png")
    run = train(tmp_path, FOLDER)
    (tmp_path / "pictures" / "dark" / "3.png").unlink()
    with pytest.raises(RunError, match="the data has changed"):
        train(tmp_path, FOLDER, "train.epochs=4", run=run)
    assert run.status().state == "complete"
