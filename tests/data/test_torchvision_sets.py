"""Data sets that torchvision reads, against torchvision; files are written by hand, and nothing is downloaded."""

import bz2
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from cnncli.config.config import read_config
from cnncli.config.data import DataSpec, input_shape
from cnncli.config.datasets import STANDARD_DATA, known_dataset
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.errors import DataError


def load(data_dir: Path, **fields: object) -> Dataset:
    return load_dataset(DataSpec.model_validate(fields), data_dir=data_dir, download=False)


def test_fake_data_are_those_of_torchvision(tmp_path: Path) -> None:
    theirs = datasets.FakeData(size=12, image_size=(3, 10, 8), num_classes=3)
    fields = {"size": 12, "image_size": [3, 10, 8], "num_classes": 3}
    found = load(tmp_path, name="torchvision:FakeData", size=[10, 8], classes=3, arguments=fields)
    for ours, label, (image, target) in zip(found.train.images, found.train.labels.tolist(), theirs, strict=True):
        np.testing.assert_array_equal(ours.numpy(), np.asarray(image).transpose(2, 0, 1))
        assert label == int(target)
    assert len(found.test) == 12
    rows = [{each.numpy().tobytes() for each in part.images} for part in (found.train, found.test)]
    assert not rows[0] & rows[1]


def test_usps_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of libsvm: a label from 1, and 256 pixels from -1 to 1."""
    monkeypatch.setitem(datasets.USPS.split_list, "train", ("", "usps.bz2", ""))
    monkeypatch.setitem(datasets.USPS.split_list, "test", ("", "usps.t.bz2", ""))
    for name, count in (("usps.bz2", 20), ("usps.t.bz2", 10)):
        rows = (f"{i % 10 + 1} " + " ".join(f"{j}:{(i * j % 7) / 3 - 1}" for j in range(1, 257)) for i in range(count))
        (tmp_path / name).write_bytes(bz2.compress("\n".join(rows).encode()))
    found = load(tmp_path, name="usps", size=16)
    assert (found.train.images.shape, found.test.images.shape) == ((20, 1, 16, 16), (10, 1, 16, 16))
    assert found.test.labels.tolist() == list(range(10))
    expected = [int((i * j % 7) / 6 * 255 + 1e-4) for i in (3,) for j in range(1, 257)]
    np.testing.assert_allclose(found.train.images[3].flatten(), expected, atol=1)


class Flowers(datasets.VisionDataset):  # type: ignore[misc]  # torchvision has no type stubs
    """Three splits, one of them called `valid`, and labels of two kinds."""

    def __init__(self, root: str, split: str = "train", kind: str = "one", download: bool = False) -> None:
        super().__init__(root)
        if split not in ("train", "valid", "test"):
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are ...")
        self.kind, self.first = kind, ("train", "valid", "test").index(split) * 20

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        label = index % 3
        image = Image.new("RGB", (9, 7), (self.first + index, 100, 200))
        return image, (label, label) if self.kind == "both" else label


@pytest.fixture
def flowers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "Flowers102", Flowers)


FLOWERS = {"name": "torchvision:Flowers102", "size": 8, "classes": ["a", "b", "c"]}


@pytest.mark.usefixtures("flowers")
def test_splits_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = load(tmp_path, **FLOWERS)
    assert found.classes == ("a", "b", "c")
    assert found.train.images[:, 0, 0, 0].tolist() == [*range(6), *range(20, 26)]
    assert (found.validation, found.test.images[:, 0, 0, 0].tolist()) == (6, list(range(40, 46)))
    assert found.test.images.shape == (6, 3, 8, 8)
    assert any("6 validation images of its own" in message for message in caplog.messages)
    assert load(tmp_path, **FLOWERS, validation=0).validation == 0
    assert load(tmp_path, **FLOWERS).files == found.files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": -1}, "train: cannot be read: __len__"),
        ({"image_size": "x"}, "train: cannot be read: .*size"),
        ({"num_classes": 10**12}, "train: an image has the label .* but there are 3 classes"),
    ],
)
def test_arguments_that_torchvision_accepts_at_first(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, name="torchvision:FakeData", size=8, classes=3, arguments=arguments)


@pytest.mark.usefixtures("flowers")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arguments": {"kin": "one"}}, "Flowers102 takes no kin. Did you mean kind?\n.*correct its name"),
        ({"arguments": {"root": "/"}}, "takes no root"),
        ({"arguments": {"kind": "both"}}, "the target of an image is not one class but tuple"),
        ({"classes": 2}, "an image has the label 2, but there are 2 classes"),
        ({"classes": 4}, "no training images of 3"),
        ({"test": 2}, "has its own test images"),
        ({"name": "torchvision:Flower102"}, "torchvision has no data set Flower102. Did you mean Flowers102?"),
        ({"name": "torchvision:VisionDataset"}, "torchvision has no data set VisionDataset"),
        ({"name": "torchvision:MNIST"}, "has a name of its own\n.*use data.name: mnist"),
        ({"name": "torchvision:wrap"}, "torchvision has no data set wrap"),
        ({"name": "torchvision:EuroSAT"}, "cannot be read from .*: Dataset not found"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, **{**FLOWERS, **fields})
    assert re.search(message.replace("?", r"\?"), f"{caught.value.message}\n{caught.value.remedy}"), caught.value


def test_a_config_of_such_a_set_needs_no_torchvision(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: {name: 'torchvision:Flowers102', size: 8, classes: 102}\nmodel: {layers: [flatten, logits]}\n"
    )
    config = read_config(str(tmp_path / "a.yaml"), data_dir=tmp_path)
    assert (config.network.input_shape, len(config.classes)) == ((3, 8, 8), 102)
    (tmp_path / "resolved.yaml").write_text(config.resolved(), encoding="utf-8")
    assert read_config(str(tmp_path / "resolved.yaml"), data_dir=tmp_path).network == config.network


def test_facts_about_sets_that_torchvision_reads() -> None:
    for name in STANDARD_DATA:
        facts = known_dataset(name)
        if facts.format == "torchvision":
            assert issubclass(getattr(datasets, facts.torchvision_class), datasets.VisionDataset)
            assert input_shape(DataSpec(name=name)) == facts.native
