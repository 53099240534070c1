"""What `log:` chooses: layers, probes, steps, and how much room there is. Read back by TensorBoard's own reader."""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.cli.notices import show_log
from cnncli.config.config import read_config
from cnncli.data.digits import load_digits
from cnncli.errors import ConfigError, RunError
from cnncli.experiment.budget import event_bytes
from cnncli.experiment.setup import DEAD_FILTER_IMAGES, prepare
from cnncli.experiment.train import train_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory
from cnncli.views.kernels import kernel_picture

# 1,294 images in batches of 256: 6 steps an epoch. Dropout, augmentation, batch norm and an average of the weights are
# what makes going on bit for bit hard.
NETWORK = """\
name: net
data: {name: digits, size: 8, augment: {shift: 1, rotate: 10, noise: 0.1}}
model:
  layers:
    - conv: {out_channels: 8, kernel_size: 3, norm: batch, activation: relu}
    - dropout2d: 0.2
    - max_pool: 2
    - conv: {out_channels: 4, kernel_size: 2, activation: relu}
    - flatten
    - dropout: 0.3
    - logits
train: {epochs: 4, batch_size: 256, ema: 0.9, optimizer: {adamw: {lr: 1e-2}}, schedule: one_cycle}
"""
STEPS = 24


class Stopped(Exception):  # noqa: N818  stands for a power cut
    """The process went."""


def go(
    folder: Path, *assignments: str, run: RunDirectory | None = None, stop_at: int | None = None, crash_at: int = -1
) -> tuple[RunDirectory, list[str]]:
    """Train in a new run, or go on with `run`; stop after a step, or fail at it. Also what was said on the way."""
    config = folder / "net.yaml"
    config.write_text(NETWORK, encoding="utf-8")
    read = read_config(str(config), data_dir=folder, assignments=["log.probes=2", *assignments])
    experiment = prepare(read, data_dir=folder, device=torch.device("cpu"))
    where = run or RunDirectory.create(folder / "runs", read.name, datetime.now(UTC))
    said: list[str] = []

    def stop() -> bool:
        if experiment.training.step == crash_at:
            raise Stopped
        return experiment.training.step == stop_at

    with show_log(said.append):
        for _ in train_run(experiment, where, command=[], resumed=run is not None, progress=Progress(), stop=stop):
            pass
    return where, said


def events_of(run: RunDirectory) -> EventAccumulator:
    return EventAccumulator(str(run.path), size_guidance={"images": 0, "scalars": 0, "histograms": 0}).Reload()


def steps_of(events: EventAccumulator, tag: str) -> list[int]:
    return [image.step for image in events.Images(tag)]


def weights_of(run: RunDirectory) -> dict[str, torch.Tensor]:
    return {
        **load_file(run.last / "weights.safetensors"),
        "best": load_file(run.best / "weights.safetensors")["logits1.weight"],
    }


def same(one: RunDirectory, other: RunDirectory) -> bool:
    a, b = weights_of(one), weights_of(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


EVERYTHING_OFF = (
    "log={images: 0, kernels: false, feature_maps: false, histograms: false, graph: false, dead_filters: false}",
)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with the default log, for reading only."""
    run, said = go(tmp_path_factory.mktemp("complete"))
    assert said == []
    return run


# Logging changes nothing


@pytest.mark.parametrize(
    "log",
    [EVERYTHING_OFF, ("log.images=2",), ("log.steps=[5, 6, 11]",), ("log.histograms=false", "log.evolution=false")],
)
def test_the_weights_are_the_same_bit_for_bit(log: tuple[str, ...], complete: RunDirectory, tmp_path: Path) -> None:
    run, _ = go(tmp_path, *log)
    assert same(run, complete)
    lines, others = run.metrics(), complete.metrics()
    assert [line["train"] for line in lines] == [line["train"] for line in others]
    assert [line["val"] for line in lines] == [line["val"] for line in others]


def test_the_weights_are_the_same_without_an_average_too(tmp_path: Path) -> None:
    """Then the network that is drawn is the one that learns, with its dropout and its running means."""
    (logged, _), (quiet, _) = (go(tmp_path, "train.ema=null", *log) for log in ((), EVERYTHING_OFF))
    assert same(logged, quiet)


def test_nothing_is_logged_where_everything_is_off(tmp_path: Path) -> None:
    run, _ = go(tmp_path, *EVERYTHING_OFF)
    tags = events_of(run).Tags()
    assert (tags["images"], tags["histograms"], tags["graph"]) == ([], [], False)
    assert "loss/train" in tags["scalars"]
    assert not (run.path / "evolution").exists()


@pytest.mark.parametrize("stop_at", [6, 9, 16])
def test_a_resumed_run_has_the_same_weights_and_steps(stop_at: int, complete: RunDirectory, tmp_path: Path) -> None:
    """Stopped right at a picture's step, at the end of an epoch, and between."""
    run, _ = go(tmp_path, stop_at=stop_at)
    assert run.status().state == "interrupted"
    go(tmp_path, run=run)
    assert same(run, complete)
    events, expected = events_of(run), events_of(complete)
    assert events.Tags()["images"] == expected.Tags()["images"]
    for tag in events.Tags()["images"]:
        assert steps_of(events, tag) == steps_of(expected, tag)
        assert [image.encoded_image_string for image in events.Images(tag)] == [
            image.encoded_image_string for image in expected.Images(tag)
        ], "the animations, too, hold what was before"


@pytest.mark.parametrize("crash_at", [13])
def test_after_a_crash_later_steps_are_drawn_once_more(crash_at: int, complete: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        go(tmp_path, crash_at=crash_at)
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    (path / "evolution" / "20.safetensors").write_bytes(b"of a step that is not in the checkpoint")
    go(tmp_path, run=run)
    assert same(run, complete)
    assert sorted(int(each.stem) for each in (path / "evolution").iterdir()) == [0, 1, 2, 4, 8, 16, STEPS]
    for tag in events_of(complete).Tags()["images"]:
        assert steps_of(events_of(run), tag) == steps_of(events_of(complete), tag)


# Steps


def test_pictures_begin_within_the_first_epoch(complete: RunDirectory) -> None:
    events = events_of(complete)
    for tag in events.Tags()["images"]:
        if not tag.startswith("evolution/"):
            assert steps_of(events, tag) == [0, 1, 2, 4, 8, 16, STEPS]


def test_chosen_steps(tmp_path: Path) -> None:
    run, _ = go(tmp_path, "log.steps=[11, 5, 6]")
    assert steps_of(events_of(run), "kernels/01_conv1") == [0, 5, 6, 11, STEPS]


def test_a_run_that_stops_early_has_a_last_picture(tmp_path: Path) -> None:
    """With a learning rate next to nothing there is no gain, and the planned end never comes."""
    run, _ = go(tmp_path, "train.early_stopping={patience: 1}", "train.optimizer.adamw.lr=1e-12", "train.epochs=9")
    events = events_of(run)
    last = run.metrics()[-1]["step"]
    assert last < 9 * 6
    for tag in events.Tags()["images"]:
        assert steps_of(events, tag)[-1] == last
        assert steps_of(events, tag) == sorted(set(steps_of(events, tag)))
    with Image.open(io.BytesIO(events.Images("evolution/01_conv1")[0].encoded_image_string)) as image:
        assert getattr(image, "n_frames", 1) == len(steps_of(events, "kernels/01_conv1"))


# Layers and probes


def test_chosen_layers(tmp_path: Path) -> None:
    run, _ = go(tmp_path, "log.layers=[conv2, logits1]", "log.probes=2")
    tags = events_of(run).Tags()
    assert sorted(tags["images"]) == [
        "evolution/04_conv2", "feature_maps/04_conv2/0", "feature_maps/04_conv2/1", "kernels/04_conv2",
    ]  # fmt: skip
    assert {tag.split("/")[1] for tag in tags["histograms"]} == {"04_conv2", "07_logits1"}
    assert [tag for tag in tags["scalars"] if tag.startswith("dead_fraction/")] == ["dead_fraction/04_conv2"]


def test_chosen_images(tmp_path: Path) -> None:
    folder = tmp_path / "net.yaml"
    folder.write_text(NETWORK, encoding="utf-8")
    read = read_config(str(folder), data_dir=tmp_path, assignments=["log.probes={classes: 1, images: [3, 358]}"])
    probes = prepare(read, data_dir=tmp_path, device=torch.device("cpu")).probes
    digits = load_digits().test
    zero = digits.labels.tolist().index(0)
    assert torch.equal(probes.pictures, digits.images[[zero, 3, 358]])
    assert probes.names == ("0", "test-3", "test-358")
    assert probes.titles == (
        "class 0",
        f"test image 3, class {int(digits.labels[3])}",
        f"test image 358, class {int(digits.labels[358])}",
    )
    run, _ = go(tmp_path, "log.probes=[3, 358]", "log.images=2")
    maps = [tag for tag in events_of(run).Tags()["images"] if tag.startswith("feature_maps/01_conv1/")]
    assert maps == ["feature_maps/01_conv1/test-3", "feature_maps/01_conv1/test-358"]


@pytest.mark.parametrize("probes", ["[3, 359]", "{images: [3, 359]}"])
def test_images_that_are_not_there(probes: str, tmp_path: Path) -> None:
    config = tmp_path / "net.yaml"
    config.write_text(f"{NETWORK}log:\n  probes: {probes}\n", encoding="utf-8")
    read = read_config(str(config), data_dir=tmp_path)
    with pytest.raises(
        ConfigError, match=r"net.yaml:\d+:\d+ log.probes.*: there is no test image 359; .* 0 to 358"
    ) as caught:
        prepare(read, data_dir=tmp_path, device=torch.device("cpu"))
    assert probes in caught.value.message, "the line is quoted"


def test_dead_filters_are_looked_for_in_images_of_all_classes(tmp_path: Path) -> None:
    """Folders come class by class: the first thousand would be of one. Here 1,078 of 1,438 are held out."""
    config = tmp_path / "net.yaml"
    config.write_text(NETWORK, encoding="utf-8")
    assert DEAD_FILTER_IMAGES == 1000
    for validation, expected in (("0.75", 1078), ("0.1", 144), ("0", 359)):
        read = read_config(str(config), data_dir=tmp_path, assignments=[f"data.validation={validation}"])
        made = prepare(read, data_dir=tmp_path, device=torch.device("cpu"))
        assert made.held_out.image_count == expected
        assert len({int(label) for _, labels in made.held_out.epoch(1) for label in labels}) == 10


# The budget


@pytest.mark.parametrize("kilobytes", [40, 120, 400])
def test_the_event_file_stays_within_its_budget(kilobytes: int, tmp_path: Path) -> None:
    run, said = go(tmp_path, f"log.budget={kilobytes / 1000}", "log.graph=false")
    assert event_bytes(run.path) <= kilobytes * 1000
    assert len([each for each in said if "has room for less" in each]) == 1, "said once"
    events = events_of(run)
    pictures = [tag for tag in events.Tags()["images"] if not tag.startswith("evolution/")]
    assert pictures, "something goes in"
    for tag in pictures:
        assert steps_of(events, tag)[0] == 0
        assert steps_of(events, tag)[-1] == STEPS


def test_pictures_that_grow_more_than_was_thought_are_left_out_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if every later picture was taken to need next to nothing: there is no room for all of the last step."""
    monkeypatch.setattr("cnncli.experiment.budget.GROWTH", 0.01)
    monkeypatch.setattr("cnncli.experiment.tensorboard_log.GROWTH", 0.01)
    run, said = go(tmp_path, "log.budget=0.07", "log.graph=false", "log.evolution=false")
    assert event_bytes(run.path) <= 70_000
    (used_up,) = [each for each in said if "is used up" in each]
    assert f"of step {STEPS}" in used_up


def test_histograms_get_rarer_before_they_go(tmp_path: Path) -> None:
    """Each epoch has up to 18 kB of them; what comes first when pictures want room too is in test_allotment.py."""
    for kilobytes, expected in ((300, [6, 12, 18, STEPS]), (50, [12, STEPS]), (15, [])):
        run, said = go(tmp_path, f"log.budget={kilobytes / 1000}", "log.images=0", "log.graph=false")
        assert event_bytes(run.path) <= kilobytes * 1000
        events = events_of(run)
        for tag in events.Tags()["histograms"] or ["none"]:
            found = [each.step for each in events.Histograms(tag)] if tag != "none" else []
            assert found == expected
        assert len(said) == (kilobytes < 300)


def test_a_run_that_goes_on_keeps_to_the_budget(tmp_path: Path) -> None:
    log = ("log.budget=0.4", "log.graph=false")
    run, _ = go(tmp_path, *log, stop_at=9)
    go(tmp_path, *log, run=run)
    assert len(list(run.path.glob("events.out.tfevents.*"))) == 2
    assert event_bytes(run.path) <= 400_000
    events = events_of(run)
    assert steps_of(events, "kernels/01_conv1")[-1] == STEPS


# Animations


def test_a_damaged_step_is_named(tmp_path: Path) -> None:
    run, _ = go(tmp_path, stop_at=9)
    (run.path / "evolution" / "4.safetensors").write_bytes(b"not what was written")
    with pytest.raises(RunError, match=r"4.safetensors: cannot be read") as caught:
        go(tmp_path, run=run)
    assert "delete it" in str(caught.value.remedy)
    (run.path / "evolution" / "4.safetensors").unlink()
    go(tmp_path, run=run)
    assert run.status().state == "complete"


def test_every_step_is_a_frame_on_one_scale(complete: RunDirectory) -> None:
    """Colors turned back into weights, on the scale that the largest of all steps needs."""
    files = {int(path.stem): load_file(path) for path in (complete.path / "evolution").iterdir()}
    weights = [files[step]["conv1:shown"] for step in sorted(files)]
    assert torch.equal(weights[-1], load_file(complete.last / "weights.safetensors")["conv1.conv.weight"])
    limit = max(float(each.abs().max()) for each in weights)
    assert any(float(each.abs().max()) < 0.99 * limit for each in weights), "scales of their own would differ"
    boxes = kernel_picture(weights[0], title="").boxes
    gif = events_of(complete).Images("evolution/01_conv1")[0].encoded_image_string
    with Image.open(io.BytesIO(gif)) as image:
        assert getattr(image, "n_frames", 1) == len(weights) == 7
        for number, expected in enumerate(weights):
            image.seek(number)
            frame = np.array(image.convert("RGB")).astype(float)
            for (output, input_), box in boxes.items():
                tile = frame[box.y : box.bottom : box.scale, box.x : box.right : box.scale]
                negative = np.interp(tile[..., 1], (58, 158, 247), (-1.0, -0.5, 0.0))
                positive = np.interp(tile[..., 1], (16, 128, 247), (1.0, 0.5, 0.0))
                found = np.where(tile[..., 0] >= tile[..., 2], positive, negative) * limit
                np.testing.assert_allclose(found, expected[output, input_].numpy(), atol=limit / 100)
