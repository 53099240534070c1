"""The standard data sets: read in torchvision's directory layout, verified, and downloaded if they are missing."""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset, Part
from cnncli.data.cifar import read_batches
from cnncli.data.download import DownloadError, download
from cnncli.data.idx import read_images_and_labels
from cnncli.data.images import Dataset, ImageSet
from cnncli.errors import DataError, DiskError
from cnncli.files import replace_file

CHECKSUM_CACHE = ".cnncli-verified.json"
"""In the data directory: the size, modification time and MD5 of every file that was verified."""

_REPLACE = "delete {file} and run again to download it, or replace it with an undamaged copy"


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
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._cache: dict[str, Any] = {}
        self._changed = False
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
        with gzip.open(path) if unpacked else path.open("rb") as file:
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


def load_known(facts: KnownDataset, *, data_dir: Path, digits_flags: str, allow_download: bool = True) -> Dataset:
    """Read a standard data set at its native size.

    torchvision and the network are used only if files are missing from `data_dir / facts.folder`.

    Args:
        facts: the data set.
        data_dir: the data directory.
        digits_flags: the options that run the same config on the embedded digits, for messages.
        allow_download: whether missing files may be downloaded.

    Raises:
        DataError: files are damaged, or are missing and cannot be downloaded.
        DiskError: there is no room for a download.
    """
    _check_folders(data_dir / facts.folder)
    if missing := _missing(facts, data_dir):
        if not allow_download:
            raise DataError(
                f"{facts.name} not found in {data_dir / facts.folder}",
                remedy="choose another data directory with --data-dir or $CNNCLI_DATA, or download the data set with "
                "cnncli show confusion RUN",
            )
        try:
            download(facts, data_dir)
        except DownloadError as error:
            raise _not_found(facts, data_dir, missing, f"the download failed: {error}", digits_flags) from None
        if missing := _missing(facts, data_dir):
            raise _not_found(facts, data_dir, missing, "the download did not contain them", digits_flags)
    checksums = Checksums(data_dir)
    files: dict[str, str] = {}
    train = _read(facts, "train", data_dir, checksums, files)
    test = _read(facts, "test", data_dir, checksums, files)
    checksums.save()
    return Dataset(name=facts.name, classes=facts.classes, train=train, test=test, files=files)


def _read(facts: KnownDataset, part: Part, data_dir: Path, checksums: Checksums, files: dict[str, str]) -> ImageSet:
    """Read and verify one part; the checksums of its files are added to `files`."""
    paths = [path for name in facts.files[part] if (path := _find(facts, data_dir, name))]
    assert len(paths) == len(facts.files[part]), "checked before"
    format = FORMATS[facts.format]
    if format.trusted:
        images, labels = format.read(facts, paths)
        files |= _verify(facts, paths, checksums)
    else:
        files |= _verify(facts, paths, checksums)
        images, labels = format.read(facts, paths)
    _check_counts(facts, part, paths, len(images), len(labels))
    return ImageSet(images=torch.from_numpy(images), labels=_class_labels(facts, labels, paths[-1]))


def _verify(facts: KnownDataset, paths: list[Path], checksums: Checksums) -> dict[str, str]:
    """Compare files with their published checksums; returns the checksum of each."""
    files: dict[str, str] = {}
    for path in paths:
        actual = checksums.md5(path)
        expected = facts.md5.get(path.name, actual)
        if actual != expected and not _is_repacked(facts, path, checksums):
            raise DataError(
                f"{path}: wrong checksum: MD5 {actual}, expected {expected}", remedy=_REPLACE.format(file=path)
            )
        files[path.name] = f"md5:{actual}"
    return files


def _is_repacked(facts: KnownDataset, path: Path, checksums: Checksums) -> bool:
    """Whether a gzipped file holds the published content, though its own bytes differ from the published file's."""
    expected = facts.md5.get(path.stem)
    return path.suffix == ".gz" and expected is not None and checksums.md5(path, unpacked=True) == expected


def _check_counts(facts: KnownDataset, part: Part, paths: list[Path], images: int, labels: int) -> None:
    if images != labels:
        raise DataError(
            f"{paths[0]}: {images:,} images, but {paths[-1].name} has {labels:,} labels",
            remedy="both files must come from the same release; delete both and run again to download them",
        )
    if images == 0:
        raise DataError(f"{paths[0]}: no images", remedy=_REPLACE.format(file=paths[0]))
    if facts.counts is not None and images != (expected := facts.counts[("train", "test").index(part)]):
        raise DataError(f"{paths[0]}: {images:,} images, expected {expected:,}", remedy=_REPLACE.format(file=paths[0]))


def _class_labels(facts: KnownDataset, labels: NDArray[np.uint8], path: Path) -> torch.Tensor:
    """The labels of a file as int64 labels that start at 0."""
    first, last = facts.first_label, facts.first_label + len(facts.classes) - 1
    if labels.min() < first or labels.max() > last:
        raise DataError(
            f"{path}: labels from {labels.min()} to {labels.max()}; {facts.name} has labels {first} to {last}",
            remedy=_REPLACE.format(file=path),
        )
    return torch.from_numpy(labels).to(torch.int64) - first


def _check_folders(folder: Path) -> None:
    """Raise if `folder`, or a folder above it, is a file."""
    for each in (*reversed(folder.parents), folder):
        if each.exists() and not each.is_dir():
            raise DataError(
                f"{each} is a file, but the data directory needs a folder of that name",
                remedy="move the file, or choose another data directory with --data-dir or $CNNCLI_DATA",
            )


def _find(facts: KnownDataset, data_dir: Path, name: str) -> Path | None:
    """The path of a file, plain or gzipped."""
    plain = data_dir / facts.folder / name
    if plain.exists():
        return plain
    packed = plain.with_name(f"{name}.gz")
    return packed if FORMATS[facts.format].gzipped and packed.exists() else None


def _missing(facts: KnownDataset, data_dir: Path) -> list[str]:
    names = (name for part in facts.files.values() for name in part)
    return [name for name in names if _find(facts, data_dir, name) is None]


def _not_found(facts: KnownDataset, data_dir: Path, missing: list[str], outcome: str, digits_flags: str) -> DataError:
    forms = ["plain or as .gz"] if FORMATS[facts.format].gzipped else []
    if facts.archive is not None:
        forms.append(f"or their archive as {data_dir / facts.archive}")
    return DataError(
        f"{facts.name}: {', '.join(missing)} not found in {data_dir / facts.folder}, and {outcome}",
        remedy=(
            f"put the files there ({', '.join(forms)}), or choose the directory that contains {facts.folder} "
            f"with --data-dir or $CNNCLI_DATA\nor run the same config on the embedded digits: {digits_flags}"
        ),
    )
