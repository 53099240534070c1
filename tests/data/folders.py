"""Image folders as people have them, each with what it is read as.

`python -m tests.data.folders DIR` writes all of them to a folder, for a look at them.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

Content = int | str | bytes
"""Of a file: a color, for an image of that color; a text; or the bytes."""

BROKEN = b"\x89PNG\r\n\x1a\n and then nothing"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder and what is expected of it.

    Attributes:
        files: path -> content.
        fields: of the `data` section, besides name, path and size.
        classes: as read.
        counts: of training, validation and test images; the validation images are those that the folder itself has.
        says: patterns, each of which one message matches; there may be others.
        error: a pattern of the error instead, remedy included.
    """

    files: Mapping[str, Content]
    fields: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ("cat", "dog")
    counts: tuple[int, int, int] = (0, 0, 0)
    says: tuple[str, ...] = ()
    error: str = ""


def images(*folders: str, each: int = 5) -> dict[str, Content]:
    """Some images in every folder, all different."""
    return {
        f"{folder}/{number}.png": position * each + number
        for position, folder in enumerate(folders)
        for number in range(each)
    }


def pets(*parts: str, each: int = 3) -> dict[str, Content]:
    """Images of cats and dogs in every part."""
    return images(*(f"{part}/{name}" for part in parts for name in ("cat", "dog")), each=each)


FOLDERS: dict[str, Folder] = {
    "classes only": Folder(files=images("cat", "dog"), counts=(8, 0, 2), says=("2 images are held out for testing",)),
    "train and test": Folder(files=pets("train", "test"), counts=(6, 0, 6)),
    "Train and Test": Folder(files=pets("Train", "Test"), counts=(6, 0, 6)),
    "training and testing": Folder(files=pets("training", "testing"), counts=(6, 0, 6)),
    "TRAIN and VAL": Folder(
        files=pets("TRAIN", "VAL", each=5),
        counts=(8, 10, 2),
        says=(
            "10 validation images from VAL, in place of data.validation",
            "2 images are held out for testing",
        ),
    ),
    "train, val and test": Folder(
        files=pets("train", "val", "test"), counts=(6, 6, 6), says=("6 validation images from val",)
    ),
    "train, valid and test, without validation": Folder(
        files=pets("train", "valid", "test"),
        fields={"validation": 0},
        counts=(6, 0, 6),
        says=("ignoring valid: data.validation is 0",),
    ),
    "train2017 and val2017": Folder(
        files=pets("train2017", "val2017", each=5), counts=(8, 10, 2), says=("images from val2017",)
    ),
    "training_set and test_set": Folder(files=pets("training_set", "test_set"), counts=(6, 0, 6)),
    "parts and something else": Folder(
        files={**pets("train", "test"), "backup/1.png": 1}, counts=(6, 0, 6), says=("ignoring backup: not training",)
    ),
    "val and test, but no train": Folder(
        files=pets("val", "test"), error=r"has test and val, but no training images\n.*rename the folder .*/train"
    ),
    "two folders of training images": Folder(
        files=pets("train", "training"), error="two folders of train images: train and training"
    ),
    "parts without class folders": Folder(
        files=images("train", "test"), error="has test and train, but they contain no class folders"
    ),
    "test images without labels": Folder(
        files={**pets("train"), **images("test")}, error=r"test: no class folders, .* no labels\n.*data.test=0.2"
    ),
    "test images without labels, not needed": Folder(
        files={**pets("train"), **images("test")},
        fields={"test": 2},
        counts=(4, 0, 2),
        says=("ignoring test: no class folders",),
    ),
    "a class called train": Folder(files=images("bus", "train"), classes=("bus", "train"), counts=(8, 0, 2)),
    "classes called train and test, declared": Folder(
        files=pets("train", "test", each=2),
        fields={"classes": ["test", "train"], "test": 2},
        classes=("test", "train"),
        counts=(6, 0, 2),
    ),
    "unpacked into a folder of its own": Folder(
        files=images("pets/cat", "pets/dog"),
        error=r"only the class folder pets\n.*cat, dog in it .*set data.path to .*/pets$",
    ),
    "one class": Folder(files=images("cat"), error=r"only the class folder cat\n.*at least two"),
    "images without folders": Folder(files={"1.png": 1, "2.png": 2}, error="no class folders"),
    "numbers as classes": Folder(files=images("10", "2", "1", "0"), classes=("0", "1", "2", "10"), counts=(16, 0, 4)),
    "numbers in the names of classes": Folder(
        files=images("c10", "c2", "c2b", "b"), classes=("b", "c2", "c2b", "c10"), counts=(16, 0, 4)
    ),
    "images in nested folders": Folder(
        files={**images("cat/indoors/day", "cat/outdoors", "dog"), "cat/.thumbnails/1.png": 1, "dog/.2.png": 2},
        counts=(12, 0, 3),
    ),
    "other files": Folder(
        files={**images("cat", "dog"), "cat/Thumbs.db": "?", "labels.csv": "a,b", "__MACOSX/cat/1.png": 1},
        counts=(8, 0, 2),
        says=("skipped 2 files that are not images",),
    ),
    "the same images in train and test": Folder(
        files={**pets("train"), **images("test/dog", "test/cat", each=2)},
        counts=(6, 0, 4),
        # The colors of test/dog and test/cat are 0, 1 and 2, 3; those of train/cat and train/dog 0, 1, 2 and 3, 4, 5.
        says=(r"test and training images have 4 files in common: test/cat/0.png = train/cat/2.png, .*train/dog/0.png",),
    ),
    "the same images in val and train": Folder(
        files={**pets("train", "val"), "train/cat/0.png": 99, "val/dog/0.png": 99},
        fields={"test": 2},
        says=("(validation and training|test and validation) images have 1 file in common",),
        counts=(4, 6, 2),
    ),
    "unreadable images in both parts": Folder(
        files={**pets("train", "test"), "train/dog/1.png": BROKEN, "test/cat/2.png": b""},
        error=r"2 of 12 images cannot be read: train/dog/1.png \(.*\), test/cat/2.png \(empty\)\n.*skip_unreadable",
    ),
    "unreadable images in both parts, skipped": Folder(
        files={**pets("train", "test"), "train/dog/1.png": BROKEN, "test/cat/2.png": b""},
        fields={"skip_unreadable": True},
        counts=(5, 0, 5),
        says=(r"2 of 12 images cannot be read and are skipped: train/dog/1.png \(.*\), test/cat/2.png \(empty\)",),
    ),
    "a class without readable images": Folder(
        files={**pets("train", "test", each=1), "train/dog/0.png": BROKEN},
        fields={"skip_unreadable": True},
        error="no images in dog",
    ),
    "a class of one image, and one of two": Folder(
        files={**images("cat", each=20), "dog/1.png": 30, "emu/1.png": 31, "emu/2.png": 32},
        fields={"test": 3},
        classes=("cat", "dog", "emu"),
        counts=(20, 0, 3),
        says=("no test images of dog, emu: too few images",),
    ),
    "an empty class": Folder(files={**images("cat", "dog"), "emu/notes.txt": "soon"}, error="no images in emu"),
    "a class in test only": Folder(
        files={**pets("train", "test"), "test/emu/1.png": 1}, error="no training images for emu"
    ),
    "a class in val only": Folder(
        files={**pets("train", "val"), "val/emu/1.png": 1}, error="no training images for emu"
    ),
    "a class without test images": Folder(
        files={**pets("train"), **images("test/cat")}, counts=(6, 0, 5), says=("test has no images of dog",)
    ),
    "an empty folder": Folder(files={}, error="no class folders"),
}


def write_folder(root: Path, folder: Folder) -> Path:
    """Write the files of a folder."""
    root.mkdir(parents=True)
    for name, content in folder.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            Image.new("L", (6, 4), content).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def write_all(root: Path) -> Iterator[Path]:
    """Write all folders."""
    for name, folder in FOLDERS.items():
        yield write_folder(root / name.replace(" ", "-").replace(",", ""), folder)


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write_all(Path(sys.argv[1])))
