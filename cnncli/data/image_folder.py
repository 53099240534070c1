"""Image folders: one folder per class, possibly inside folders of training, validation and test images.

N: images, C: channels, H, W: height and width.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cnncli.config.image_folder import class_folders, folder_layout
from cnncli.data.decode import image_suffixes
from cnncli.data.image_files import Listing, Parts, Reading, read_listing, read_parts
from cnncli.data.images import Dataset, ImageSet, hold_out_test
from cnncli.errors import DataError, shorten

_log = logging.getLogger(__name__)


def load_image_folder(
    root: Path,
    reading: Reading,
    *,
    validation: int | float,
    test: int | float | None,
    classes: int | Sequence[str] | None,
) -> Dataset:
    """Read all images of a folder, resized to one size.

    Args:
        root: a folder of class folders, or of folders of training and optionally validation and test images, which
            contain class folders; see `folder_layout`.
        reading: how images are read.
        validation: 0 if the folder of validation images is not to be read.
        test: number or fraction of images to hold out for testing if there are no test images; None for a fifth.
        classes: the expected number of classes, or the names of those to read, in the order of their labels; None for
            all.

    Raises:
        DataError: the folder or a class is missing, a class has no training images, or images are unreadable.
        DiskError: there is no room for the pixels.
    """
    layout = folder_layout(root, classes=classes)
    if layout.ignored:
        _log.info(f"image-folder: ignoring {shorten(layout.ignored)}: not training, validation or test images")
    if layout.unselected:
        _log.info(f"image-folder: ignoring {shorten(layout.unselected)}: not in data.classes")
    known = (*layout.classes, *layout.unselected)
    train = _list_images(root, layout.train, layout.classes)
    _check_empty_classes(layout.train, train.labels, layout.classes)
    own_validation: Listing | None = None
    if layout.validation is not None and validation:
        own_validation = _list_part(root, layout.validation, layout.classes, known)
        _log.info(
            f"image-folder: {len(own_validation.paths):,} validation images from {layout.validation.name}, in place of "
            "data.validation"
        )
    elif layout.validation is not None:
        _log.info(f"image-folder: ignoring {layout.validation.name}: data.validation is 0")
    if layout.test is not None and _has_own_test(layout.test, test):
        tested = _list_part(root, layout.test, layout.classes, known)
    else:
        # Split before reading, so that nothing is copied.
        kept, held_out = hold_out_test(torch.tensor(train.labels), test, layout.classes, name=reading.name)
        train, tested = train.subset(kept.tolist()), train.subset(held_out.tolist())

    parts = Parts(train=train, validation=own_validation, test=tested)
    dataset = read_parts(parts, reading, classes=layout.classes)
    if reading.skip_unreadable:
        readable = dataset.train.labels[: len(dataset.train) - dataset.validation]
        _check_empty_classes(layout.train, readable.tolist(), layout.classes)
    return dataset


def read_class_folders(root: Path, reading: Reading, *, folders: Sequence[str]) -> ImageSet:
    """All images in some class folders of a folder, resized to one size.

    Args:
        root: contains the class folders.
        reading: how images are read.
        folders: their names, in the order of the labels; there may be none of a class.

    Raises:
        DataError: there are no images, or some are unreadable.
        DiskError: there is no room for the pixels.
    """
    listing = _list_images(root, root, folders)
    if not listing.paths:
        raise DataError(f"{root}: no images in {shorten(folders)}", remedy="put images there, or choose another folder")
    return read_listing(listing, reading)


def _has_own_test(folder: Path, held_out: int | float | None) -> bool:
    """Whether a folder of test images has class folders. Images without labels are not read.

    Raises:
        DataError: `data.test` contradicts the folder, or is needed.
    """
    if class_folders(folder):
        if held_out is not None:
            raise DataError(
                f"data.test: the folder has its own test images in {folder}",
                remedy="remove data.test from the config, or move the folder",
            )
        return True
    if held_out is None:
        raise DataError(
            f"{folder}: no class folders, so its images have no labels",
            remedy="create one folder per class in it, or hold out training images for testing: --set data.test=0.2",
        )
    _log.info(f"image-folder: ignoring {folder.name}: no class folders, so its images have no labels")
    return False


def _list_part(root: Path, folder: Path, classes: Sequence[str], known: Sequence[str]) -> Listing:
    """The images of a part other than the training images.

    Raises:
        DataError: there are none, or there is a class without training images.
    """
    _check_unknown_classes(folder, known)
    listing = _list_images(root, folder, classes)
    if not listing.paths:
        raise DataError(f"{folder}: no images", remedy="put images there, or move the folder")
    return listing


def _list_images(root: Path, folder: Path, classes: Sequence[str]) -> Listing:
    """The images of each class of a part. Hidden files are skipped; other files that are not images are reported.

    Args:
        root: of the data set.
        folder: contains the class folders.
        classes: their names, in the order of the labels.
    """
    suffixes = image_suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    missing = [name for name in classes if not (folder / name).exists()]
    skipped = sum(1 for each in folder.iterdir() if not each.is_dir() and not each.name.startswith("."))
    for label, name in enumerate(classes):
        for path in visible_files(folder / name) if name not in missing else ():
            if path.suffix.lower() in suffixes:
                paths.append(path)
                labels.append(label)
            else:
                skipped += 1
    if missing:
        _log.warning(f"image-folder: {folder} has no images of {shorten(missing)}")
    if skipped:
        _log.info(f"image-folder: {folder}: skipped {skipped:,} files that are not images of a class")
    return Listing(root=root, paths=tuple(paths), labels=tuple(labels))


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders, sorted by name, without hidden ones."""
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    """Do not treat an unreadable folder as an empty one."""
    raise error


def _check_empty_classes(train: Path, labels: Sequence[int], classes: Sequence[str]) -> None:
    present = set(labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"{train}: no images in {shorten(empty)}",
            remedy="put images into every class folder, or remove the empty ones",
        )


def _check_unknown_classes(folder: Path, classes: Sequence[str]) -> None:
    unknown = [name for name in class_folders(folder) if name not in classes]
    if unknown:
        raise DataError(
            f"{folder}: no training images for {shorten(unknown)}",
            remedy=f"the classes are {shorten(classes)}; rename the folder, or add training images",
        )
