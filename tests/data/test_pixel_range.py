"""More than 8 bits: the range of the training images is measured, kept with the weights, and used for other images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cnncli.config.config import read_config
from cnncli.config.data import DataSpec
from cnncli.data.images import Dataset
from cnncli.data.labeled import load_labeled
from cnncli.data.load import load_dataset
from cnncli.data.preparation import Preparation
from cnncli.data.preprocessing import Preprocessing
from cnncli.experiment.setup import prepare

SIZE = (3, 4)


@pytest.fixture(params=[10, 2**20], ids=["cached", "in memory"], autouse=True)
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnncli.data.image_files._MAX_IN_MEMORY", request.param)


def save(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def sensor(tmp_path: Path) -> dict[str, NDArray[np.uint16]]:
    """Images of a 12-bit sensor in 16-bit PNG files; the test images are brighter and darker than the others."""
    numbers = np.random.default_rng(0)
    bounds = {"train/on": (1000, 4000), "train/off": (300, 2000), "test/on": (200, 4090), "test/off": (0, 500)}
    found = {}
    for folder, (low, high) in bounds.items():
        for number in range(2):
            values = numbers.integers(low + 1, high, SIZE, dtype=np.uint16)
            values[0, 0], values[2, 3] = low, high
            found[f"{folder}/{number}.png"] = values
            save(tmp_path / "sensor" / f"{folder}/{number}.png", values)
    return found


def load(data_dir: Path, **fields: object) -> Dataset:
    spec = {"name": "image-folder", "path": "sensor", "size": SIZE, "channels": 1, **fields}
    return load_dataset(DataSpec.model_validate(spec), data_dir=data_dir)


def check(dataset: Dataset, sensor: dict[str, NDArray[np.uint16]], low: float, high: float) -> None:
    for part in (dataset.train, dataset.test):
        assert part.paths is not None
        for path, pixels in zip(part.paths, part.images[:, 0].numpy(), strict=True):
            expected = np.clip((sensor[path].astype(np.float64) - low) / (high - low), 0, 1) * 255
            np.testing.assert_allclose(pixels, expected, atol=0.5)
        values = part.images.flatten(2).long()
        assert part.sums is not None
        assert torch.equal(part.sums, torch.stack([values.sum(dim=2), (values**2).sum(dim=2)], dim=2))


def test_the_range_of_the_training_images_is_measured_and_said(
    tmp_path: Path, sensor: dict[str, NDArray[np.uint16]], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # decoded, and perhaps from the cache
        caplog.clear()
        loaded = load(tmp_path)
        assert loaded.range == (300, 4000)
        check(loaded, sensor, 300, 4000)
        assert sum("scaled from 300..4000, the range of the training images" in each for each in caplog.messages) == 1


def test_a_given_range(tmp_path: Path, sensor: dict[str, NDArray[np.uint16]], caplog: pytest.LogCaptureFixture) -> None:
    loaded = load(tmp_path, range=[0, 4095])
    assert loaded.range == (0, 4095)
    check(loaded, sensor, 0, 4095)
    assert caplog.messages == [] or all("decod" in each for each in caplog.messages)
    check(load(tmp_path, range=[500, 3000]), sensor, 500, 3000)
    assert "image-folder: pixels from 0 to 4090 are clipped to data.range 500..3000" in caplog.messages


def test_8_bits_stay_as_they_are_and_have_no_range(tmp_path: Path) -> None:
    for label in ("off", "on"):
        for number in range(3):
            save(tmp_path / "sensor" / label / f"{number}.png", np.full(SIZE, 100 + number, dtype=np.uint8))
    loaded = load(tmp_path, test=2)
    assert loaded.range is None
    assert {*loaded.train.images.flatten().tolist(), *loaded.test.images.flatten().tolist()} == {100, 101, 102}


def test_floating_point_and_8_bits_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path / "sensor" / "train" / "on" / "1.tif", np.linspace(-2, 3, 12, dtype=np.float32).reshape(SIZE))
    save(tmp_path / "sensor" / "train" / "off" / "1.png", np.full(SIZE, 77, dtype=np.uint8))
    save(tmp_path / "sensor" / "test" / "off" / "1.png", np.full(SIZE, 78, dtype=np.uint8))
    loaded = load(tmp_path)
    assert loaded.range == (-2, 3)
    assert loaded.train.images[0].flatten().tolist() == [77] * 12
    np.testing.assert_allclose(loaded.train.images[1].flatten(), np.linspace(0, 255, 12), atol=0.51)


def test_a_network_keeps_the_range_and_prepares_images_with_it(
    tmp_path: Path, sensor: dict[str, NDArray[np.uint16]]
) -> None:
    (tmp_path / "sensor.yaml").write_text(
        "data: {name: image-folder, path: sensor, size: [3, 4], channels: 1, validation: 0}\n"
        "model: {layers: [flatten, logits]}\n"
    )
    config = read_config(str(tmp_path / "sensor.yaml"), data_dir=tmp_path)
    stored = prepare(config, data_dir=tmp_path, device=torch.device("cpu")).training.preprocessing
    assert stored is not None
    assert stored.range == (300, 4000)
    assert Preprocessing.from_record(stored.as_record()) == stored
    preparation = Preparation.of(config.data, (1, *SIZE), stored.normalization, range=stored.range)
    tested = load(tmp_path).test
    assert tested.paths is not None
    for path, pixels in zip(tested.paths, tested.images.numpy(), strict=True):
        for image in (tmp_path / "sensor" / path, sensor[path], sensor[path].astype(np.float64)):
            result = preparation.prepare(image, invert="no")
            np.testing.assert_array_equal(result.pixels, pixels)
            assert result.steps == ("scaled from 300..4000",)


def test_another_folder_is_scaled_by_the_same_range(tmp_path: Path, sensor: dict[str, NDArray[np.uint16]]) -> None:
    classes, folder = ("off", "on"), str(tmp_path / "sensor")
    found = load_labeled(folder, "test", classes=classes, input_shape=(1, *SIZE), range=(300, 4000), data_dir=tmp_path)
    assert torch.equal(found.images, load(tmp_path).test.images)
    alone = load_labeled(folder, "test", classes=classes, input_shape=(1, *SIZE), data_dir=tmp_path)
    assert not torch.equal(found.images, alone.images)
