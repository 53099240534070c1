"""Decoded images that are too many for the memory: one file of pixels, decoded once and mapped afterwards."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import DiskError

FOLDER = ".cnncli-cache"
"""In the data directory; may be deleted at any time when no run is using it."""


class CachedImages:
    """The pixels of a list of files at one shape, found again as long as no file changes.

    Args:
        data_dir: the data directory.
        root: the folder that the files are in.
        paths: the files.
        shape: (N, C, H, W).

    Attributes:
        path: the file of pixels.
        checksum: of the files that were decoded; None while that has not been done.
    """

    def __init__(self, data_dir: Path, root: Path, paths: Sequence[Path], shape: tuple[int, ...]) -> None:
        key = hashlib.sha256(repr(shape).encode())
        for path in paths:
            status = path.stat()
            facts = (path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)
            key.update(ascii(facts).encode())
        self._shape = shape
        self.path = data_dir / FOLDER / f"{key.hexdigest()[:32]}.uint8"
        self._note = self.path.with_suffix(".json")
        self.checksum: str | None = None
        if self._note.exists() and self.path.exists() and self.path.stat().st_size == np.prod(shape, dtype=np.int64):
            self.checksum = str(json.loads(self._note.read_text(encoding="utf-8"))["checksum"])

    @contextmanager
    def writing(self) -> Iterator[NDArray[np.uint8]]:
        """Pixels to be filled in, uint8 (N, C, H, W); they are kept once `complete` has been called.

        Raises:
            DiskError: no room for them.
        """
        needed = int(np.prod(self._shape, dtype=np.int64))
        unfinished = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Writing to a mapped file on a full disk kills the process, so the room is looked for before.
            free = shutil.disk_usage(self.path.parent).free
            if free < needed:
                raise DiskError(
                    f"{self.path.parent}: the decoded images need {needed:,} bytes, {free:,} are free",
                    remedy="make room, choose a smaller data.size, or another data directory with --data-dir",
                )
            yield np.memmap(unfinished, dtype=np.uint8, mode="w+", shape=self._shape)
            unfinished.replace(self.path)
            self._note.write_text(json.dumps({"checksum": self.checksum}), encoding="utf-8")
        except OSError as error:
            raise DiskError(
                f"{self.path.parent}: decoded images cannot be kept there ({error.strerror or error})",
                remedy="choose a data directory that can be written with --data-dir or $CNNCLI_DATA",
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)

    def complete(self, checksum: str) -> None:
        """Every pixel has been filled in."""
        self.checksum = checksum

    def open(self) -> NDArray[np.uint8]:
        """The pixels, mapped: the operating system reads them as they are used. Changes stay in memory."""
        return np.memmap(self.path, dtype=np.uint8, mode="c", shape=self._shape)
