"""Runs that go on after an epoch, and those that must not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.board.tags import slugs
from cnncli.errors import CnncliError, RunError, UsageError
from cnncli.experiment.run import check_can_go_on, conduct
from cnncli.experiment.setup import prepare
from cnncli.spec.config import read_config
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

TINY = """\
name: tiny
data: {name: digits, size: 8}
model: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, flatten, logits]}
train: {epochs: 3, batch_size: 512}
"""
FOLDER = """\
name: folder
data: {name: image-folder, path: pictures, size: 8, channels: 1, validation: 0.25, test: 0.25}
model: {layers: [flatten, logits]}
train: {epochs: 2, batch_size: 4}
"""


def go(folder: Path, text: str, *assignments: str, run: RunDirectory | None = None) -> RunDirectory:
    """Train `text` in a new run, or go on with `run`."""
    config = folder / "config.yaml"
    config.write_text(text, encoding="utf-8")
    read = read_config(str(config), data_dir=folder, assignments=assignments)
    if run is not None:
        check_can_go_on(read, run)
    experiment = prepare(read, data_dir=folder, device=torch.device("cpu"))
    where = run or RunDirectory.create(folder / "runs", read.name, datetime.now(UTC))
    for _ in conduct(
        experiment,
        where,
        command=["cnncli", "train"],
        resumed=run is not None,
        progress=Progress(),
        stop=lambda: False,
        notify=print,
    ):
        pass
    return where


def test_a_run_made_longer_keeps_every_point_of_its_curves(tmp_path: Path) -> None:
    """1,294 images in batches of 512 are 3 steps an epoch; nothing TensorBoard had is forgotten."""
    run = go(tmp_path, TINY)
    go(tmp_path, TINY, "train.epochs=6", run=run)
    events = EventAccumulator(str(run.path), size_guidance={"images": 0})
    events.Reload()
    assert [point.step for point in events.Scalars("accuracy/val")] == [3, 6, 9, 12, 15, 18]
    assert [image.step for image in events.Images("kernels/01_conv1")] == [0, 1, 2, 4, 8, 9, 16, 18]


def test_there_must_be_something_left_to_train(tmp_path: Path) -> None:
    run = go(tmp_path, TINY)
    with pytest.raises(UsageError, match="has 3 epochs already and is complete"):
        go(tmp_path, TINY, run=run)
    with pytest.raises(UsageError, match="has 3 epochs already"):
        go(tmp_path, TINY, "train.epochs=2", run=run)


def test_a_run_that_stopped_early_says_so(tmp_path: Path) -> None:
    """A learning rate next to nothing gains nothing: after two epochs of patience 1 it ends."""
    slow = ("train.epochs=9", "train.early_stopping.patience=1", "train.optimizer.adamw.lr=1e-12")
    run = go(tmp_path, TINY.replace("epochs: 3,", "epochs: 3, optimizer: adamw,"), *slow)
    assert len(run.metrics()) < 9
    with pytest.raises(UsageError, match="early stopping ended"):
        go(tmp_path, TINY.replace("epochs: 3,", "epochs: 3, optimizer: adamw,"), *slow, "train.epochs=20", run=run)
    assert run.status().state == "complete"


def test_other_data_are_refused(tmp_path: Path) -> None:
    for label, shade in (("dark", 20), ("light", 220)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(12):
            Image.new("L", (8, 8), shade + i).save(tmp_path / "pictures" / label / f"{i}.png")
    run = go(tmp_path, FOLDER)
    (tmp_path / "pictures" / "dark" / "3.png").unlink()
    with pytest.raises(RunError, match="the data has changed") as caught:
        go(tmp_path, FOLDER, "train.epochs=4", run=run)
    assert isinstance(caught.value, CnncliError)
    assert run.status().state == "complete"


def test_tags_of_classes_are_all_different() -> None:
    assert slugs(["T-shirt/top", "a b", "a-b", "???", "!!!"]) == [
        "T-shirt-top",
        "a-b-1",
        "a-b-2",
        "x-3",
        "x-4",
    ]


def test_a_global_pool_has_its_picture_too(tmp_path: Path) -> None:
    text = TINY.replace("flatten, logits", "global_avg_pool, logits").replace("epochs: 3", "epochs: 1")
    events = EventAccumulator(str(go(tmp_path, text).path), size_guidance={"images": 0})
    events.Reload()
    assert [image.step for image in events.Images("feature_maps/02_global_avg_pool1/7")] == [0, 1, 2, 3]
