"""Images of a table, files or in Parquet files; see `cnncli.config.table` and `cnncli.config.parquet`."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from cnncli.config.image_folder import FolderPart
from cnncli.config.table import ImageTable
from cnncli.data.image_files import Listing, Parts, Reading, read_parts
from cnncli.data.images import Dataset, classes_without, hold_out_test
from cnncli.errors import DataError, shorten

_log = logging.getLogger(__name__)


def load_image_table(
    table: ImageTable,
    path: Path,
    reading: Reading,
    *,
    validation: int | float,
    test: int | float | None,
    classes: Sequence[str],
) -> Dataset:
    """Read the images of a table, resized to one size.

    Args:
        table: the images.
        path: of the table, for messages.
        reading: how images are read.
        validation: 0 if images of the split `val` are not to be read.
        test: number or fraction of images to hold out for testing if there are none of the split `test`; None for a
            fifth.
        classes: the names of those to read, in the order of their labels.

    Raises:
        DataError: a class has no training images, the test images have no labels, or images are missing or unreadable.
        DiskError: there is no room for the pixels.
    """
    if "test" in table.unlabeled and test is None:
        raise DataError(
            f"{path}: the test images have no labels",
            remedy="hold out training images for testing: --set data.test=0.2",
        )
    if table.unlabeled:
        _log.info(f"{reading.name}: ignoring {' and '.join(table.unlabeled)} images: they have no labels")
    rows = table.rows
    if unselected := sorted({row.label for row in rows} - set(classes)):
        _log.info(f"{reading.name}: ignoring {shorten(unselected)}: not in data.classes")
    label_of = {name: label for label, name in enumerate(classes)}
    found: dict[FolderPart, tuple[list[Path], list[int]]] = {}
    for row in rows:
        if row.label in label_of:
            paths, labels = found.setdefault(row.part or "train", ([], []))
            paths.append(table.root / row.path)
            labels.append(label_of[row.label])
    parts = {
        part: Listing(root=table.root, paths=tuple(paths), labels=tuple(labels))
        for part, (paths, labels) in found.items()
    }
    if "validation" in parts and not validation:
        _log.info(f"{reading.name}: ignoring the split val: data.validation is 0")
        del parts["validation"]
    if "test" in parts and test is not None:
        raise DataError(f"data.test: {path} has a split test", remedy="remove data.test from the config")
    train = parts.get("train", Listing(root=table.root, paths=(), labels=()))
    if absent := classes_without(torch.tensor(train.labels), torch.arange(len(classes)), classes):
        raise DataError(f"{path}: no training images of {shorten(absent)}", remedy="add some, or correct data.classes")
    tested = parts.get("test")
    if tested is None:
        kept, held_out = hold_out_test(torch.tensor(train.labels), test, classes, name=reading.name)
        train, tested = train.subset(kept.tolist()), train.subset(held_out.tolist())
    elif absent := classes_without(torch.tensor(tested.labels), torch.tensor(train.labels), classes):
        _log.warning(f"{reading.name}: no test images of {shorten(absent)}")
    dataset = read_parts(
        Parts(train=train, validation=parts.get("validation"), test=tested), reading, classes=tuple(classes)
    )
    if absent := classes_without(dataset.train.labels, torch.arange(len(classes)), classes):
        raise DataError(f"{path}: no readable images of {shorten(absent)}", remedy="repair or replace them")
    return dataset
