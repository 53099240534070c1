"""Which logged pictures are in the page."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cnncli.report import pictures as logged
from cnncli.report.pictures import logged_data
from cnncli.tensorboard.event_file import EventFile
from cnncli.tensorboard.reader import read_pictures

TAGS = ("kernels/01_conv1", "feature_maps/01_conv1/3", "feature_maps/01_conv1/7", "evolution/01_conv1", "effective_receptive_field/x")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    with EventFile(tmp_path) as board:
        for step in (0, 4, 8, 12, 16):
            board.pictures(step, {tag: noise.integers(0, 256, (20, 20, 3), dtype=np.uint8) for tag in TAGS})
    return tmp_path


def test_every_picture_is_there_unchanged(run: Path) -> None:
    data = logged_data(run)
    written = read_pictures(run)
    assert data["steps"] == [0, 4, 8, 12, 16]
    assert data["left_out"] == []
    names = [f"kernels/{each['layer']}" for each in data["kernels"]]
    names += [f"feature_maps/{each['layer']}/{each['probe']}" for each in data["feature_maps"]]
    assert names == list(TAGS[:3])
    for name, tag in zip(names, [*data["kernels"], *data["feature_maps"]], strict=True):
        assert list(tag["frames"]) == [each.step for each in written[name]]
        for one, place in zip(written[name], tag["frames"].values(), strict=True):
            assert np.array_equal(pixels(base64.b64decode(data["pictures"][place])), pixels(one.content))


def pixels(content: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as picture:
        return np.array(picture)


def test_where_there_is_no_room_classes_go_first_then_steps_but_never_the_ends(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = logged_data(run)
    two = [*data["kernels"], data["feature_maps"][0]]
    size = sum(len(base64.b64decode(data["pictures"][place])) for tag in two for place in tag["frames"].values())
    monkeypatch.setattr(logged, "BYTES", size)
    data = logged_data(run)
    assert [each["probe"] for each in data["feature_maps"]] == ["3"]
    assert data["left_out"] == ["feature maps of 1 of 2 test images"]
    assert len(data["steps"]) == 5
    monkeypatch.setattr(logged, "BYTES", 1)
    data = logged_data(run)
    assert data["steps"] == [0, 16]
    assert data["left_out"] == ["feature maps of 1 of 2 test images", "3 of 5 steps"]


def test_a_run_without_pictures(tmp_path: Path) -> None:
    with EventFile(tmp_path) as board:
        board.scalars(0, {"loss/train": 1.0})
    data = logged_data(tmp_path)
    assert data["steps"] == data["kernels"] == data["feature_maps"] == data["pictures"] == []
