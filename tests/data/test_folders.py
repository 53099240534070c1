"""Image folders as people have them: how many images of which classes are read, what is said, and what is refused."""

import re
from pathlib import Path

import pytest
import torch

from cnncli.config.data import DataSpec, class_names
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.errors import DataError
from tests.data.folders import FOLDERS, Folder, images, pets, write_folder


def load(folder: Folder, data_dir: Path) -> tuple[DataSpec, Dataset]:
    write_folder(data_dir / "pictures", folder)
    section = {"name": "image-folder", "path": "pictures", "size": (4, 6), "channels": 1, **folder.fields}
    spec = DataSpec.model_validate(section)
    return spec, load_dataset(spec, data_dir=data_dir)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_as_people_have_them(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = FOLDERS[name]
    if folder.error:
        with pytest.raises(DataError) as caught:
            load(folder, tmp_path)
        assert re.search(folder.error, f"{caught.value.message}\n{caught.value.remedy}"), caught.value
        return
    spec, found = load(folder, tmp_path)
    counts = (len(found.train) - found.validation, found.validation, len(found.test))
    assert (found.classes, counts) == (folder.classes, folder.counts)
    assert class_names(spec, tmp_path) == folder.classes
    for pattern in folder.says:
        assert any(re.search(pattern, message) for message in caplog.messages), caplog.messages
    for part in (found.train, found.test):
        assert part.paths is not None
        for path, label, pixels in zip(part.paths, part.labels.tolist(), part.images, strict=True):
            assert folder.classes[label] in Path(path).parts
            assert set(pixels.flatten().tolist()) == {folder.files[path]}


def test_the_folder_of_validation_images_is_held_out(tmp_path: Path) -> None:
    _, found = load(Folder(files=pets("train", "val", "test")), tmp_path)
    kept, held_out = found.hold_out(0.5, seed=0)
    assert found.train.paths is not None
    assert {found.train.paths[i].split("/")[0] for i in kept.tolist()} == {"train"}
    assert {found.train.paths[i].split("/")[0] for i in held_out.tolist()} == {"val"}
    assert torch.equal(torch.cat([kept, held_out]), torch.arange(12))


@pytest.mark.parametrize("limit", [10, 2**20])
def test_skipped_images_are_reported_every_time(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the others are read from the cache; without `skip_unreadable` they are an error, cached or not."""
    monkeypatch.setattr("cnncli.data.image_files._MAX_IN_MEMORY", limit)
    folder = FOLDERS["unreadable images in both parts, skipped"]
    spec, first = load(folder, tmp_path)
    again = load_dataset(spec, data_dir=tmp_path)
    assert torch.equal(again.train.images, first.train.images)
    assert again.train.paths == first.train.paths
    assert again.files == first.files
    assert sum("cannot be read and are skipped" in message for message in caplog.messages) == 2
    with pytest.raises(DataError, match=r"2 of 12 images cannot be read: train/dog/1.png \(.*\), test/cat/2.png"):
        load_dataset(spec.model_copy(update={"skip_unreadable": False}), data_dir=tmp_path)


@pytest.mark.parametrize("limit", [10, 2**20])
def test_images_in_two_parts_are_reported_every_time(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cnncli.data.image_files._MAX_IN_MEMORY", limit)
    spec, _ = load(FOLDERS["the same images in train and test"], tmp_path)
    load_dataset(spec, data_dir=tmp_path)
    assert sum("test and training images have 4 files in common" in message for message in caplog.messages) == 2


def test_an_unreadable_image_of_a_validation_folder_does_not_shift_the_border(tmp_path: Path) -> None:
    files = {**pets("train", "val", "test"), "train/cat/0.png": b"", "val/cat/1.png": b"", "val/dog/2.png": b""}
    _, found = load(Folder(files=files, fields={"skip_unreadable": True}), tmp_path)
    assert found.train.paths is not None
    kept, held_out = found.hold_out(0.1, seed=0)
    assert [found.train.paths[i].split("/")[0] for i in [*kept.tolist(), *held_out.tolist()]] == ["train"] * 5 + [
        "val"
    ] * 4


def test_a_linked_class_folder_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", Folder(files=images("dog")))
    (tmp_path / "pictures").mkdir()
    try:
        (tmp_path / "pictures" / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    except OSError:
        pytest.skip("this system has no links")
    write_folder(tmp_path / "more", Folder(files=images("cat")))
    (tmp_path / "more" / "cat").rename(tmp_path / "pictures" / "cat")
    spec = DataSpec.model_validate({"name": "image-folder", "path": "pictures", "size": 4})
    assert len(load_dataset(spec, data_dir=tmp_path).train) == 8
