"""Folders of images: layouts, colors, and what is passed over."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.config.data import DataSpec
from cnncli.data.decode import UnreadableImageError, decode
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
    assert caplog.messages == ["image-folder: beside train and test, not read: extra"]
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


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    assert caplog.messages[0].endswith("2 files that are no images of a class are passed over")


def pixel(path: Path, channels: int) -> list[int]:
    return [int(value) for value in decode(path, channels=channels, size=(3, 5))[0][:, 1, 2]]


def test_every_mode_comes_out_as_declared(tmp_path: Path) -> None:
    """Expected values follow from what the modes mean; gray of a color is 0.299 R + 0.587 G + 0.114 B."""
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "palette.png")
    see_through = Image.new("P", (6, 4), 1)
    see_through.putpalette([0, 0, 0, 200, 100, 50])
    see_through.save(tmp_path / "see_through.png", transparency=1)
    cases: dict[str, tuple[str, Any]] = {
        "rgb.png": ("RGB", (200, 100, 50)),
        "rgba.png": ("RGBA", (0, 0, 0, 0)),
        "half.png": ("RGBA", (0, 0, 0, 128)),
        "gray_alpha.png": ("LA", (0, 0)),
        "deep.png": ("I;16", 0x8000),
        "cmyk.tif": ("CMYK", (0, 255, 255, 0)),
        "one_bit.png": ("1", 1),
    }
    for name, (mode, color) in cases.items():
        draw(tmp_path / name, color, mode=mode)
    assert pixel(tmp_path / "palette.png", 3) == [200, 100, 50]
    assert pixel(tmp_path / "see_through.png", 3) == [255, 255, 255]
    assert pixel(tmp_path / "rgb.png", 1) == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]
    assert pixel(tmp_path / "rgba.png", 3) == [255, 255, 255]
    assert pixel(tmp_path / "half.png", 1) == [127]
    assert pixel(tmp_path / "gray_alpha.png", 1) == [255]
    assert pixel(tmp_path / "deep.png", 3) == [128, 128, 128]
    assert pixel(tmp_path / "cmyk.tif", 3) == [255, 0, 0]
    assert pixel(tmp_path / "one_bit.png", 1) == [255]


def test_images_are_turned_upright_and_scaled_as_pillow_does(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned right
    image.save(tmp_path / "turned.png", exif=exif)
    ours, _ = decode(tmp_path / "turned.png", channels=3, size=(10, 8))
    theirs = image.transpose(Image.Transpose.ROTATE_270).resize((8, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(ours, np.asarray(theirs).transpose(2, 0, 1))


def test_floats_have_no_known_range(tmp_path: Path) -> None:
    Image.new("F", (4, 4), 0.5).save(tmp_path / "float.tif")
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode(tmp_path / "float.tif", channels=1, size=(4, 4))


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat", "dog"):
        draw(tmp_path / "pictures" / name / "small.png")
    draw(tmp_path / "pictures" / "cat" / "large.png", size=(20, 10))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with pytest.raises(DataError, match=r"cat/large.png \(more than 150 pixels\)"):
        load(tmp_path, test=1)


def test_a_class_without_test_images_is_said_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
