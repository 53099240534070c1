"""Atomic writes, and full disks whichever library meets them."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from cnncli.cli.messages import report
from cnncli.errors import DiskError
from cnncli.files import atomic_write, disk_errors_explained, replace_file, replace_json

LIMIT = 100_000
"""Bytes after which the system refuses to write to a file, as it does on a full disk."""


@pytest.fixture
def full_disk() -> Any:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    replace_json(path, {"ü": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "ü": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise kind

    with pytest.raises(kind):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_once(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as first:
        first.write(b"fir")
        with atomic_write(tmp_path / "a") as second:
            second.write(b"second")
        first.write(b"st")
    assert (tmp_path / "a").read_bytes() == b"first"


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(DiskError, match="File too large") as caught:
        replace_file(path, bytes(LIMIT + 1))
    assert caught.value.remedy == f"free some space on the disk that holds {tmp_path}, or choose another with --out"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_remedy_fits_the_error(tmp_path: Path) -> None:
    def fail(number: int) -> DiskError:
        with pytest.raises(DiskError) as caught, disk_errors_explained(tmp_path / "a", option="--data-dir"):
            raise OSError(number, "reason")
        return caught.value

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert str(fail(number).remedy).startswith("free some space")
    assert str(fail(errno.EACCES).remedy).startswith(f"check that {tmp_path} is writable")
    assert str(fail(errno.EACCES).remedy).endswith("with --data-dir")


NUMBERS = np.random.default_rng(0).random(LIMIT // 4)  # 8 bytes each
WRITERS: dict[str, Callable[[Path], object]] = {
    "numpy.save": lambda path: np.save(path.with_suffix(".npy"), NUMBERS),
    "numpy.savez": lambda path: np.savez(path.with_suffix(".npz"), a=NUMBERS),
    "torch.save": lambda path: torch.save(torch.from_numpy(NUMBERS), path),
    "safetensors": lambda path: safetensors.torch.save_file({"a": torch.from_numpy(NUMBERS)}, path),
    "PIL, PNG": lambda path: Image.fromarray(NUMBERS.view(np.uint8).reshape(-1, 1000)).save(path.with_suffix(".png")),
    "PIL, BMP": lambda path: Image.fromarray(NUMBERS.view(np.uint8).reshape(-1, 1000)).save(path.with_suffix(".bmp")),
    "pathlib": lambda path: path.write_bytes(NUMBERS.tobytes()),
}


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_recognized_in_the_errors_of_other_libraries(
    tmp_path: Path, write: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  each library raises another one
        write(tmp_path / "a")
    assert report(caught.value) == 7
    assert "free some space" in capsys.readouterr().err


def test_no_space_left_on_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match="No space left") as caught, full.open("wb", buffering=0) as file:
        torch.save(torch.zeros(9), file)
    assert report(caught.value) == 7
    with pytest.raises(OSError, match="No space left") as caught, full.open("wb", buffering=0) as file:
        np.save(file, NUMBERS)
    assert report(caught.value) == 7
    assert "free some space" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("28"), OSError("no number"), PermissionError(errno.EACCES, "denied")])
def test_other_errors_are_not_a_full_disk(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error) == 1
    assert "this is a bug" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [".", "a", "a/b"])
def test_a_file_in_place_of_a_folder(folder: str, tmp_path: Path) -> None:
    """`--out` names a file, or something below one: the message says which file."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DiskError, match=f"cannot be written: {file} is a file") as caught, disk_errors_explained(file):
        (file / folder).mkdir(parents=True)
    assert caught.value.remedy == "choose another place with --out"
