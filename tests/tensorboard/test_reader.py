"""Pictures read from event files, against TensorBoard's own reader."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.tensorboard.event_file import EventFile
from cnncli.tensorboard.reader import read_pictures


def picture(level: int) -> npt.NDArray[np.uint8]:
    return np.full((2, 3, 3), level, dtype=np.uint8)


def as_tensorboard_reads(directory: Path) -> dict[str, list[tuple[int, bytes]]]:
    reader = EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()
    pictures = {tag: reader.Images(tag) for tag in reader.Tags()["images"]}
    return {tag: [(each.step, each.encoded_image_string) for each in kept] for tag, kept in pictures.items() if kept}


def as_read(directory: Path) -> dict[str, list[tuple[int, bytes]]]:
    return {tag: [(each.step, each.content) for each in kept] for tag, kept in read_pictures(directory).items()}


def test_every_step_of_every_tag(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        for step in range(12):
            events.pictures(step, {"kernels/01_conv1": picture(step), "feature_maps/01_conv1/7": picture(100 + step)})
            events.scalars(step, {"loss/train": 1.0})
    read = as_read(tmp_path)
    assert read == as_tensorboard_reads(tmp_path)
    assert len(read) == 2
    assert all([step for step, _ in kept] == list(range(12)) for kept in read.values())


def test_steps_that_a_resumed_run_repeats_are_dropped(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        for step in (0, 5, 10):
            events.pictures(step, {"kernels/01_conv1": picture(step)})
        events.pictures(10, {"only/before": picture(1)})
    with EventFile(tmp_path, resumed_at=6) as events:
        events.pictures(8, {"kernels/01_conv1": picture(80)})
    read = as_read(tmp_path)
    assert read == as_tensorboard_reads(tmp_path)
    assert [step for step, _ in read["kernels/01_conv1"]] == [0, 5, 8]
    assert "only/before" not in read


@pytest.mark.parametrize("cut", [1, 50])
def test_a_truncated_record_is_ignored(cut: int, tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.pictures(0, {"kernels/01_conv1": picture(0)})
        events.pictures(1, {"kernels/01_conv1": picture(1)})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert [step for step, _ in as_read(tmp_path)["kernels/01_conv1"]] == [0]


def test_a_subfolder_is_a_separate_run(tmp_path: Path) -> None:
    with EventFile(tmp_path / "show") as events:
        events.pictures(3, {"kernels/01_conv1": picture(3)})
    assert read_pictures(tmp_path) == {}
