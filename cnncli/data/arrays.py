"""Data sets in array files, NPZ and IDX; see `cnncli.config.arrays`.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.arrays import UNREADABLE, ArrayPart, array_parts, stored_shape
from cnncli.config.image_folder import FolderPart
from cnncli.data.idx import read_idx
from cnncli.data.images import Dataset, ImageSet, PixelRange, classes_without, hold_out_test
from cnncli.errors import DataError, DeviceError, shorten
from cnncli.files import open_to_read
from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.machine import machine_memory

_log = logging.getLogger(__name__)

_COPIES = 3
"""Of the images, which are in memory together while parts are made of them."""

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def load_arrays(
    path: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    validation: int | float,
    test: int | float | None,
    range: PixelRange | None,
) -> Dataset:
    """Read a data set from a `.npz` file or a folder of IDX files, in the size as stored.

    Args:
        path: the file or folder.
        name: of the data set, for messages.
        classes: the names of the classes, in the order of the labels.
        validation: 0 if validation images of its own are not to be read.
        test: number or fraction of images to hold out for testing if it has no test images; None for a fifth.
        range: the values that become black and white, of pixels that are not uint8; None for the lowest and highest of
            the training images.

    Raises:
        DataError: it is missing or damaged, images are neither gray nor RGB, or labels are not those of the classes.
        DeviceError: the images need more memory than the machine has.
    """
    found = array_parts(path)
    if "validation" in found and not validation:
        _log.info(f"{name}: ignoring the validation images: data.validation is 0")
        del found["validation"]
    if "test" in found and test is not None:
        raise DataError(f"data.test: {path} has its own test images", remedy="remove data.test from the config")
    _check_memory(found.values(), name)
    read = {part: _read(each, classes) for part, each in found.items()}
    train, used = _to_8_bits({part: images for part, (images, _) in read.items()}, range, name)
    labels = {part: each for part, (_, each) in read.items()}
    images = {part: np.ascontiguousarray(_channels_first(each, path)) for part, each in train.items()}
    own = len(labels.get("validation", ()))
    if own:
        _log.info(f"{name}: {own:,} validation images of its own, in place of data.validation")
    if "test" not in labels:
        kept, tested = hold_out_test(torch.from_numpy(labels["train"]), test, classes, name=name)
        images["test"], labels["test"] = images["train"][tested.numpy()], labels["train"][tested.numpy()]
        images["train"], labels["train"] = images["train"][kept.numpy()], labels["train"][kept.numpy()]
    elif absent := classes_without(torch.from_numpy(labels["test"]), torch.from_numpy(labels["train"]), classes):
        _log.warning(f"{name}: no test images of {shorten(absent)}")
    if absent := classes_without(torch.from_numpy(labels["train"]), torch.arange(len(classes)), classes):
        raise DataError(f"{path}: no training images of {shorten(absent)}", remedy="correct data.classes")
    _report_shared(images, name)
    parts: tuple[FolderPart, ...] = ("train", "validation") if own else ("train",)
    return Dataset(
        name=name,
        classes=classes,
        train=_image_set([images[part] for part in parts], [labels[part] for part in parts]),
        test=_image_set([images["test"]], [labels["test"]]),
        validation=own,
        range=used,
        files=_checksums(found.values()),
    )


def _check_memory(parts: Iterable[ArrayPart], name: str) -> None:
    needed, memory = _COPIES * sum(part.size for part in parts), machine_memory()
    if memory is not None and needed > memory:
        raise DeviceError(
            f"{name}: the images need {size_in_bytes(needed)}, but this machine has {size_in_bytes(memory)}",
            remedy="store fewer or smaller images",
        )


def _read(part: ArrayPart, classes: Sequence[str]) -> tuple[NDArray[Any], Labels]:
    """Images as stored, and labels, int64 (N,)."""
    stored_shape(part.shape, part.images)  # before anything is read
    if part.names:
        try:
            with open_to_read(part.images) as file, np.load(file, allow_pickle=False) as arrays:
                images, labels = (arrays[name] for name in part.names)
        except (*UNREADABLE, MemoryError) as error:
            raise DataError(
                f"{part.images}: cannot be read: {error}", remedy="replace it with an intact copy"
            ) from None
        where = f"{part.images}: {part.names[1]}"
    else:
        try:
            images, labels = read_idx(part.images, (None,) * len(part.shape)), read_idx(part.labels, (None,))
        except DataError as error:  # its remedy is for files that were downloaded
            raise DataError(error.message, remedy="replace it with an intact copy") from None
        where = str(part.labels)
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        raise DataError(
            f"{where} has labels of type {labels.dtype} and shape {labels.shape}",
            remedy="give one whole number per image",
        )
    labels = labels.reshape(-1).astype(np.int64)
    if len(labels) != len(images):
        raise DataError(f"{where}: {len(labels):,} labels for {len(images):,} images", remedy="replace the file")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(
            f"{where}: labels from {labels.min()} to {labels.max()}, but there are {len(classes)} classes",
            remedy="number classes from 0, or correct data.classes",
        )
    return images, labels


def _to_8_bits(
    parts: dict[FolderPart, NDArray[Any]], given: PixelRange | None, name: str
) -> tuple[dict[FolderPart, Pixels], PixelRange | None]:
    """The images as uint8, and the range with which they were scaled; None if they are uint8 already."""
    if all(images.dtype == np.uint8 for images in parts.values()):
        return parts, given
    deep = {part: images for part, images in parts.items() if images.dtype != np.uint8}
    first = deep.get("train", next(iter(deep.values())))
    low, high = given or (float(first.min()), float(first.max()))
    if not all(np.isfinite(each).all() for each in deep.values()):
        raise DataError(f"{name}: pixels that are no finite numbers", remedy="repair the file")
    if given is None:
        _log.info(
            f"{name}: pixels are scaled from {low:g}..{high:g}, the range of the training images, to 0..255; "
            "data.range sets another"
        )
    scaled = dict(parts)
    for part, images in deep.items():
        values = (images.astype(np.float64) - low) * (255 / ((high - low) or 1))
        scaled[part] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return scaled, (low, high)


def _channels_first(images: Pixels, path: Path) -> Pixels:
    channels, *size = stored_shape(images.shape, path)
    if images.ndim == 3:
        return images[:, None]
    return images if list(images.shape[2:]) == size and images.shape[1] == channels else images.transpose(0, 3, 1, 2)


def _image_set(images: Sequence[Pixels], labels: Sequence[Labels]) -> ImageSet:
    return ImageSet(images=torch.from_numpy(np.concatenate(images)), labels=torch.from_numpy(np.concatenate(labels)))


def _report_shared(images: dict[FolderPart, Pixels], name: str) -> None:
    """Warn about images that are in two parts."""
    keys = {
        part: {hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in each}
        for part, each in images.items()
    }
    pairs: tuple[tuple[FolderPart, FolderPart], ...] = (
        ("validation", "train"),
        ("test", "train"),
        ("test", "validation"),
    )
    for first, second in pairs:
        if shared := len(keys.get(first, set()) & keys.get(second, set())):
            other = "training" if second == "train" else second
            _log.warning(
                f"{name}: {counted(shared, 'image')} in common of {first} and {other} images; "
                f"the {first} accuracy will be too high"
            )


def _checksums(parts: Iterable[ArrayPart]) -> dict[str, str]:
    files = sorted({path for part in parts for path in (part.images, part.labels)})
    found = {}
    for path in files:
        with open_to_read(path) as file:
            found[path.name] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return found
