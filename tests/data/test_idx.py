"""The IDX reader, compared with torchvision's."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from cnncli.data.idx import read_idx
from cnncli.errors import DataError


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(packed) if path.suffix == ".gz" else packed)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    write_idx(tmp_path / f"images{suffix}", array)
    read = read_idx(tmp_path / f"images{suffix}", (None, 3, 4))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8
    assert read.flags.writeable


def test_arrays_equal_torchvision(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", generator.integers(0, 256, (5, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", generator.integers(0, 10, 5))
    theirs = datasets.MNIST(str(tmp_path), train=True)
    np.testing.assert_array_equal(read_idx(raw / "train-images-idx3-ubyte", (None, 28, 28)), theirs.data.numpy())
    np.testing.assert_array_equal(read_idx(raw / "train-labels-idx1-ubyte", (None,)), theirs.targets.numpy())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends inside its header (0 bytes)"),
        (bytes((0, 0, 8, 3)), "ends inside its header (4 bytes)"),
        (bytes((0, 0, 13, 1, 0, 0, 0, 1, 7)), "starts with 00 00 0d 01 instead of 00 00 08 01"),
        (bytes((0, 0, 8, 1, 0, 0, 0, 3, 7)), "truncated: the header gives 3 = 3 bytes, the file has 1"),
        (bytes((0, 0, 8, 1, 0, 0, 0, 1, 7, 7)), "too long: the header gives 1 = 1 bytes, the file has 2"),
        (bytes((0, 0, 8, 1, 255, 255, 255, 255, 7)), "truncated: the header gives 4,294,967,295"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_files_are_reported(tmp_path: Path, content: bytes, message: str, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError) as caught:
        read_idx(path, (None,))
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert "delete the file" in (caught.value.remedy or "")


def test_an_unexpected_axis_is_reported(tmp_path: Path) -> None:
    write_idx(tmp_path / "images", np.zeros((2, 27, 28)))
    with pytest.raises(DataError, match="axis 1 has length 27, expected 28"):
        read_idx(tmp_path / "images", (None, 28, 28))


def test_what_follows_the_images_takes_no_memory(tmp_path: Path) -> None:
    """64 MB of zeros after the last image are 300 kB, compressed."""
    path = tmp_path / "labels.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">BBBBI", 0, 0, 8, 1, 3) + bytes(3 + 2**26))
    tracemalloc.start()
    with pytest.raises(DataError, match="too long: the header gives 3 = 3 bytes, the file has 67,108,867"):
        read_idx(path, (None,))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
