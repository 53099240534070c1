"""Decoded images that do not fit in memory: written once to a file of pixels, which is mapped afterward.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnncli.data.decode import DECODER_VERSION
from cnncli.data.images import PixelRange
from cnncli.errors import DiskError
from cnncli.files import UNFINISHED, atomic_write

FOLDER = ".cnncli-cache"
"""In the data directory; may be deleted at any time while no run is using it."""
_ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which an unfinished file, or metadata without pixels, must be from a process that was killed."""
_OPTION = "--data-dir or $CNNCLI_DATA"


@dataclass(frozen=True, kw_only=True)
class DecodedFacts:
    """What is known of decoded image files.

    Attributes:
        checksum: one of all files and their names.
        unreadable: why an image cannot be read, by its position in the list of files.
        range: lowest and highest value of the pixels that were scaled; None if there are none.
        reduced: how many images have 16-bit colors, of which the upper 8 were read.
    """

    checksum: str
    unreadable: Mapping[int, str]
    range: PixelRange | None
    reduced: int

    def as_record(self) -> dict[str, Any]:
        """As JSON stores it."""
        return {**asdict(self), "unreadable": [list(each) for each in self.unreadable.items()]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "DecodedFacts":
        """The inverse of `as_record`.

        Raises:
            KeyError, TypeError, ValueError: it is not such a record.
        """
        low_high = record["range"]
        return cls(
            checksum=str(record["checksum"]),
            unreadable={int(position): str(problem) for position, problem in record["unreadable"]},
            range=None if low_high is None else (float(low_high[0]), float(low_high[1])),
            reduced=int(record["reduced"]),
        )


class PixelFile:
    """A file to which the pixels of images are appended.

    Args:
        file: the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Append images, uint8 (M, C, H, W)."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self._file.flush()  # a full disk is an error now, not after the sums have been written

    def restart(self) -> None:
        """Remove all that was written."""
        self._file.seek(0)
        self._file.truncate()


class CachedImages:
    """The pixels of a list of image files at one shape, valid as long as no file changes.

    The cache has four files: the pixels (`.uint8`), the sums over each image (`.sums`), the SHA-256 digest of each file
    (`.digests`), and metadata (`.json`).

    Args:
        data_dir: the data directory.
        root: the folder of the files.
        paths: the files.
        shape: (N, C, H, W).
        state: `fingerprint` of all images of the folder, of which these may be a part.
        range: with which pixels of more than 8 bits are scaled; None for that of all these images.
        column: of images, in Parquet files.

    Attributes:
        path: the file of pixels.
        size: its size in bytes if all images can be read.
        facts: what is known of the images; None if they have not been decoded yet. The pixels of those that cannot be
            read are not in the cache.
    """

    def __init__(
        self,
        data_dir: Path,
        root: Path,
        paths: Sequence[Path],
        shape: tuple[int, ...],
        state: str,
        *,
        range: PixelRange | None = None,
        column: str = "",
    ) -> None:
        self._metadata = {"root": str(root.resolve()), "state": state}
        self._shape = shape
        self.path = data_dir / FOLDER / f"{fingerprint(root, paths, shape, range, column)}.uint8"
        self.size = math.prod(shape)
        self.facts: DecodedFacts | None = None
        with suppress(KeyError, TypeError, ValueError, IndexError):  # damaged
            facts = DecodedFacts.from_record(_read_metadata(self.path.with_suffix(".json")))
            if all(_has_size(path, size) for path, size in self._files(facts).items()):
                self.facts = facts
        if self.facts is not None:
            with suppress(DiskError):  # the folder may be read-only
                self._write_metadata(self.facts)

    def _count(self, facts: DecodedFacts) -> int:
        """The number of images that can be read."""
        return self._shape[0] - len(facts.unreadable)

    def _files(self, facts: DecodedFacts) -> dict[Path, int]:
        """The files without the metadata, with their sizes."""
        per_image = {
            ".uint8": math.prod(self._shape[1:]),
            ".sums": 16 * self._shape[1],
            ".digests": hashlib.sha256().digest_size,
        }
        return {self.path.with_suffix(suffix): size * self._count(facts) for suffix, size in per_image.items()}

    @contextmanager
    def writing(self) -> Iterator[PixelFile]:
        """Write the pixels. Call `complete` at the end of the context.

        Two processes may do this at the same time.

        Raises:
            DiskError: there is no room for the pixels.
        """
        self._prepare_folder()
        try:
            with atomic_write(self.path, option=_OPTION) as file:
                # Written, not mapped: on a full disk, writing to a mapped file would kill the process.
                yield PixelFile(file)
                assert self.facts is not None, "complete() comes last"
                assert file.tell() == self._files(self.facts)[self.path], (file.tell(), self._shape, self.facts)
        except DiskError as error:
            # Windows cannot replace a file that another process, which decoded the same images, has mapped.
            if not (isinstance(error.__cause__, PermissionError) and _has_size(self.path, self.size)):
                raise

    def complete(self, facts: DecodedFacts, *, sums: NDArray[np.int64], digests: NDArray[np.uint8]) -> None:
        """Finish writing.

        Args:
            facts: see the attribute.
            sums: of the images that can be read, (N, C, 2).
            digests: SHA-256 of their files, (N, 32).
        """
        assert len(sums) == len(digests) == self._count(facts), (sums.shape, digests.shape, self._shape)
        self.facts = facts
        for suffix, content in ((".sums", sums.astype("<i8").tobytes()), (".digests", digests.tobytes())):
            with atomic_write(self.path.with_suffix(suffix), option=_OPTION) as file:
                file.write(content)
        self._write_metadata(facts)

    def open(self) -> tuple[Tensor, NDArray[np.int64], NDArray[np.uint8]]:
        """The pixels, uint8 (N, C, H, W), mapped and read-only; the sums, (N, C, 2); and the digests, (N, 32)."""
        assert self.facts is not None, "decoded"
        count = self._count(self.facts)
        # Not mapped copy-on-write: Linux refuses to map more than the memory that way.
        pixels = np.memmap(self.path, dtype=np.uint8, mode="r", shape=(count, *self._shape[1:]))
        sums = np.fromfile(self.path.with_suffix(".sums"), dtype="<i8").reshape(count, self._shape[1], 2)
        digests = np.fromfile(self.path.with_suffix(".digests"), dtype=np.uint8).reshape(count, -1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(pixels), sums, digests

    def _prepare_folder(self) -> None:
        """Create the folder, remove abandoned files, and check now, not after minutes, that there is room."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(
                f"{self.path.parent}: cannot be created: {error.strerror or error}",
                remedy=f"choose a writable data directory with {_OPTION}",
            ) from error
        _remove_abandoned(self.path.parent)
        free = shutil.disk_usage(self.path.parent).free
        if free < self.size:
            raise DiskError(
                f"{self.path.parent}: the decoded images need {self.size:,} bytes, {free:,} are free",
                remedy=f"free some space, set a smaller data.size, or choose another data directory with {_OPTION}",
            )

    def _write_metadata(self, facts: DecodedFacts) -> None:
        path = self.path.with_suffix(".json")
        content = json.dumps(self._metadata | facts.as_record())
        if _read_metadata(path) != json.loads(content):
            with atomic_write(path, option=_OPTION) as file:
                file.write(content.encode())


def fingerprint(
    root: Path,
    paths: Sequence[Path],
    shape: tuple[int, ...] = (),
    range: PixelRange | None = None,
    column: str = "",
) -> str:
    """A key that changes when a file changes, or when its decoding changes.

    A file counts as unchanged while its path below `root`, its size and its modification time are the same; an image in
    another file, such as `train.parquet/17`, while that file is. The key also depends on the column of images in such
    files, on how images are decoded (`DECODER_VERSION`, the version of Pillow, shape and range), and on `root`, because
    two data sets may have files of the same names, sizes and times.
    """
    folder = os.fspath(root.resolve())
    key = hashlib.sha256(ascii((DECODER_VERSION, PIL.__version__, shape, range, column, folder)).encode())
    prefix = len(os.fspath(root))
    for path in map(os.fspath, paths):
        status: tuple[int, int] | None = None  # decoding reports what is wrong with the file
        with suppress(OSError):
            status = _status(path)
        key.update(ascii((path[prefix:], status)).encode())
    return key.hexdigest()[:32]


def _status(path: str) -> tuple[int, int]:
    """Size and modification time of a file, or of the one that holds an image."""
    try:
        stat = os.stat(path)  # noqa: PTH116  there may be a million of them
    except OSError:
        holder = os.path.dirname(path)  # noqa: PTH120  likewise
        if not os.path.isfile(holder):  # noqa: PTH113
            raise
        stat = os.stat(holder)  # noqa: PTH116
    return stat.st_size, stat.st_mtime_ns


def remove_outdated(data_dir: Path, root: Path, state: Callable[[], str]) -> int:
    """Remove the cached pixels of a folder that has changed since, and abandoned files of any folder.

    Args:
        data_dir: the data directory.
        root: the folder.
        state: returns the `fingerprint` of all its images.

    Returns:
        How many bytes of pixels were removed.
    """
    _remove_abandoned(data_dir / FOLDER)
    all_metadata = {path: _read_metadata(path) for path in (data_dir / FOLDER).glob("*.json")}
    ours = {path: each for path, each in all_metadata.items() if each.get("root") == str(root.resolve())}
    return sum(_remove(path) for path, each in ours.items() if each.get("state") != state())


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f"*{UNFINISHED}"):
        with suppress(OSError):
            if _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _ABANDONED_AFTER


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _read_metadata(path: Path) -> dict[str, Any]:
    """The content of a metadata file; empty if it is missing or damaged."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _remove(metadata: Path) -> int:
    """Remove the files of a cache; returns the bytes of pixels. A run that has them mapped is not affected."""
    pixels = metadata.with_suffix(".uint8")
    size = 0
    try:
        if pixels.exists():
            size = pixels.stat().st_size
            pixels.unlink()
        elif not _is_abandoned(metadata):  # another process may be about to write them
            return 0
        for suffix in (".sums", ".digests"):
            metadata.with_suffix(suffix).unlink(missing_ok=True)
        metadata.unlink()
    except OSError:  # removed by another process, or, on Windows, in use
        return 0
    return size
