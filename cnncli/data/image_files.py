"""Listed image files as tensors: decoded into memory or, where they are many, once into a file on the disk.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.data.decoding import Target, decode_all
from cnncli.data.image_cache import CachedImages, fingerprint, remove_outdated
from cnncli.data.images import ImageSet
from cnncli.errors import DataError

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
    notify: Callable[[str], None],
) -> tuple[ImageSet, str]:
    """All images, (N, C, H, W), in memory or, where they are many, in a file; and their checksum.

    Args:
        listing: the images.
        among: all images of the folder, of which these may be a part.
        channels: 1 (grey) or 3 (RGB).
        size: (height, width).
        data_dir: where files of pixels are kept.
        notify: told how far it is, a line at a time.

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

        checksum, sums = _decode_all(listing, channels, size, keep, notify)
        return ImageSet(images=torch.from_numpy(pixels), labels=labels, sums=torch.from_numpy(sums)), checksum
    cache = CachedImages(data_dir, listing.root, listing.paths, shape, among.state)
    if cache.checksum is None:
        notify(
            f"image-folder: {len(labels):,} images of {listing.root} are decoded once, into {cache.path} "
            f"({_gigabytes(cache.size)})"
        )
        with cache.writing() as write:
            cache.complete(*_decode_all(listing, channels, size, write, notify))
    else:
        notify(f"image-folder: {len(labels):,} images, decoded before, are read from {cache.path}")
    assert cache.checksum is not None, "just completed"
    images, sums_beside = cache.open()
    return ImageSet(images=images, labels=labels, sums=sums_beside), cache.checksum


def forget_outdated(among: Listing, *, data_dir: Path, notify: Callable[[str], None]) -> None:
    """Remove the files of pixels of a folder, given all its images, that changed after they were made."""
    if removed := remove_outdated(data_dir, among.root, lambda: among.state):
        notify(f"image-folder: {_gigabytes(removed)} removed that were decoded before {among.root} changed")


def _decode_all(
    listing: Listing,
    channels: int,
    size: tuple[int, int],
    write: Callable[[NDArray[np.uint8]], None],
    notify: Callable[[str], None],
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
                notify(_progress(done, total, now - began, len(broken)))
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
