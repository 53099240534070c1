"""Where pictures are saved: in a folder of the run, whole or not at all; which layers and images they show."""

import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.cli.messages import show_log
from cnncli.drawing.canvas import Box, Canvas
from cnncli.errors import DiskError, UsageError
from cnncli.run import Run, load_run
from cnncli.tensorboard.event_file import slug
from cnncli.views import VIEWS
from cnncli.views.kernels import Kernels
from cnncli.views.view import Picture, draw_all, save

Pixels = npt.NDArray[np.uint8]


Show = Callable[..., int]


GRAY: Pixels = np.full((4, 5, 3), 128, dtype=np.uint8)


@pytest.fixture
def opened(run: Path) -> Run:
    with show_log(pytest.fail):
        return load_run(run, data_dir=run)


def picture(tag: str, level: int = 128, **more: object) -> Picture:
    canvas = Canvas(width=5, height=4)
    canvas.tile(Box(x=0, y=0, height=4, width=5, scale=1), np.full((4, 5, 3), level, dtype=np.uint8))
    return Picture(tag=tag, title=tag, canvas=canvas, **more)  # type: ignore[arg-type]  # any field


def image_steps(folder: Path) -> dict[str, list[int]]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"]}


def test_no_picture_of_the_training_is_evicted(run: Path, show: Show) -> None:
    (events,) = run.glob("events.out.tfevents.*")
    before, steps = events.read_bytes(), image_steps(run)
    assert max(map(len, steps.values())) > 1
    assert show("kernels", run) == 0
    assert show("feature-maps", run, "0", "1") == 0
    assert list(run.glob("events.out.tfevents.*")) == [events]
    assert events.read_bytes() == before
    assert image_steps(run) == steps
    shown = image_steps(run / "show")
    assert {tag.split("/")[0] for tag in shown} == {"kernels", "feature_maps"}
    last = max(steps["kernels/01_conv1"])
    assert set(map(tuple, shown.values())) == {(last,)}


def test_the_card_goes_to_tensorboard_and_the_page_to_the_file(opened: Run) -> None:
    small = np.full((2, 2, 3), 7, dtype=np.uint8)
    both, alone = picture("view/both", card=small, numbers={"share": 0.5}), picture("view/alone")
    paths = [path for _, path in save(opened, [both, alone])]
    folder = opened.path / "show"
    assert paths == [folder / "view" / "both.png", folder / "view" / "alone.png"]
    events = EventAccumulator(str(folder))
    events.Reload()
    for tag, pixels in (("view/both", small), ("view/alone", GRAY)):
        (image,) = events.Images(tag)
        with Image.open(io.BytesIO(image.encoded_image_string)) as read:
            assert np.array_equal(np.array(read), pixels)
    assert not events.Tags()["scalars"], "charts of one point"
    with Image.open(paths[0]) as page:
        assert np.array_equal(np.array(page), GRAY)


def test_each_picture_is_saved_before_the_next_is_drawn(opened: Run) -> None:
    saving = save(opened, (picture(f"view/{i}") for i in range(3)))
    _, path = next(iter(saving))
    assert path.exists()
    assert not path.with_name("1.png").exists()


def test_nothing_is_created_without_pictures(opened: Run) -> None:
    assert list(save(opened, [])) == []
    assert not (opened.path / "show").exists()


def test_a_picture_of_the_same_name_is_replaced(opened: Run) -> None:
    for level in (1, 2):
        ((_, path),) = save(opened, [picture("view/one", level)])
    with Image.open(path) as image:
        assert np.array(image).max() == 2
    assert [each.name for each in path.parent.iterdir()] == ["one.png"]


def test_a_full_disk_leaves_no_half_picture(opened: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cnncli.files.os.fsync", full)
    with pytest.raises(DiskError, match=r"one\.png: cannot be written: No space left") as caught:
        list(save(opened, [picture("view/one")]))
    assert caught.value.remedy == f"free some space, or make sure that {opened.path} is writable"
    assert list((opened.path / "show" / "view").iterdir()) == []


def test_slugs_are_file_names() -> None:
    assert slug("T-shirt/top") == "T-shirt-top"
    assert slug("../..") == "x"
    assert slug("Ä b") == "Ä-b"


Tiles = Callable[..., list[Pixels]]


def noise(channels: int = 1) -> torch.Tensor:
    return torch.randint(256, (3, channels, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_views_with_nothing_to_show_are_skipped(run_of: Callable[..., Run], caplog: pytest.LogCaptureFixture) -> None:
    run = run_of("[flatten, {linear: 5}, logits]", noise())
    with pytest.raises(UsageError, match="no layer of this network has kernels"):
        list(Kernels().pictures(run))
    list(draw_all(run, VIEWS))
    assert any(line.startswith("no kernels: ") for line in caplog.messages)
    assert any(line.startswith("no feature-maps: ") for line in caplog.messages)
