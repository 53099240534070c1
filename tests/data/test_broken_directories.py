"""Broken data directories and their error messages."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from cnncli.config.data import DataSpec
from cnncli.data.load import load_dataset
from cnncli.errors import DataError

EXPECTED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "data" / "broken.json").read_text(encoding="utf-8")
)
MNIST = Path("MNIST") / "raw"
LETTERS = Path("EMNIST") / "raw"


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def letters(root: Path) -> None:
    """A complete, tiny EMNIST (letters)."""
    (root / LETTERS).mkdir(parents=True)
    for part in ("train", "test"):
        images, labels = np.zeros((3, 28, 28)), np.array([1, 2, 3])
        (root / LETTERS / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(images))
        (root / LETTERS / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def pictures(root: Path, *, parts: tuple[str, ...] = ("train", "test")) -> None:
    """A complete, tiny image folder."""
    for part in parts:
        for name in ("cat", "dog"):
            (root / "pictures" / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("L", (8, 8), number).save(root / "pictures" / part / name / f"{number}.png")


def missing_file(root: Path) -> None:
    letters(root)
    (root / LETTERS / "emnist-letters-test-labels-idx1-ubyte").unlink()


def truncated(root: Path) -> None:
    letters(root)
    path = root / LETTERS / "emnist-letters-train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])


def wrong_magic(root: Path) -> None:
    letters(root)
    path = root / LETTERS / "emnist-letters-train-images-idx3-ubyte"
    path.write_bytes(b"<html>404 not found</html>")


def counts_differ(root: Path) -> None:
    letters(root)
    (root / LETTERS / "emnist-letters-train-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2])))


def label_out_of_range(root: Path) -> None:
    letters(root)
    (root / LETTERS / "emnist-letters-test-labels-idx1-ubyte").write_bytes(idx(np.array([1, 27, 3])))


def damaged_gzip(root: Path) -> None:
    letters(root)
    path = root / LETTERS / "emnist-letters-train-images-idx3-ubyte"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(packed[: len(packed) // 2])


def wrong_checksum(root: Path) -> None:
    """Black images instead of MNIST's; sizes and headers are right."""
    (root / MNIST).mkdir(parents=True)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        for kind, lengths in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            header = bytes((0, 0, 8, len(lengths))) + struct.pack(f">{len(lengths)}I", *lengths)
            with (root / MNIST / f"{part}-{kind}-ubyte").open("wb") as file:
                file.write(header)
                file.truncate(len(header) + int(np.prod(lengths)))


def file_for_directory(root: Path) -> None:
    (root / "MNIST").mkdir(parents=True)
    (root / MNIST).write_text("a file")


def directory_for_file(root: Path) -> None:
    letters(root)
    path = root / LETTERS / "emnist-letters-train-images-idx3-ubyte"
    path.unlink()
    path.mkdir()


def no_folder(root: Path) -> None:
    root.mkdir()


def file_for_folder(root: Path) -> None:
    root.mkdir()
    (root / "pictures").write_text("a file")


def no_classes(root: Path) -> None:
    (root / "pictures").mkdir(parents=True)
    Image.new("L", (8, 8)).save(root / "pictures" / "1.png")


def class_without_images(root: Path) -> None:
    pictures(root)
    for path in (root / "pictures" / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".txt"))


def unreadable_images(root: Path) -> None:
    pictures(root)
    train = root / "pictures" / "train"
    (train / "cat" / "0.png").write_text("not a picture")
    (train / "dog" / "1.png").write_bytes(b"")


def truncated_image(root: Path) -> None:
    pictures(root)
    path = root / "pictures" / "test" / "dog" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:400])


def class_only_in_test(root: Path) -> None:
    pictures(root)
    (root / "pictures" / "test" / "dog").rename(root / "pictures" / "test" / "dgo")


def two_tests(root: Path) -> None:
    pictures(root)


def other_number_of_classes(root: Path) -> None:
    pictures(root)


def one_image_each(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / "pictures" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(root / "pictures" / name / "1.png")


BUILDERS: list[Callable[[Path], None]] = [
    missing_file,
    truncated,
    wrong_magic,
    counts_differ,
    label_out_of_range,
    damaged_gzip,
    wrong_checksum,
    file_for_directory,
    directory_for_file,
    no_folder,
    file_for_folder,
    no_classes,
    class_without_images,
    unreadable_images,
    truncated_image,
    class_only_in_test,
    two_tests,
    other_number_of_classes,
    one_image_each,
]


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], None]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    data_dir = tmp_path / "data"
    build(data_dir)
    case = EXPECTED[build.__name__]
    with pytest.raises(DataError) as caught:
        load_dataset(DataSpec.model_validate(case["data"]), data_dir=data_dir)
    assert caught.value.message.replace(str(data_dir), "DATA") == case["message"]
    assert (caught.value.remedy or "").replace(str(data_dir), "DATA") == case["remedy"]


def test_every_case_has_its_builder() -> None:
    assert sorted(EXPECTED) == sorted(build.__name__ for build in BUILDERS)
