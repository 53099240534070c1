"""Image folders: one folder per class, possibly inside `train/` and `test/`.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.data import folder_layout
from cnncli.data.decode import decoding, image_suffixes
from cnncli.data.image_cache import CachedImages, fingerprint, remove_outdated
from cnncli.data.images import Dataset, ImageSet, stratified_split
from cnncli.errors import DataError

_log = logging.getLogger(__name__)

_MAX_IN_MEMORY = 2**28
"""Bytes of pixels up to which a folder is decoded into memory by every command; more are cached in a file."""
_FIRST_PROGRESS, _PROGRESS_EVERY = 2.0, 10.0
"""Seconds before the first progress message, and between two of them."""
_MAX_NAMES = 5
"""Maximum number of names in a message."""
_TEST_FRACTION = 0.2
_TEST_SEED = 0
"""Constant, so that the test images do not depend on the seed of the training."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files of some class folders.

    Attributes:
        root: the folder that contains the class folders.
        paths: the images, class by class, sorted by name within a class.
        labels: the class of each image.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    @cached_property
    def state(self) -> str:
        """A key that changes as soon as a file changes."""
        return fingerprint(self.root, self.paths)

    def subset(self, positions: Sequence[int]) -> "Listing":
        """The images at some positions."""
        paths, labels = zip(*((self.paths[position], self.labels[position]) for position in positions), strict=True)
        return Listing(root=self.root, paths=paths, labels=labels)


def load_image_folder(
    root: Path,
    *,
    channels: int,
    size: tuple[int, int],
    test: int | float | None,
    classes: int | Sequence[str] | None,
    data_dir: Path,
) -> Dataset:
    """Read all images of a folder, resized to one size.

    Args:
        root: a folder of class folders, or of `train/` and optionally `test/`, which contain class folders.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        test: number or fraction of images to hold out for testing if there is no `test/`; None for a fifth.
        classes: the expected number of classes, or the names of those to read, in the order of their labels; None for
            all.
        data_dir: where pixels are cached if they do not fit in memory.

    Raises:
        DataError: the folder or a class is missing, a class has no images or occurs in `test/` only, or images are
            unreadable.
        DiskError: there is no room for the pixels.
    """
    layout = folder_layout(root, classes=classes)
    if layout.test is not None and test is not None:
        raise DataError(
            f"data.test: the folder has its own test images in {layout.test}",
            remedy="remove data.test from the config, or move the folder",
        )
    if layout.ignored:
        _log.info(f"image-folder: ignoring {', '.join(layout.ignored)}: only train and test are read")
    if layout.unselected:
        _log.info(f"image-folder: ignoring {shorten(layout.unselected)}: not in data.classes")
    train = everything = _list_images(layout.train, layout.classes)
    _check_empty_classes(train, layout.classes)
    if layout.test is None:
        held_out = _TEST_FRACTION if test is None else test
        # Split before reading, so that nothing is copied.
        kept, tested = stratified_split(torch.tensor(train.labels), held_out, seed=_TEST_SEED, field="data.test")
        train, test_listing = everything.subset(kept.tolist()), everything.subset(tested.tolist())
        _log.info(f"image-folder: no test folder; {len(tested):,} images are held out for testing")
        folders = [everything]
    else:
        _check_unknown_classes(layout.test, (*layout.classes, *layout.unselected))
        test_listing = _list_images(layout.test, layout.classes)
        if not test_listing.paths:
            raise DataError(f"{layout.test}: no images", remedy="put images there, or move the folder")
        folders = [everything, test_listing]
    train_images, train_checksum = read_images(train, folders[0], channels=channels, size=size, data_dir=data_dir)
    test_images, test_checksum = read_images(test_listing, folders[-1], channels=channels, size=size, data_dir=data_dir)
    for folder in folders:
        clean_cache(folder, data_dir=data_dir)

    def with_paths(images: ImageSet, listing: Listing) -> ImageSet:
        return replace(images, paths=tuple(path.relative_to(root).as_posix() for path in listing.paths))

    return Dataset(
        name="image-folder",
        classes=layout.classes,
        train=with_paths(train_images, train),
        test=with_paths(test_images, test_listing),
        files={"train": train_checksum, "test": test_checksum},
    )


def read_class_folders(
    root: Path, *, folders: Sequence[str], channels: int, size: tuple[int, int], data_dir: Path
) -> ImageSet:
    """All images in some class folders of a folder, resized to one size.

    Args:
        root: contains the class folders.
        folders: their names, in the order of the labels; there may be none of a class.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        data_dir: where pixels are cached if they do not fit in memory.

    Raises:
        DataError: there are no images, or some are unreadable.
        DiskError: there is no room for the pixels.
    """
    listing = _list_images(root, folders)
    if not listing.paths:
        raise DataError(f"{root}: no images in {shorten(folders)}", remedy="put images there, or choose another folder")
    images, _ = read_images(listing, listing, channels=channels, size=size, data_dir=data_dir)
    clean_cache(listing, data_dir=data_dir)
    return images


def read_images(
    listing: Listing, folder: Listing, *, channels: int, size: tuple[int, int], data_dir: Path
) -> tuple[ImageSet, str]:
    """Read images into memory or, if they are many, into a cached file.

    Args:
        listing: the images.
        folder: all images of the folder, of which these may be a part.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        data_dir: where pixels are cached.

    Returns:
        The images, (N, C, H, W), and a checksum of their files.

    Raises:
        DataError: images are unreadable; the message names them.
        DiskError: there is no room for the pixels.
    """
    shape = (len(listing.paths), channels, *size)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    if math.prod(shape) <= _MAX_IN_MEMORY:
        pixels = np.empty(shape, dtype=np.uint8)
        rest = pixels

        def keep(decoded: NDArray[np.uint8]) -> None:
            nonlocal rest
            rest[: len(decoded)] = decoded
            rest = rest[len(decoded) :]

        checksum, sums = _decode(listing, channels, size, keep)
        return ImageSet(images=torch.from_numpy(pixels), labels=labels, sums=torch.from_numpy(sums)), checksum
    cache = CachedImages(data_dir, listing.root, listing.paths, shape, folder.state)
    if cache.checksum is None:
        _log.info(
            f"image-folder: decoding {len(labels):,} images of {listing.root} once, into {cache.path} "
            f"({_gigabytes(cache.size)})"
        )
        with cache.writing() as write:
            cache.complete(*_decode(listing, channels, size, write))
    else:
        _log.info(f"image-folder: reading {len(labels):,} decoded images from {cache.path}")
    assert cache.checksum is not None, "just completed"
    images, cached_sums = cache.open()
    return ImageSet(images=images, labels=labels, sums=cached_sums), cache.checksum


def clean_cache(folder: Listing, *, data_dir: Path) -> None:
    """Remove the cached pixels of a folder, given all its images, that has changed since they were decoded."""
    if removed := remove_outdated(data_dir, folder.root, lambda: folder.state):
        _log.info(f"image-folder: removed {_gigabytes(removed)} decoded before {folder.root} changed")


def _decode(
    listing: Listing, channels: int, size: tuple[int, int], write: Callable[[NDArray[np.uint8]], None]
) -> tuple[str, NDArray[np.int64]]:
    """Decode all images in order and pass their pixels to `write`.

    Returns:
        One checksum of all files and their names; the sums of each image, (N, C, 2), as in `Chunk`.
    """
    names = (path.relative_to(listing.root).as_posix() for path in listing.paths)
    total, done = len(listing.paths), 0
    checksum = hashlib.sha256()
    sums = np.empty((total, channels, 2), dtype=np.int64)
    unreadable: list[str] = []
    started = time.monotonic()
    next_message = started + _FIRST_PROGRESS
    with decoding(listing.paths, channels=channels, size=size) as chunks:
        for chunk in chunks:
            for digest, problem in zip(chunk.digests, chunk.problems, strict=True):
                name = next(names)
                checksum.update(name.encode(errors="surrogateescape") + b"\0" + digest)
                if problem is not None:
                    unreadable.append(f"{name} ({problem})")
            write(chunk.pixels)
            sums[done : done + len(chunk.pixels)] = chunk.sums
            done += len(chunk.pixels)
            now = time.monotonic()
            if now > next_message:
                next_message = now + _PROGRESS_EVERY
                _log.info(_progress(done, total, now - started, len(unreadable)))
    if unreadable:
        raise DataError(
            f"{listing.root}: {len(unreadable):,} of {total:,} images cannot be read: {shorten(unreadable)}",
            remedy="repair or delete them",
        )
    return f"sha256:{checksum.hexdigest()}", sums


def _progress(done: int, total: int, seconds: float, unreadable: int) -> str:
    minutes, rest = divmod(round((total - done) * seconds / done), 60)
    text = f"image-folder: {done:,} of {total:,} images decoded, {done / seconds:,.0f}/s, {minutes}:{rest:02} left"
    return text + (f"; {unreadable:,} cannot be read" if unreadable else "")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def shorten(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _list_images(root: Path, classes: Sequence[str]) -> Listing:
    """The images of each class. Hidden files are skipped; other files that are not images are reported."""
    suffixes = image_suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    missing = [name for name in classes if not (root / name).exists()]
    if missing:
        _log.warning(f"image-folder: {root} has no images of {shorten(missing)}")
    skipped = sum(1 for each in root.iterdir() if not each.is_dir() and not each.name.startswith("."))
    for label, name in enumerate(classes):
        for path in visible_files(root / name) if name not in missing else ():
            if path.suffix.lower() in suffixes:
                paths.append(path)
                labels.append(label)
            else:
                skipped += 1
    if skipped:
        _log.info(f"image-folder: {root}: skipped {skipped:,} files that are not images of a class")
    return Listing(root=root, paths=tuple(paths), labels=tuple(labels))


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders, sorted by name, without hidden ones."""
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    """Do not treat an unreadable folder as an empty one."""
    raise error


def _check_empty_classes(listing: Listing, classes: Sequence[str]) -> None:
    present = set(listing.labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"{listing.root}: no images in {shorten(empty)}",
            remedy="put images into every class folder, or remove the empty ones",
        )


def _check_unknown_classes(test: Path, classes: Sequence[str]) -> None:
    folders = (each.name for each in test.iterdir() if each.is_dir() and not each.name.startswith("."))
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(
            f"{test}: no training images for {shorten(unknown)}",
            remedy=f"the classes are {shorten(classes)}; rename the folder, or add training images",
        )
