"""Image folders: layouts, splits, and skipped files."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from cnncli.config.data import DataSpec
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.errors import DataError


def draw(path: Path, color: int | tuple[int, ...] = 0, *, mode: str = "L", size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def load(root: Path, **fields: object) -> Dataset:
    spec = DataSpec.model_validate({"name": "image-folder", "path": "pictures", "size": (4, 6), **fields})
    return load_dataset(spec, data_dir=root)


def test_train_and_test_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, shift in (("train", 0), ("test", 100)):
        draw(tmp_path / "pictures" / part / "dog" / "1.png", shift + 20)
        draw(tmp_path / "pictures" / part / "cat" / "1.png", shift + 10)
        draw(tmp_path / "pictures" / part / "cat" / "below" / "2.bmp", shift + 11)
    draw(tmp_path / "pictures" / "extra" / "3.png")
    loaded = load(tmp_path, channels=1)
    assert loaded.classes == ("cat", "dog")
    assert loaded.train.images.shape == (3, 1, 4, 6)
    assert loaded.train.images[:, 0, 0, 0].tolist() == [10, 11, 20]
    assert loaded.train.labels.tolist() == [0, 0, 1]
    assert loaded.test.images[:, 0, 0, 0].tolist() == [110, 111, 120]
    assert caplog.messages == ["image-folder: ignoring extra: not training, validation or test images"]
    assert all(each.startswith("sha256:") for each in loaded.files.values())


def test_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    for number in range(10):
        draw(tmp_path / "pictures" / "cat" / f"{number}.png", number)
        draw(tmp_path / "pictures" / "dog" / f"{number}.png", 100 + number)
    loaded, again = load(tmp_path, channels=1), load(tmp_path, channels=1)
    assert loaded.test.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(loaded.test.images, again.test.images)
    seen = [*loaded.train.images[:, 0, 0, 0].tolist(), *loaded.test.images[:, 0, 0, 0].tolist()]
    assert sorted(seen) == [*range(10), *range(100, 110)]
    assert len(load(tmp_path, channels=1, test=8).test) == 8


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        for number in range(3):
            draw(tmp_path / "pictures" / name / f"{number}.png")
    assert load(tmp_path, test=2).classes == ("bus", "train")


def test_hidden_files_and_other_files_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat", "dog"):
        for number in range(2):
            draw(tmp_path / "pictures" / name / f"{number}.PNG")
    for name in (
        "cat/.hidden.png",
        "cat/notes.txt",
        "README.md",
        ".DS_Store",
        ".git/x.png",
        "__MACOSX/x.png",
    ):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("no image")
    assert len(load(tmp_path, test=1).train) == 3
    assert caplog.messages[0].endswith("skipped 2 files that are not images of a class")


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat", "dog"):
        draw(tmp_path / "pictures" / name / "small.png")
    draw(tmp_path / "pictures" / "cat" / "large.png", size=(20, 10))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with pytest.raises(DataError, match=r"cat/large.png \(more than 150 pixels\)"):
        load(tmp_path, test=1)


def test_names_select_the_classes_and_give_their_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, shift in (("train", 0), ("test", 100)):
        for color, name in ((10, "cat"), (20, "dog"), (30, "owl")):
            draw(tmp_path / "pictures" / part / name / "1.png", shift + color)
    loaded = load(tmp_path, channels=1, classes=["owl", "cat"])
    assert loaded.classes == ("owl", "cat")
    assert loaded.train.images[:, 0, 0, 0].tolist() == [30, 10]
    assert loaded.test.images[:, 0, 0, 0].tolist() == [130, 110]
    assert (loaded.train.labels.tolist(), loaded.test.labels.tolist()) == ([0, 1], [0, 1])
    assert caplog.messages == ["image-folder: ignoring dog: not in data.classes"]
    draw(tmp_path / "pictures" / "test" / "emu" / "1.png")
    with pytest.raises(DataError, match="no training images for emu"):
        load(tmp_path, channels=1, classes=["owl", "cat"])


def test_a_class_without_test_images_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, labels in (("train", ("cat", "dog")), ("test", ("cat",))):
        for label in labels:
            (tmp_path / "pets" / part / label).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (4, 4), 10 * i).save(tmp_path / "pets" / part / label / f"{i}.png")
    spec = DataSpec(name="image-folder", path="pets", size=(4, 4), channels=1)
    loaded = load_dataset(spec, data_dir=tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert loaded.test.labels.tolist() == [0, 0, 0]
    assert any("has no images of dog" in notice for notice in caplog.messages)
