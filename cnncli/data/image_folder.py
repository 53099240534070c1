"""A data set made of a folder of images: one folder per class, maybe parted into `train/` and `test/`.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.config.data import folder_layout
from cnncli.data.decode import image_suffixes
from cnncli.data.decoding import Target, decode_all
from cnncli.data.image_cache import CachedImages, fingerprint, remove_outdated
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.splits import stratified_split
from cnncli.errors import DataError

_log = logging.getLogger(__name__)

_IN_MEMORY = 2**28
"""Bytes of pixels up to which they are kept in memory: to decode more anew for every command takes too long."""
_FIRST_TOLD, _TOLD_EVERY = 2.0, 10.0
"""Seconds before the first notice of progress, and between two."""
_NAMED = 5
"""Images that a message names one by one."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files of some class folders.

    Attributes:
        root: the folder of the class folders.
        paths: the images, class by class, each class in order of name.
        labels: the class of each.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    @cached_property
    def state(self) -> str:
        """Another one as soon as a file changes."""
        return fingerprint(self.root, self.paths)


def read_images(
    listing: Listing,
    *,
    among: Listing,
    channels: int,
    size: tuple[int, int],
    data_dir: Path,
) -> tuple[ImageSet, str]:
    """All images, (N, C, H, W), in memory or, where they are many, in a file; and their checksum.

    Args:
        listing: the images.
        among: all images of the folder, of which these may be a part.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        data_dir: where files of pixels are kept.

    Raises:
        DataError: there are images that cannot be read; it names them.
        DiskError: no room for the pixels.
    """
    shape = (len(listing.paths), channels, *size)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    if math.prod(shape) <= _IN_MEMORY:
        pixels = np.empty(shape, dtype=np.uint8)
        rest = pixels

        def keep(decoded: NDArray[np.uint8]) -> None:
            nonlocal rest
            rest[: len(decoded)] = decoded
            rest = rest[len(decoded) :]

        checksum, sums = _decode_all(listing, channels, size, keep)
        return ImageSet(images=torch.from_numpy(pixels), labels=labels, sums=torch.from_numpy(sums)), checksum
    cache = CachedImages(data_dir, listing.root, listing.paths, shape, among.state)
    if cache.checksum is None:
        _log.info(
            f"image-folder: {len(labels):,} images of {listing.root} are decoded once, into {cache.path} "
            f"({_gigabytes(cache.size)})"
        )
        with cache.writing() as write:
            cache.complete(*_decode_all(listing, channels, size, write))
    else:
        _log.info(f"image-folder: {len(labels):,} images, decoded before, are read from {cache.path}")
    assert cache.checksum is not None, "just completed"
    images, sums_beside = cache.open()
    return ImageSet(images=images, labels=labels, sums=sums_beside), cache.checksum


def forget_outdated(among: Listing, *, data_dir: Path) -> None:
    """Remove the files of pixels of a folder, given all its images, that changed after they were made."""
    if removed := remove_outdated(data_dir, among.root, lambda: among.state):
        _log.info(f"image-folder: {_gigabytes(removed)} removed that were decoded before {among.root} changed")


def _decode_all(
    listing: Listing,
    channels: int,
    size: tuple[int, int],
    write: Callable[[NDArray[np.uint8]], None],
) -> tuple[str, NDArray[np.int64]]:
    """Hand on every image decoded, from first to last.

    Returns:
        One checksum of all files and their names; the sums of each image, (N, C, 2), as `Decoded` has them.
    """
    names = (path.relative_to(listing.root).as_posix() for path in listing.paths)
    total, done = len(listing.paths), 0
    checksum = hashlib.sha256()
    sums = np.empty((total, channels, 2), dtype=np.int64)
    broken: list[str] = []
    began = time.monotonic()
    next_notice = began + _FIRST_TOLD
    with closing(decode_all(listing.paths, Target(channels, size))) as chunks:
        for chunk in chunks:
            for digest, problem in zip(chunk.digests, chunk.problems, strict=True):
                name = next(names)
                checksum.update(name.encode(errors="surrogateescape") + b"\0" + digest)
                if problem is not None:
                    broken.append(f"{name} ({problem})")
            write(chunk.pixels)
            sums[done : done + len(chunk.pixels)] = chunk.sums
            done += len(chunk.pixels)
            now = time.monotonic()
            if now > next_notice:
                next_notice = now + _TOLD_EVERY
                _log.info(_progress(done, total, now - began, len(broken)))
    if broken:
        raise DataError(
            f"{listing.root}: {len(broken):,} of {total:,} images cannot be read: {some(broken)}",
            remedy="repair or delete them",
        )
    return f"sha256:{checksum.hexdigest()}", sums


def _progress(done: int, total: int, seconds: float, broken: int) -> str:
    minutes, rest = divmod(round((total - done) * seconds / done), 60)
    told = f"image-folder: {done:,} of {total:,} images decoded, {done / seconds:,.0f}/s, {minutes}:{rest:02} left"
    return told + (f"; {broken:,} cannot be read" if broken else "")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


_TEST_SHARE = 0.2
_TEST_SEED = 0
"""Constant, so that the test images are the same whatever the seed of the training."""


def load_image_folder(
    root: Path,
    *,
    channels: int,
    size: tuple[int, int],
    test: int | float | None,
    classes: int | None,
    data_dir: Path,
) -> Dataset:
    """Read every image of a folder at one size.

    Args:
        root: a folder of class folders, or one that has `train/` and maybe `test/` with class folders.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        test: count or fraction to hold out where there is no `test/`; a fifth where it is None.
        classes: the number of classes there should be, if that was said.
        data_dir: where pixels are kept that are many.

    Raises:
        DataError: no such folder, a class without images or only in `test/`, images that cannot be read.
        DiskError: no room for the pixels.
    """
    layout = folder_layout(root, classes=classes)
    if layout.test is not None and test is not None:
        raise DataError(
            f"data.test: {layout.test} holds the test images already",
            remedy="leave out data.test, or move the folder away",
        )
    if layout.ignored:
        _log.info(f"image-folder: beside train and test, not read: {', '.join(layout.ignored)}")

    def read(listing: Listing, among: Listing) -> tuple[ImageSet, str]:
        return read_images(listing, among=among, channels=channels, size=size, data_dir=data_dir)

    every = learned = _list(layout.train, layout.classes)
    _refuse_empty_classes(learned, layout.classes)
    if layout.test is None:
        learned, tested = _held_out(learned, _TEST_SHARE if test is None else test)
        _log.info(f"image-folder: no test folder, so {len(tested.paths):,} images are held out for the test")
    else:
        _refuse_unknown_classes(layout.test, layout.classes)
        tested = _list(layout.test, layout.classes)
        if not tested.paths:
            raise DataError(f"{layout.test}: no images", remedy="put images there, or move the folder away")
    train_images, train_checksum = read(learned, every)
    beside = every if layout.test is None else tested
    test_images, test_checksum = read(tested, beside)
    for among in {id(each): each for each in (every, beside)}.values():
        forget_outdated(among, data_dir=data_dir)
    return Dataset(
        name="image-folder",
        classes=layout.classes,
        train=train_images,
        test=test_images,
        files={"train": train_checksum, "test": test_checksum},
    )


def _list(root: Path, classes: Sequence[str]) -> Listing:
    """The images of each class, without hidden files and, with a notice, without what is no image."""
    suffixes = image_suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    skipped = 0
    absent = [name for name in classes if not (root / name).exists()]
    if absent:
        _log.warning(f"image-folder: {root} has no images of {', '.join(absent[:5])}")
    for label, name in enumerate(classes):
        for path in _visible_files(root / name) if name not in absent else ():
            if path.suffix.lower() in suffixes:
                paths.append(path)
                labels.append(label)
            else:
                skipped += 1
    skipped += sum(1 for each in root.iterdir() if not each.is_dir() and not each.name.startswith("."))
    if skipped:
        _log.info(f"image-folder: {root}: {skipped:,} files that are no images of a class are passed over")
    return Listing(root=root, paths=tuple(paths), labels=tuple(labels))


def _held_out(listing: Listing, share: int | float) -> tuple[Listing, Listing]:
    """The images to learn from and those to test with, parted before they are read: nothing is copied."""
    kept, held_out = stratified_split(torch.tensor(listing.labels), share, seed=_TEST_SEED, field="data.test")
    assert len(held_out), "a share of 0 is refused by DataSpec"

    def part(positions: Sequence[int]) -> Listing:
        return Listing(
            root=listing.root,
            paths=tuple(listing.paths[position] for position in positions),
            labels=tuple(listing.labels[position] for position in positions),
        )

    return part(kept.tolist()), part(held_out.tolist())


def _visible_files(folder: Path) -> Iterator[Path]:
    """Files in a folder and the folders below it, in order of name, without what is hidden."""
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    """Let no folder that cannot be read pass for an empty one."""
    raise error


def _refuse_empty_classes(listing: Listing, classes: Sequence[str]) -> None:
    present = set(listing.labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"{listing.root}: no images in {some(empty)}",
            remedy="put images into every class folder, or remove the empty ones",
        )


def _refuse_unknown_classes(test: Path, classes: Sequence[str]) -> None:
    folders = (each.name for each in test.iterdir() if each.is_dir() and not each.name.startswith("."))
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(
            f"{test}: {some(unknown)} is no class of the training images",
            remedy=f"the classes are {some(classes)}; rename the folder, or add training images",
        )
