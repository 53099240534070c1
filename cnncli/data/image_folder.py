"""A data set made of a folder of images: one folder per class, maybe parted into `train/` and `test/`.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.data.decode import UnreadableImageError, decode, image_suffixes, refusing_bombs
from cnncli.data.image_cache import CachedImages
from cnncli.data.images import Dataset, ImageSet
from cnncli.data.splits import stratified_split
from cnncli.errors import DataError
from cnncli.spec.folder import folder_layout

_TEST_SHARE = 0.2
_TEST_SEED = 0
"""Constant, so that the test images are the same whatever the seed of the training."""
_IN_MEMORY = 2**31
"""Bytes of pixels up to which they are kept in memory."""
_TOLD_EVERY = 10.0
"""Seconds between notices of progress."""
_NAMED = 5
"""Images that a message names one by one."""


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The image files of some class folders.

    Attributes:
        root: the folder of the class folders.
        paths: the images, class by class, each class in order of name.
        labels: the class of each.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def load_image_folder(
    root: Path,
    *,
    channels: int,
    size: tuple[int, int],
    test: int | float | None,
    classes: int | None,
    data_dir: Path,
    notify: Callable[[str], None],
) -> Dataset:
    """Read every image of a folder at one size.

    Args:
        root: a folder of class folders, or one that has `train/` and maybe `test/` with class folders.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width).
        test: count or fraction to hold out where there is no `test/`; a fifth where it is None.
        classes: the number of classes there should be, if that was said.
        data_dir: where pixels are kept that are too many for the memory.
        notify: told what is skipped and held out, and how far reading is.

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
        notify(f"image-folder: beside train and test, not read: {', '.join(layout.ignored)}")

    def read(listing: _Listing) -> tuple[ImageSet, str]:
        return _read(listing, channels=channels, size=size, data_dir=data_dir, notify=notify)

    learned = _list(layout.train, layout.classes, notify)
    _refuse_empty_classes(learned, layout.classes)
    if layout.test is None:
        learned, tested = _held_out(learned, _TEST_SHARE if test is None else test)
        notify(f"image-folder: no test folder, so {len(tested.paths):,} images are held out for the test")
    else:
        _refuse_unknown_classes(layout.test, layout.classes)
        tested = _list(layout.test, layout.classes, notify)
        if not tested.paths:
            raise DataError(f"{layout.test}: no images", remedy="put images there, or move the folder away")
    (train_images, train_checksum), (test_images, test_checksum) = read(learned), read(tested)
    return Dataset(
        name="image-folder",
        classes=layout.classes,
        train=train_images,
        test=test_images,
        files={"train": train_checksum, "test": test_checksum},
    )


def _list(root: Path, classes: Sequence[str], notify: Callable[[str], None]) -> _Listing:
    """The images of each class, without hidden files and, with a notice, without what is no image."""
    suffixes = image_suffixes()
    paths: list[Path] = []
    labels: list[int] = []
    skipped = 0
    absent = [name for name in classes if not (root / name).exists()]
    if absent:
        notify(f"image-folder: {root} has no images of {', '.join(absent[:5])}")
    for label, name in enumerate(classes):
        for path in _visible_files(root / name) if name not in absent else ():
            if path.suffix.lower() in suffixes:
                paths.append(path)
                labels.append(label)
            else:
                skipped += 1
    skipped += sum(1 for each in root.iterdir() if not each.is_dir() and not each.name.startswith("."))
    if skipped:
        notify(f"image-folder: {root}: {skipped:,} files that are no images of a class are passed over")
    return _Listing(root=root, paths=tuple(paths), labels=tuple(labels))


def _held_out(listing: _Listing, share: int | float) -> tuple[_Listing, _Listing]:
    """The images to learn from and those to test with, parted before they are read: nothing is copied."""
    kept, held_out = stratified_split(torch.tensor(listing.labels), share, seed=_TEST_SEED, field="data.test")
    assert len(held_out), "a share of 0 is refused by DataSpec"

    def part(positions: Sequence[int]) -> _Listing:
        return _Listing(
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


def _refuse_empty_classes(listing: _Listing, classes: Sequence[str]) -> None:
    present = set(listing.labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    if empty:
        raise DataError(
            f"{listing.root}: no images in {_some(empty)}",
            remedy="put images into every class folder, or remove the empty ones",
        )


def _refuse_unknown_classes(test: Path, classes: Sequence[str]) -> None:
    folders = (each.name for each in test.iterdir() if each.is_dir() and not each.name.startswith("."))
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(
            f"{test}: {_some(unknown)} is no class of the training images",
            remedy=f"the classes are {_some(classes)}; rename the folder, or add training images",
        )


def _read(
    listing: _Listing, *, channels: int, size: tuple[int, int], data_dir: Path, notify: Callable[[str], None]
) -> tuple[ImageSet, str]:
    """All images, (N, C, H, W), in memory or, where they are too many, in a file; and their checksum."""
    shape = (len(listing.paths), channels, *size)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    if np.prod(shape, dtype=np.int64) <= _IN_MEMORY:
        pixels = np.empty(shape, dtype=np.uint8)
        digest = _decode_all(listing, pixels, notify)
        return ImageSet(images=torch.from_numpy(pixels), labels=labels), digest
    cache = CachedImages(data_dir, listing.root, listing.paths, shape)
    if cache.checksum is None:
        with cache.writing() as pixels:
            cache.complete(_decode_all(listing, pixels, notify))
    assert cache.checksum is not None, "just completed"
    notify(f"image-folder: {len(labels):,} images are read from {cache.path}")
    return ImageSet(images=torch.from_numpy(cache.open()), labels=labels), cache.checksum


def _decode_all(listing: _Listing, pixels: NDArray[np.uint8], notify: Callable[[str], None]) -> str:
    """Decode every image into its place and return one checksum of all files and their names."""
    channels, size = pixels.shape[1], (pixels.shape[2], pixels.shape[3])

    def decode_one(position: int) -> tuple[bytes, str | None]:
        try:
            pixels[position], digest = decode(listing.paths[position], channels=channels, size=size)
        except UnreadableImageError as error:
            return b"", str(error)
        return digest, None

    total = len(listing.paths)
    checksum = hashlib.sha256()
    broken: list[str] = []
    told = time.monotonic()
    with refusing_bombs(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for position, (digest, problem) in enumerate(pool.map(decode_one, range(total))):
            name = listing.paths[position].relative_to(listing.root).as_posix()
            checksum.update(name.encode(errors="surrogateescape") + b"\0" + digest)
            if problem is not None:
                broken.append(f"{name} ({problem})")
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                notify(f"image-folder: {position + 1:,} of {total:,} images read")
    if broken:
        raise DataError(
            f"{listing.root}: {len(broken):,} of {total:,} images cannot be read: {_some(broken)}",
            remedy="repair or delete them",
        )
    return f"sha256:{checksum.hexdigest()}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
