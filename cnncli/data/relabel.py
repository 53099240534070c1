"""Corrected labels in a CSV file, which `data.relabel` reads and `cnncli audit` writes. The data set stays as it is.

    split,index,label,given,...        file,label,given,...
    train,17,9,4,...                   train/cat/001.jpg,dog,cat,...

An image is named by split and index, in an image folder by its file. `label` is the class that it gets. A column
`given`, if there is one, must have the label of the data set, so that a file for other images is noticed. Further
columns are for people.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli.config.datasets import Part
from cnncli.data.images import Dataset, ImageSet
from cnncli.errors import DataError, did_you_mean
from cnncli.files import read_at_most, replace_file
from cnncli.limits import MAX_TABLE_BYTES

_log = logging.getLogger(__name__)

CHECKSUM = "data.relabel"
"""The key of the file's checksum among the files of a data set."""

_MAX_PROBLEMS = 5
_REMEDY = "correct or delete these lines; cnncli audit writes such a file"


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """The content of a file of corrected labels.

    Attributes:
        labels: split and index of an image -> its label.
        checksum: `sha256:...` of the file.
    """

    labels: Mapping[tuple[Part, int], int]
    checksum: str


def read_corrections(path: Path, dataset: Dataset) -> Corrections:
    """Read and check a file of corrected labels.

    Args:
        path: the file: CSV in UTF-8 with a header.
        dataset: the images with the labels that they were given.

    Raises:
        DataError: the file is missing or no such file, or lines do not fit the data set; the message lists them.
    """
    try:
        content = read_at_most(path, MAX_TABLE_BYTES)
    except FileNotFoundError:
        raise DataError(
            f"data.relabel: file not found: {path}",
            remedy="give a path relative to the data directory (--data-dir, $CNNCLI_DATA), or an absolute one",
        ) from None
    except OSError as error:
        raise DataError(
            f"data.relabel: {path} cannot be read: {error.strerror or error}", remedy="data.relabel must be a CSV file"
        ) from None
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", errors="surrogateescape"), newline=""), strict=True)
    labels: dict[tuple[Part, int], int] = {}
    lines: dict[tuple[Part, int], int] = {}
    problems: list[str] = []
    try:
        _check_columns(path, reader.fieldnames or (), dataset)
        find = _Finder(dataset)
        for row in reader:
            try:
                image, label = find(row)
            except ValueError as error:
                problems.append(f"{path}:{reader.line_num} {error}")
                continue
            if image in labels:
                problems.append(f"{path}:{reader.line_num} the image has a label already, on line {lines[image]}")
            labels[image], lines[image] = label, reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}:{reader.reader.line_num} not CSV: {error}", remedy=_REMEDY) from None
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        listed = [*problems[:_MAX_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
        raise DataError("\n".join(listed), remedy=_REMEDY)
    return Corrections(labels=labels, checksum=f"sha256:{hashlib.sha256(content).hexdigest()}")


def _check_columns(path: Path, columns: Sequence[str], dataset: Dataset) -> None:
    """Raise unless the columns name images of such a data set, and labels."""
    required = ("split", "index", "label") if dataset.train.paths is None else ("file", "label")
    if missing := [name for name in required if name not in columns]:
        raise DataError(
            f"{path}:1 no column {', '.join(missing)}; the columns are {', '.join(columns) or 'none'}",
            remedy=f"{dataset.name} needs a header with {', '.join(required)}",
        )


class _Finder:
    """Finds the image and the label that a row names.

    Args:
        dataset: the images.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._parts: dict[str, tuple[Part, ImageSet]] = {
            "train": ("train", dataset.train),
            "test": ("test", dataset.test),
        }
        self._by_path: dict[str, tuple[Part, int]] = {
            path: (part, index)
            for part, images in self._parts.values()
            for index, path in enumerate(images.paths or ())
        }
        self._classes = {name: label for label, name in enumerate(dataset.classes)}

    def __call__(self, row: Mapping[str, str | None]) -> tuple[tuple[Part, int], int]:
        """The image, as split and index, and its new label.

        Raises:
            ValueError: says what is wrong with the row.
        """
        if None in row or None in row.values():
            raise ValueError("the line has more or fewer values than the header")
        values = {name: (value or "").strip() for name, value in row.items()}
        part, index = self._by_file(values["file"]) if self._by_path else self._by_index(values)
        given = int(self._parts[part][1].labels[index])
        if values.get("given") and self._label(values["given"]) != given:
            name = next(each for each, label in self._classes.items() if label == given)
            raise ValueError(f"given {values['given']}, but the data set says {name}: are these other images?")
        return (part, index), self._label(values["label"])

    def _by_file(self, path: str) -> tuple[Part, int]:
        if path not in self._by_path:
            raise ValueError(f"no image {path}; files are relative to data.path")
        return self._by_path[path]

    def _by_index(self, values: Mapping[str, str]) -> tuple[Part, int]:
        split, index = values["split"], values["index"]
        if split not in self._parts:
            raise ValueError(f"unknown split: {split}; train or test")
        part, images = self._parts[split]
        if not (index.isascii() and index.isdecimal()) or int(index) >= len(images):
            raise ValueError(f"no {split} image {index}; there are {len(images):,}, numbered 0 to {len(images) - 1}")
        return part, int(index)

    def _label(self, name: str) -> int:
        if not name:
            raise ValueError("no label; delete the line to keep the label that the data set has")
        if name not in self._classes:
            raise ValueError(f"unknown class: {name}{did_you_mean(name, self._classes)}")
        return self._classes[name]


def relabel(dataset: Dataset, corrections: Corrections) -> Dataset:
    """The data set with corrected labels; its files include the checksum of the corrections."""

    def corrected(part: Part, images: ImageSet) -> ImageSet:
        labels = images.labels.clone()
        for (split, index), label in corrections.labels.items():
            if split == part:
                labels[index] = label
        return replace(images, labels=labels)

    train, test = corrected("train", dataset.train), corrected("test", dataset.test)
    changed = [int((new.labels != old.labels).sum()) for new, old in ((train, dataset.train), (test, dataset.test))]
    _log.info(f"data.relabel: {changed[0]:,} training and {changed[1]:,} test labels differ from {dataset.name}")
    files = {**dataset.files, CHECKSUM: corrections.checksum}
    return replace(dataset, train=train, test=test, files=files)


def write_corrections(path: Path, rows: Iterator[Mapping[str, object]]) -> None:
    """Write a file that `read_corrections` reads.

    Args:
        path: the file, replaced if it exists.
        rows: column -> value, with the same columns in all rows; at least `label`, and `file` or `split` and `index`.

    Raises:
        DiskError: it cannot be written.
    """
    listed = list(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(listed[0]) if listed else ("split", "index", "label"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    replace_file(path, text.getvalue().encode("utf-8", errors="surrogateescape"))
