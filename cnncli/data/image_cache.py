"""Decoded images that are too many for the memory: one file of pixels, decoded once and mapped afterward.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import json
import math
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnncli.data.decode import DECODER_VERSION
from cnncli.errors import DiskError

FOLDER = ".cnncli-cache"
"""In the data directory; may be deleted at any time when no run is using it."""
_GIVEN_UP = 24 * 3600.0
"""Seconds after which an unfinished file, or a note without pixels, was left by a process that was killed."""


class CachedImages:
    """The pixels of a list of files at one shape, found again as long as no file changes.

    Args:
        data_dir: the data directory.
        root: the folder that the files are in.
        paths: the files.
        shape: (N, C, H, W).
        state: `fingerprint` of all images of the folder, of which these may be a part.

    Attributes:
        path: the file of pixels.
        size: of that file, in bytes.
        checksum: of the files that were decoded; None while that has not been done.
    """

    def __init__(self, data_dir: Path, root: Path, paths: Sequence[Path], shape: tuple[int, ...], state: str) -> None:
        self._note = {"root": str(root.resolve()), "state": state}
        self._shape = shape
        self.path = data_dir / FOLDER / f"{fingerprint(root, paths, shape)}.uint8"
        self.size = math.prod(shape)
        self._sums = self.path.with_suffix(".sums")
        self.checksum: str | None = None
        if _has(self.path, self.size) and _has(self._sums, math.prod(self._shape_of_sums) * 8):
            self.checksum = _read(_note_of(self.path)).get("checksum")
            if self.checksum is not None:
                with suppress(OSError):  # of a folder that may only be read
                    self._write_note()

    @property
    def _shape_of_sums(self) -> tuple[int, int, int]:
        return self._shape[0], self._shape[1], 2

    @contextmanager
    def writing(self) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
        """A function that takes the pixels, uint8 (M, C, H, W), from first to last.

        They are written beside, and kept under their name only once `complete` has been called: whatever ends this
        before, nothing is left that could be taken for the whole. Two processes may do it at once.

        Raises:
            DiskError: no room for them.
        """
        with self._errors_explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(self.path.parent)
            self._refuse_a_full_disk()
            unfinished = _beside(self.path)
            file = unfinished.open("xb", buffering=0)
        try:
            with file:

                def write(pixels: NDArray[np.uint8]) -> None:
                    # Not through a map: on a full disk that would kill the process.
                    with self._errors_explained():
                        rest = np.ascontiguousarray(pixels).data.cast("B")
                        while rest:
                            rest = rest[file.write(rest) :]

                yield write
                assert self.checksum is not None, "complete() comes last"
                assert file.tell() == self.size, (file.tell(), self._shape)
                with self._errors_explained():
                    os.fsync(file.fileno())
            with self._errors_explained():
                try:
                    unfinished.replace(self.path)
                except PermissionError:  # Windows: another process has mapped the same, which it decoded meanwhile
                    if not _has(self.path, self.size):
                        raise
        finally:
            unfinished.unlink(missing_ok=True)

    def complete(self, checksum: str, sums: NDArray[np.int64]) -> None:
        """Every pixel has been written; `sums`, (N, C, 2), are kept beside."""
        assert sums.shape == self._shape_of_sums, (sums.shape, self._shape)
        self.checksum = checksum
        with self._errors_explained():
            _replace(self._sums, sums.astype("<i8").tobytes())
            self._write_note()

    def open(self) -> tuple[Tensor, Tensor]:
        """The pixels, uint8 (N, C, H, W), and the sums, int64 (N, C, 2).

        The operating system reads the pixels as they are used. They cannot be changed.
        """
        # Not copy-on-write: Linux refuses to map more than there is memory in that way.
        pixels = np.memmap(self.path, dtype=np.uint8, mode="r", shape=self._shape)
        sums = np.fromfile(self._sums, dtype="<i8").reshape(self._shape_of_sums)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(pixels), torch.from_numpy(sums)

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"{self.path.parent}: decoded images cannot be kept there ({error.strerror or error})",
                remedy="make room, or choose a data directory that can be written with --data-dir or $CNNCLI_DATA",
            ) from None

    def _refuse_a_full_disk(self) -> None:
        """Now, and not after minutes."""
        free = shutil.disk_usage(self.path.parent).free
        if free < self.size:
            raise DiskError(
                f"{self.path.parent}: the decoded images need {self.size:,} bytes, {free:,} are free",
                remedy="make room, choose a smaller data.size, or another data directory with --data-dir",
            )

    def _write_note(self) -> None:
        note = _note_of(self.path)
        if _read(note) != (content := self._note | {"checksum": str(self.checksum)}):
            _replace(note, json.dumps(content).encode())


def fingerprint(root: Path, paths: Sequence[Path], shape: tuple[int, ...] = ()) -> str:
    """Another one as soon as a file changes, or what is made of it.

    A file is taken for unchanged while its name below `root`, its size and its time of change are the same. What turns
    files into pixels counts too: `DECODER_VERSION`, and the version of Pillow. So does where `root` is: two data sets
    may have files of the same names, sizes and times.
    """
    key = hashlib.sha256(ascii((DECODER_VERSION, PIL.__version__, shape, os.fspath(root.resolve()))).encode())
    above = len(os.fspath(root))
    for path in map(os.fspath, paths):
        found: tuple[int, int] | None = None  # whoever decodes it says what is wrong
        with suppress(OSError):
            status = os.stat(path)  # noqa: PTH116  there may be a million of them
            found = status.st_size, status.st_mtime_ns
        key.update(ascii((path[above:], found)).encode())
    return key.hexdigest()[:32]


def remove_outdated(data_dir: Path, root: Path, state: Callable[[], str]) -> int:
    """Remove the pixels that were made of a folder when it was another, and what killed processes left of any.

    Args:
        data_dir: the data directory.
        root: the folder.
        state: gives the `fingerprint` of all its images now.

    Returns:
        The bytes that were removed of the folder.
    """
    _remove_unfinished(data_dir / FOLDER)
    ours = [note for note in (data_dir / FOLDER).glob("*.json") if _read(note).get("root") == str(root.resolve())]
    return sum(_remove(note) for note in ours if _read(note).get("state") != state())


def _remove_unfinished(folder: Path) -> None:
    for part in folder.glob("*.part"):
        with suppress(OSError):
            if _given_up(part):
                part.unlink()


def _given_up(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _GIVEN_UP


def _note_of(pixels: Path) -> Path:
    return pixels.with_suffix(".json")


def _beside(path: Path) -> Path:
    """A name of its own for what is to take the place of a file."""
    return path.with_name(f"{path.stem}-{uuid.uuid4().hex}.part")


def _replace(path: Path, content: bytes) -> None:
    """Write a small file so that nobody sees a part of it."""
    unfinished = _beside(path)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _has(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _read(note: Path) -> dict[str, str]:
    """What stands in a note; nothing where it is none, or only a part of one."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove(note: Path) -> int:
    """Remove a note, its pixels and sums; returns their bytes. A run that has them mapped keeps them until it ends."""
    pixels = note.with_suffix(".uint8")
    size = 0
    try:
        if pixels.exists():
            size = pixels.stat().st_size
            pixels.unlink()
        elif not _given_up(note):  # somebody is about to put them there
            return 0
        pixels.with_suffix(".sums").unlink(missing_ok=True)
        note.unlink()
    except OSError:  # gone already, or, on Windows, in use
        return 0
    return size
