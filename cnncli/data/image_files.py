"""Image files decoded into a data set: in memory or, if they are many, in a cached file.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.data.decode import decoding
from cnncli.data.image_cache import CachedImages, fingerprint, remove_outdated
from cnncli.data.images import Dataset, ImageSet
from cnncli.errors import DataError, shorten
from cnncli.inspection.columns import counted

_log = logging.getLogger(__name__)

_MAX_IN_MEMORY = 2**28
"""Bytes of pixels up to which a folder is decoded into memory by every command; more are cached in a file."""
_FIRST_PROGRESS, _PROGRESS_EVERY = 2.0, 10.0
"""Seconds before the first progress message, and between two of them."""
_MAX_UNREADABLE = 20
"""Maximum number of names in a message that lists unreadable images."""
_DIGEST_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Some of the image files of a folder.

    Attributes:
        root: the folder.
        paths: the images, class by class, sorted by name within a class.
        labels: the class of each image.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    @cached_property
    def state(self) -> str:
        """A key that changes as soon as a file changes; the order of the images does not matter."""
        return fingerprint(self.root, sorted(self.paths, key=os.fspath))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The paths relative to the root, with `/`."""
        return tuple(path.relative_to(self.root).as_posix() for path in self.paths)

    def subset(self, positions: Sequence[int]) -> "Listing":
        """The images at some positions."""
        chosen = [(self.paths[position], self.labels[position]) for position in positions]
        return Listing(
            root=self.root, paths=tuple(path for path, _ in chosen), labels=tuple(label for _, label in chosen)
        )

    def __add__(self, other: "Listing") -> "Listing":
        """The images of both."""
        return Listing(root=self.root, paths=self.paths + other.paths, labels=self.labels + other.labels)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The images of a data set.

    Attributes:
        train: the training images.
        validation: those that the data set itself has for validation; None to hold out some of the training images.
        test: the test images.
    """

    train: Listing
    validation: Listing | None
    test: Listing


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """Image files, decoded.

    Attributes:
        images: those that can be read, (N, C, H, W).
        checksum: one of all files and their names.
        digests: SHA-256 of the files of `images`, uint8 (N, 32).
        unreadable: why an image cannot be read, by its position in the listing.
    """

    images: ImageSet
    checksum: str
    digests: NDArray[np.uint8]
    unreadable: Mapping[int, str]


class UnreadableImagesError(Exception):
    """Some images of a listing cannot be read.

    Attributes:
        names: what they are called, with the reason.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names


def read_parts(
    parts: Parts,
    *,
    name: str,
    classes: tuple[str, ...],
    channels: int,
    size: tuple[int, int],
    skip_unreadable: bool,
    data_dir: Path,
) -> Dataset:
    """Read a data set, and report images that are in several parts.

    Args:
        parts: the images; all have the same root.
        name: of the data set, for messages too.
        classes: the names of the classes.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        skip_unreadable: whether to skip images that cannot be read, with a message.
        data_dir: where pixels are cached if they do not fit in memory.

    Raises:
        DataError: images are unreadable; those of all parts are named.
        DiskError: there is no room for the pixels.
    """
    train = parts.train if parts.validation is None else parts.train + parts.validation
    everything = train + parts.test
    training, testing = _read_all(
        [train, parts.test],
        everything,
        channels=channels,
        size=size,
        skip=skip_unreadable,
        name=name,
        data_dir=data_dir,
    )
    clean_cache(everything, data_dir=data_dir)
    own = sum(position not in training.unreadable for position in range(len(parts.train.paths), len(train.paths)))
    _report_shared(training, testing, own_validation=own, what=name)
    return Dataset(
        name=name,
        classes=classes,
        train=training.images,
        test=testing.images,
        validation=own,
        files={"train": training.checksum, "test": testing.checksum},
    )


def read_listing(listing: Listing, *, channels: int, size: tuple[int, int], data_dir: Path) -> ImageSet:
    """Read images that are all images of their folder.

    Raises:
        DataError: images are unreadable.
        DiskError: there is no room for the pixels.
    """
    (decoded,) = _read_all(
        [listing], listing, channels=channels, size=size, skip=False, name="image-folder", data_dir=data_dir
    )
    clean_cache(listing, data_dir=data_dir)
    return decoded.images


def _read_all(
    listings: Sequence[Listing],
    folder: Listing,
    *,
    channels: int,
    size: tuple[int, int],
    skip: bool,
    name: str,
    data_dir: Path,
) -> list[DecodedImages]:
    """Read the parts of a folder. The images that cannot be read are reported for all parts at once."""
    found: list[DecodedImages] = []
    unreadable: list[str] = []
    for listing in listings:
        try:
            found.append(read_images(listing, folder, channels=channels, size=size, skip=skip, data_dir=data_dir))
        except UnreadableImagesError as error:
            unreadable += error.names
    total = len(folder.paths)
    if unreadable:
        raise DataError(
            f"{folder.root}: {len(unreadable):,} of {total:,} images cannot be read: "
            f"{shorten(unreadable, _MAX_UNREADABLE)}",
            remedy="repair or delete them, or skip them with data.skip_unreadable",
        )
    if skipped := [
        name for listing, each in zip(listings, found, strict=True) for name in _explained(listing, each.unreadable)
    ]:
        _log.warning(
            f"{name}: {len(skipped):,} of {total:,} images cannot be read and are skipped: "
            f"{shorten(skipped, _MAX_UNREADABLE)}"
        )
    return found


def read_images(
    listing: Listing, folder: Listing, *, channels: int, size: tuple[int, int], skip: bool = False, data_dir: Path
) -> DecodedImages:
    """Read images into memory or, if they are many, into a cached file.

    Args:
        listing: the images.
        folder: all images of the folder, of which these may be a part.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        skip: whether to skip images that cannot be read.
        data_dir: where pixels are cached.

    Raises:
        UnreadableImagesError: there are some, and `skip` is false.
        DiskError: there is no room for the pixels.
    """
    shape = (len(listing.paths), channels, *size)
    if math.prod(shape) <= _MAX_IN_MEMORY:
        pixels = np.empty(shape, dtype=np.uint8)
        done = 0

        def keep(decoded: NDArray[np.uint8]) -> None:
            nonlocal done
            pixels[done : done + len(decoded)] = decoded
            done += len(decoded)

        result = _decode(listing, channels, size, keep, skip=skip)
        return _decoded_images(listing, torch.from_numpy(pixels[:done]), result)
    cache = CachedImages(data_dir, listing.root, listing.paths, shape, folder.state)
    if cache.checksum is None:
        _log.info(
            f"image-folder: decoding {len(listing.paths):,} images of {listing.root} once, into {cache.path} "
            f"({_gigabytes(cache.size)})"
        )
        with cache.writing() as write:
            result = _decode(listing, channels, size, write, skip=skip)
            cache.complete(result.checksum, result.sums, result.digests, result.unreadable)
    else:
        if cache.unreadable and not skip:
            raise UnreadableImagesError(_explained(listing, cache.unreadable))
        _log.info(f"image-folder: reading {cache.count:,} decoded images from {cache.path}")
    images, sums, digests = cache.open()
    assert cache.checksum is not None, "complete"
    return _decoded_images(listing, images, _Decoding(cache.checksum, sums, digests, cache.unreadable))


def clean_cache(folder: Listing, *, data_dir: Path) -> None:
    """Remove the cached pixels of a folder, given all its images, that has changed since they were decoded."""
    if removed := remove_outdated(data_dir, folder.root, lambda: folder.state):
        _log.info(f"image-folder: removed {_gigabytes(removed)} decoded before {folder.root} changed")


@dataclass(frozen=True)
class _Decoding:
    """What is known of decoded images besides their pixels.

    Attributes:
        checksum, digests, unreadable: see `DecodedImages`.
        sums: of each image that can be read, int64 (N, C, 2), as in `Chunk`.
    """

    checksum: str
    sums: NDArray[np.int64]
    digests: NDArray[np.uint8]
    unreadable: Mapping[int, str]


def _decoded_images(listing: Listing, pixels: torch.Tensor, result: _Decoding) -> DecodedImages:
    if result.unreadable:
        listing = listing.subset([i for i in range(len(listing.paths)) if i not in result.unreadable])
    images = ImageSet(
        images=pixels,
        labels=torch.tensor(listing.labels, dtype=torch.int64),
        sums=torch.from_numpy(result.sums),
        paths=listing.names,
    )
    return DecodedImages(images=images, checksum=result.checksum, digests=result.digests, unreadable=result.unreadable)


def _decode(
    listing: Listing,
    channels: int,
    size: tuple[int, int],
    write: Callable[[NDArray[np.uint8]], None],
    *,
    skip: bool,
) -> _Decoding:
    """Decode all images in order, and pass the pixels of those that can be read to `write`.

    Raises:
        UnreadableImagesError: there are some, and `skip` is false.
    """
    total, position = len(listing.paths), 0
    checksum = hashlib.sha256()
    sums: list[NDArray[np.int64]] = [np.empty((0, channels, 2), dtype=np.int64)]
    digests: list[bytes] = []
    unreadable: dict[int, str] = {}
    started = time.monotonic()
    next_message = started + _FIRST_PROGRESS
    names = iter(listing.names)
    with decoding(listing.paths, channels=channels, size=size) as chunks:
        for chunk in chunks:
            readable = []
            for place, (digest, problem) in enumerate(zip(chunk.digests, chunk.problems, strict=True)):
                checksum.update(next(names).encode(errors="surrogateescape") + b"\0" + digest)
                if problem is None:
                    readable.append(place)
                    digests.append(digest)
                else:
                    unreadable[position + place] = problem
            position += len(chunk.pixels)
            all_readable = len(readable) == len(chunk.pixels)
            write(chunk.pixels if all_readable else chunk.pixels[readable])
            sums.append(chunk.sums[readable])
            now = time.monotonic()
            if now > next_message:
                next_message = now + _PROGRESS_EVERY
                _log.info(_progress(position, total, now - started, len(unreadable)))
    if unreadable and not skip:
        raise UnreadableImagesError(_explained(listing, unreadable))
    return _Decoding(
        checksum=f"sha256:{checksum.hexdigest()}",
        sums=np.concatenate(sums),
        digests=np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _DIGEST_BYTES),
        unreadable=unreadable,
    )


def _explained(listing: Listing, unreadable: Mapping[int, str]) -> list[str]:
    names = listing.names
    return [f"{names[position]} ({problem})" for position, problem in unreadable.items()]


def _progress(done: int, total: int, seconds: float, unreadable: int) -> str:
    minutes, rest = divmod(round((total - done) * seconds / done), 60)
    text = f"image-folder: {done:,} of {total:,} images decoded, {done / seconds:,.0f}/s, {minutes}:{rest:02} left"
    return text + (f"; {unreadable:,} cannot be read" if unreadable else "")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _report_shared(training: DecodedImages, testing: DecodedImages, *, own_validation: int, what: str) -> None:
    """Warn about files with the same content among the images of two parts.

    Args:
        training: the training images, then those that the data set has for validation.
        testing: the test images.
        own_validation: the number of those that the data set has for validation.
        what: the name of the data set.
    """
    assert training.images.paths is not None, "images in files"
    assert testing.images.paths is not None, "images in files"
    border = len(training.digests) - own_validation
    keys = [digest.tobytes() for digest in training.digests]
    train = dict(zip(keys[:border], training.images.paths[:border], strict=True))
    validation = dict(zip(keys[border:], training.images.paths[border:], strict=True))
    test = dict(zip((digest.tobytes() for digest in testing.digests), testing.images.paths, strict=True))
    for name, first, other, second in (
        ("validation", validation, "training", train),
        ("test", test, "training", train),
        ("test", test, "validation", validation),
    ):
        if shared := [f"{path} = {second[key]}" for key, path in first.items() if key in second]:
            _log.warning(
                f"{what}: {name} and {other} images have {counted(len(shared), 'file')} in common: {shorten(shared)}; "
                f"the {name} accuracy will be too high"
            )
