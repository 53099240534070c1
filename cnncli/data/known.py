"""The data sets that have a name: read in torchvision's layout, downloaded where they are missing."""

import gzip
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset, Part
from cnncli.data.cifar import read_batch
from cnncli.data.download import DownloadError, download
from cnncli.data.idx import read_idx
from cnncli.data.images import Dataset, ImageSet
from cnncli.errors import DataError

MEMORY = ".cnncli-verified.json"
"""In the data directory: path, size, time of change and MD5 of every file that was checked."""


class Checksums:
    """Checksums of the files in one data directory; a file is read again only after its size or time changed.

    Args:
        data_dir: where the memory is kept; nothing is remembered where that cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._seen: dict[str, Any] = {}
        self._changed = False
        with suppress(OSError, ValueError):
            seen = json.loads((data_dir / MEMORY).read_text(encoding="utf-8"))
            self._seen = seen if isinstance(seen, dict) else {}

    def md5(self, path: Path, *, unpacked: bool = False) -> str:
        """The MD5 of a file in the data directory, or of what a gzipped file holds."""
        key = path.relative_to(self._data_dir).as_posix() + ("#unpacked" if unpacked else "")
        status = path.stat()
        facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        known = self._seen.get(key)
        if isinstance(known, dict) and facts.items() <= known.items() and isinstance(known.get("md5"), str):
            return str(known["md5"])
        with gzip.open(path) if unpacked else path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        self._seen[key] = {**facts, "md5": digest}
        self._changed = True
        return digest

    def remember(self) -> None:
        """Write what is new; where the directory cannot be written, files are just read again."""
        if not self._changed:
            return
        with suppress(OSError):
            text = json.dumps(self._seen, indent=1, sort_keys=True)
            with NamedTemporaryFile("w", dir=self._data_dir, prefix=MEMORY, delete=False, encoding="utf-8") as file:
                file.write(text)
            Path(file.name).replace(self._data_dir / MEMORY)


_REPLACE = "delete {file} and run again to download it, or put an undamaged one in its place"


def load_known(facts: KnownDataset, *, data_dir: Path, without_files: str) -> Dataset:
    """Read a data set at its native size.

    Files are looked for in `data_dir / facts.folder`, each plain or with `.gz`. torchvision and the network
    are used only where some are missing.

    Args:
        facts: which data set.
        data_dir: the data directory.
        without_files: the flags that run the same config on the embedded digits, for messages.

    Raises:
        DataError: files are missing and cannot be downloaded, or are damaged.
        DiskError: a download does not fit.
    """
    _check_folders(data_dir / facts.folder)
    if missing := _missing(facts, data_dir):
        try:
            download(facts, data_dir)
        except DownloadError as error:
            raise _nothing_there(facts, data_dir, missing, str(error), without_files) from None
        if missing := _missing(facts, data_dir):
            raise _nothing_there(facts, data_dir, missing, "done, but they are still missing", without_files)
    checksums = Checksums(data_dir)
    files: dict[str, str] = {}
    train = _read(facts, "train", data_dir, checksums, files)
    test = _read(facts, "test", data_dir, checksums, files)
    checksums.remember()
    return Dataset(name=facts.name, classes=facts.classes, train=train, test=test, files=files)


def _read(facts: KnownDataset, part: Part, data_dir: Path, checksums: Checksums, files: dict[str, str]) -> ImageSet:
    """One part, its files checked; their checksums are added to `files`."""
    paths = [path for name in facts.files[part] if (path := _present(facts, data_dir, name))]
    assert len(paths) == len(facts.files[part]), "looked for before"
    if facts.name == "cifar10":
        # A pickle is opened only once its checksum is known to be right.
        _check_sums(facts, paths, checksums, files)
        images, labels = _batches(paths)
    else:
        images, labels = _images_and_labels(facts, *paths)
        _check_sums(facts, paths, checksums, files)
    _check_counts(facts, part, paths, len(images), len(labels))
    return ImageSet(images=torch.from_numpy(images), labels=_class_positions(facts, labels, paths[-1]))


def _images_and_labels(
    facts: KnownDataset, images_path: Path, labels_path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """uint8 images (N, 1, H, W), upright, and labels (N,) of two IDX files."""
    _, height, width = facts.native
    images = read_idx(images_path, (None, height, width))
    if facts.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return images[:, np.newaxis], read_idx(labels_path, (None,))


def _batches(paths: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """uint8 images (N, 3, 32, 32) and labels (N,) of several files."""
    images, labels = zip(*(read_batch(path) for path in paths), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _check_sums(facts: KnownDataset, paths: list[Path], checksums: Checksums, files: dict[str, str]) -> None:
    for path in paths:
        found = checksums.md5(path)
        expected = facts.md5.get(path.name, found)
        if found != expected and not _is_repacked(facts, path, checksums):
            raise DataError(
                f"{path}: wrong checksum: MD5 {found}, {facts.name} has {expected}",
                remedy=_REPLACE.format(file=path),
            )
        files[path.name] = f"md5:{found}"


def _is_repacked(facts: KnownDataset, path: Path, checksums: Checksums) -> bool:
    """Whether a gzipped file holds the published content, though its own bytes differ from the published file's."""
    expected = facts.md5.get(path.stem)
    return path.suffix == ".gz" and expected is not None and checksums.md5(path, unpacked=True) == expected


def _check_counts(facts: KnownDataset, part: Part, paths: list[Path], images: int, labels: int) -> None:
    if images != labels:
        raise DataError(
            f"{paths[0]}: {images:,} images, but {labels:,} labels in {paths[-1].name}",
            remedy="both files must come from the same release; delete both and run again to download them",
        )
    if images == 0:
        raise DataError(f"{paths[0]}: no images", remedy=_REPLACE.format(file=paths[0]))
    if facts.counts is not None and images != (expected := facts.counts[("train", "test").index(part)]):
        raise DataError(
            f"{paths[0]}: {images:,} images where {facts.name} has {expected:,}",
            remedy=_REPLACE.format(file=paths[0]),
        )


def _class_positions(facts: KnownDataset, labels: NDArray[np.uint8], path: Path) -> torch.Tensor:
    """int64 labels from 0 of those in the files."""
    first, last = facts.first_label, facts.first_label + len(facts.classes) - 1
    if labels.min() < first or labels.max() > last:
        raise DataError(
            f"{path}: labels from {labels.min()} to {labels.max()} where {facts.name} has {first} to {last}",
            remedy=_REPLACE.format(file=path),
        )
    return torch.from_numpy(labels).to(torch.int64) - first


def _check_folders(folder: Path) -> None:
    """Refuse a file that stands where a folder, or one above it, should be."""
    for each in (*reversed(folder.parents), folder):
        if each.exists() and not each.is_dir():
            raise DataError(
                f"{each}: a file where a folder of the data directory should be",
                remedy="move the file away, or choose another data directory with --data-dir or $CNNCLI_DATA",
            )


def _present(facts: KnownDataset, data_dir: Path, name: str) -> Path | None:
    """A file, plain or, if it is IDX, packed."""
    plain = data_dir / facts.folder / name
    packed = plain.with_name(f"{name}.gz")
    if plain.exists() or facts.name == "cifar10":
        return plain if plain.exists() else None
    return packed if packed.exists() else None


def _missing(facts: KnownDataset, data_dir: Path) -> list[str]:
    names = (name for part in facts.files.values() for name in part)
    return [name for name in names if _present(facts, data_dir, name) is None]


def _nothing_there(
    facts: KnownDataset, data_dir: Path, missing: list[str], outcome: str, without_files: str
) -> DataError:
    folder = data_dir / facts.folder
    ways = [] if facts.name == "cifar10" else ["plain or as .gz"]
    if facts.archive is not None:
        ways.append(f"or their archive as {data_dir / facts.archive}")
    return DataError(
        f"{facts.name}: {', '.join(missing)} not in {folder}, and downloading failed: {outcome}",
        remedy=(
            f"put the files there ({', '.join(ways)}), or name the directory that has {facts.folder} "
            f"with --data-dir or $CNNCLI_DATA\nor run the same config on the embedded digits: {without_files}"
        ),
    )
