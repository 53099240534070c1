"""The standard data sets: read in torchvision's directory layout, verified, and downloaded if they are missing."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset, Part
from cnncli.data.download import DownloadError, download
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.verify import FORMATS, REPLACE, Checksums, find_file, missing_files, verify_files
from cnncli.errors import DataError


def load_known(facts: KnownDataset, *, data_dir: Path, digits_flags: str, allow_download: bool = True) -> Dataset:
    """Read a standard data set at its native size.

    torchvision and the network are used only if files are missing from `data_dir / facts.folder`.

    Args:
        facts: the data set.
        data_dir: the data directory.
        digits_flags: the options that train the same config on the embedded digits, for messages.
        allow_download: whether missing files may be downloaded.

    Raises:
        DataError: files are damaged, or are missing and cannot be downloaded.
        DiskError: there is no room for a download.
    """
    _check_folders(data_dir / facts.folder)
    if missing := missing_files(facts, data_dir):
        if not allow_download:
            raise DataError(
                f"{facts.name} not found in {data_dir / facts.folder}",
                remedy="choose another data directory with --data-dir or $CNNCLI_DATA, or download the data set with "
                "cnncli eval RUN",
            )
        try:
            download(facts, data_dir)
        except DownloadError as error:
            raise _not_found(facts, data_dir, missing, f"the download failed: {error}", digits_flags) from None
        if missing := missing_files(facts, data_dir):
            raise _not_found(facts, data_dir, missing, "the download did not contain them", digits_flags)
    checksums = Checksums(data_dir)
    files: dict[str, str] = {}
    train = _read(facts, "train", data_dir, checksums, files)
    test = _read(facts, "test", data_dir, checksums, files)
    checksums.save()
    return Dataset(name=facts.name, classes=facts.classes, train=train, test=test, files=files)


def _read(facts: KnownDataset, part: Part, data_dir: Path, checksums: Checksums, files: dict[str, str]) -> ImageSet:
    """Read and verify one part; the checksums of its files are added to `files`."""
    paths = [path for name in facts.files[part] if (path := find_file(facts, data_dir, name))]
    assert len(paths) == len(facts.files[part]), "checked before"
    format = FORMATS[facts.format]
    if format.trusted:
        images, labels = format.read(facts, paths)
        files |= verify_files(facts, paths, checksums)
    else:
        files |= verify_files(facts, paths, checksums)
        images, labels = format.read(facts, paths)
    _check_counts(facts, part, paths, len(images), len(labels))
    return ImageSet(images=torch.from_numpy(images), labels=_class_labels(facts, labels, paths[-1]))


def _check_counts(facts: KnownDataset, part: Part, paths: list[Path], images: int, labels: int) -> None:
    if images != labels:
        raise DataError(
            f"{paths[0]}: {images:,} images, but {paths[-1].name} has {labels:,} labels",
            remedy="both files must come from the same release; delete both and run again to download them",
        )
    if images == 0:
        raise DataError(f"{paths[0]}: no images", remedy=REPLACE.format(file=paths[0]))
    if facts.counts is not None and images != (expected := facts.counts[("train", "test").index(part)]):
        raise DataError(f"{paths[0]}: {images:,} images, expected {expected:,}", remedy=REPLACE.format(file=paths[0]))


def _class_labels(facts: KnownDataset, labels: NDArray[np.uint8], path: Path) -> torch.Tensor:
    """The labels of a file as int64 labels that start at 0."""
    first, last = facts.first_label, facts.first_label + len(facts.classes) - 1
    if labels.min() < first or labels.max() > last:
        raise DataError(
            f"{path}: labels from {labels.min()} to {labels.max()}; {facts.name} has labels {first} to {last}",
            remedy=REPLACE.format(file=path),
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


def _not_found(facts: KnownDataset, data_dir: Path, missing: list[str], outcome: str, digits_flags: str) -> DataError:
    forms = ["plain or as .gz"] if FORMATS[facts.format].gzipped else []
    if facts.archive is not None:
        forms.append(f"or their archive as {data_dir / facts.archive}")
    return DataError(
        f"{facts.name}: {', '.join(missing)} not found in {data_dir / facts.folder}, and {outcome}",
        remedy=(
            f"put the files there ({', '.join(forms)}), or choose the directory that contains {facts.folder} "
            f"with --data-dir or $CNNCLI_DATA\nor train on the embedded digits instead: {digits_flags}"
        ),
    )
