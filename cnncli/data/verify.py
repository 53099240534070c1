"""The files of the standard data sets: which exist, and whether they are intact. No torch here."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset
from cnncli.data.cifar import read_batches
from cnncli.data.idx import read_images_and_labels
from cnncli.errors import DataError, DiskError
from cnncli.files import open_to_read, replace_file

CHECKSUM_CACHE = ".cnncli-verified.json"
"""In the data directory: the size, modification time and MD5 of every file that was verified."""

REPLACE = "delete {file} and run again to download it, or replace it with an undamaged copy"
"""The remedy for a damaged file."""


@dataclass(frozen=True)
class Format:
    """A file format of data sets.

    Attributes:
        read: reads the files of one part. Returns uint8 images (N, C, H, W) and uint8 labels (N,).
        gzipped: whether files may be gzipped.
        trusted: whether a file may be opened before its checksum is verified.
    """

    read: Callable[[KnownDataset, Sequence[Path]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    gzipped: bool
    trusted: bool


FORMATS = {
    "idx": Format(read_images_and_labels, gzipped=True, trusted=True),
    "cifar": Format(read_batches, gzipped=False, trusted=False),
}


class Checksums:
    """MD5 checksums of the files in a data directory. A file is read again only if its size or time has changed.

    Args:
        data_dir: where the checksums are cached, unless it is read-only.
        cached: whether to use checksums of the cache.
    """

    def __init__(self, data_dir: Path, *, cached: bool = True) -> None:
        self._data_dir = data_dir
        self._cache: dict[str, Any] = {}
        self._changed = False
        if not cached:
            return
        with suppress(OSError, ValueError):
            cache = json.loads((data_dir / CHECKSUM_CACHE).read_text(encoding="utf-8"))
            self._cache = cache if isinstance(cache, dict) else {}

    def md5(self, path: Path, *, unpacked: bool = False) -> str:
        """The MD5 of a file in the data directory, or of the content of a gzipped file."""
        key = path.relative_to(self._data_dir).as_posix() + ("#unpacked" if unpacked else "")
        status = path.stat()
        facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        cached = self._cache.get(key)
        if isinstance(cached, dict) and facts.items() <= cached.items() and isinstance(cached.get("md5"), str):
            return str(cached["md5"])
        with open_to_read(path) as raw, gzip.open(raw) if unpacked else raw as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        self._cache[key] = {**facts, "md5": digest}
        self._changed = True
        return digest

    def save(self) -> None:
        """Write new checksums to the cache, if the data directory is writable."""
        if self._changed:
            with suppress(DiskError):
                content = json.dumps(self._cache, indent=1, sort_keys=True)
                replace_file(self._data_dir / CHECKSUM_CACHE, content.encode())


def verify_files(facts: KnownDataset, paths: Sequence[Path], checksums: Checksums) -> dict[str, str]:
    """Compare files with their published checksums; returns the checksum of each.

    Raises:
        DataError: a file is damaged.
    """
    files: dict[str, str] = {}
    for path in paths:
        actual = checksums.md5(path)
        expected = facts.md5.get(path.name, actual)
        if actual != expected and not _is_repacked(facts, path, checksums):
            raise DataError(
                f"{path}: wrong checksum: MD5 {actual}, expected {expected}", remedy=REPLACE.format(file=path)
            )
        files[path.name] = f"md5:{actual}"
    return files


def is_published(facts: KnownDataset, path: Path, checksums: Checksums) -> bool:
    """Whether a file that `verify_files` accepts, or its content, has a published checksum."""
    return path.stem in facts.md5 or facts.md5.get(path.name) == checksums.md5(path)


def _is_repacked(facts: KnownDataset, path: Path, checksums: Checksums) -> bool:
    """Whether a gzipped file was packed again, so that its own bytes differ from those of the published file.

    Its content is the published one. Where no checksum of the content is published, as for KMNIST, it is a file that
    is intact by the checksum of gzip; its header and labels are checked when it is read.
    """
    if path.suffix != ".gz":
        return False
    try:
        content = checksums.md5(path, unpacked=True)
    except (OSError, EOFError, zlib.error):
        return False
    return content == facts.md5.get(path.stem, content)


def find_file(facts: KnownDataset, data_dir: Path, name: str) -> Path | None:
    """The path of a file, plain or gzipped."""
    plain = data_dir / facts.folder / name
    if plain.exists():
        return plain
    packed = plain.with_name(f"{name}.gz")
    gzipped = facts.format in FORMATS and FORMATS[facts.format].gzipped
    return packed if gzipped and packed.exists() else None


def missing_files(facts: KnownDataset, data_dir: Path) -> list[str]:
    """The names of the files that are there neither plain nor gzipped."""
    names = (name for part in facts.files.values() for name in part)
    return [name for name in names if find_file(facts, data_dir, name) is None]
