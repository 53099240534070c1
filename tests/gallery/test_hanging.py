"""Where the pictures go: into a run of their own, whole or not at all, and past what the training wrote."""

import errno
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli import files as durable
from cnncli.cli.notices import show_log
from cnncli.errors import DiskError
from cnncli.run import Run, load_run
from cnncli.tensorboard.event_file import slug
from cnncli.views.view import Exhibit, Gallery

Pixels = npt.NDArray[np.uint8]
Show = Callable[..., int]

GRAY: Pixels = np.full((4, 5, 3), 128, dtype=np.uint8)


@pytest.fixture
def opened(run: Path) -> Run:
    with show_log(pytest.fail):
        return load_run(run, data_dir=run)


def exhibit(tag: str, level: int = 128, **more: object) -> Exhibit:
    return Exhibit(tag=tag, title=tag, pixels=np.full((4, 5, 3), level, dtype=np.uint8), **more)  # type: ignore[arg-type]  # any field


def image_steps(folder: Path) -> dict[str, list[int]]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"]}


def test_no_picture_of_the_training_is_evicted(run: Path, show: Show) -> None:
    (events,) = run.glob("events.out.tfevents.*")
    before, steps = events.read_bytes(), image_steps(run)
    assert max(map(len, steps.values())) > 1
    assert show("kernels", run) == 0
    assert show("features", run, "0", "1") == 0
    assert list(run.glob("events.out.tfevents.*")) == [events]
    assert events.read_bytes() == before
    assert image_steps(run) == steps
    shown = image_steps(run / "show")
    assert {tag.split("/")[0] for tag in shown} == {"kernels", "features"}
    last = max(steps["kernels/01_conv1"])
    assert set(map(tuple, shown.values())) == {(last,)}


def test_the_card_goes_to_tensorboard_and_the_page_to_the_file(opened: Run) -> None:
    small = np.full((2, 2, 3), 7, dtype=np.uint8)
    both, alone = exhibit("kind/both", card=small, numbers={"share": 0.5}), exhibit("kind/alone")
    paths = [path for _, path in Gallery(opened).hang([both, alone])]
    folder = opened.path / "show"
    assert paths == [folder / "kind" / "both.png", folder / "kind" / "alone.png"]
    events = EventAccumulator(str(folder))
    events.Reload()
    for tag, pixels in (("kind/both", small), ("kind/alone", GRAY)):
        (image,) = events.Images(tag)
        with Image.open(io.BytesIO(image.encoded_image_string)) as read:
            assert np.array_equal(np.array(read), pixels)
    assert [(point.step, point.value) for point in events.Scalars("kind/both/share")] == [(opened.step, 0.5)]
    with Image.open(paths[0]) as page:
        assert np.array_equal(np.array(page), GRAY)


def test_each_is_there_as_soon_as_it_is_handed_out(opened: Run) -> None:
    hanging = Gallery(opened).hang(exhibit(f"kind/{i}") for i in range(3))
    _, path = next(iter(hanging))
    assert path.exists()
    assert not path.with_name("1.png").exists()


def test_nothing_is_made_where_there_is_nothing_to_hang(opened: Run) -> None:
    assert list(Gallery(opened).hang([])) == []
    assert not (opened.path / "show").exists()


def test_a_picture_of_the_same_name_is_replaced(opened: Run) -> None:
    for level in (1, 2):
        ((_, path),) = Gallery(opened).hang([exhibit("kind/one", level)])
    with Image.open(path) as image:
        assert np.array(image).max() == 2
    assert [each.name for each in path.parent.iterdir()] == ["one.png"]


def test_a_full_disk_leaves_no_half_picture(opened: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "write_file", half)
    with pytest.raises(DiskError, match=r"one\.png: cannot be written: No space left") as caught:
        list(Gallery(opened).hang([exhibit("kind/one")]))
    assert caught.value.remedy == f"free some space, or see that {opened.path} may be written to"
    assert list((opened.path / "show" / "kind").iterdir()) == []


def test_names_that_are_no_file_names() -> None:
    assert slug("T-shirt/top") == "T-shirt-top"
    assert slug("../..") == "x"
    assert slug("Ä b") == "Ä-b"
