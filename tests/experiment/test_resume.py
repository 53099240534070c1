"""Runs that go on after an epoch, and those that must not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import Tensor

from cnncli.config.config import read_config
from cnncli.errors import CnncliError, RunError, UsageError
from cnncli.experiment.resume import check_can_go_on
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.training.checkpoint import read_manifest
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


def go(folder: Path, text: str, *assignments: str, run: RunDirectory | None = None, stop: bool = False) -> RunDirectory:
    """Train `text` in a new run, or go on with `run`; with `stop`, somebody wants an end from the start."""
    config = folder / "config.yaml"
    config.write_text(text, encoding="utf-8")
    read = read_config(str(config), data_dir=folder, assignments=assignments)
    if run is not None:
        check_can_go_on(read, run)
    experiment = prepare(read, data_dir=folder, device=torch.device("cpu"))
    where = run or RunDirectory.create(folder / "runs", read.name, datetime.now(UTC))
    for _ in train_run(
        experiment,
        where,
        command=["cnncli", "train"],
        resumed=run is not None,
        progress=Progress(),
        stop=lambda: stop,
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


@pytest.mark.parametrize("batch_size", [512, 2000])  # three steps an epoch, one step an epoch
def test_a_run_that_is_stopped_at_its_first_step_has_the_pictures_of_what_was_before(
    batch_size: int, tmp_path: Path
) -> None:
    """They are drawn after the step. The run goes on from there as if nothing had been."""
    text = TINY.replace("batch_size: 512", f"batch_size: {batch_size}")
    (tmp_path / "whole").mkdir()
    whole, run = go(tmp_path / "whole", text), go(tmp_path, text, stop=True)
    assert run.status().state == "interrupted"
    assert read_manifest(run.last)["step"] == 1

    def kernels() -> dict[int, Tensor]:
        return {
            int(path.stem): load_file(path)["conv1:shown"] for path in (run.path / "evolution").glob("*.safetensors")
        }

    read = read_config(str(tmp_path / "config.yaml"), data_dir=tmp_path)
    untrained = prepare(read, data_dir=tmp_path, device=torch.device("cpu")).model.kernels()["conv1"]
    assert kernels().keys() == {0}
    assert torch.equal(kernels()[0], untrained)

    go(tmp_path, text, run=run)
    assert not torch.equal(kernels()[1], untrained)
    for name in ("checkpoints/last/weights.safetensors", "checkpoints/best/weights.safetensors", "results.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    pictures = {
        path: EventAccumulator(str(path), size_guidance={"images": 0}).Reload() for path in (run.path, whole.path)
    }
    ours, theirs = (
        {
            tag: [(image.step, image.encoded_image_string) for image in events.Images(tag)]
            for tag in events.Tags()["images"]
        }
        for events in pictures.values()
    )
    assert ours == theirs
    assert [step for step, _ in ours["kernels/01_conv1"]][:3] == [0, 1, 2]


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


def test_a_global_pool_has_its_picture_too(tmp_path: Path) -> None:
    text = TINY.replace("flatten, logits", "global_avg_pool, logits").replace("epochs: 3", "epochs: 1")
    events = EventAccumulator(str(go(tmp_path, text).path), size_guidance={"images": 0})
    events.Reload()
    assert [image.step for image in events.Images("feature_maps/02_global_avg_pool1/7")] == [0, 1, 2, 3]
