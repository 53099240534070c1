"""Image files decoded into a data set: in memory or, if they are many, in a cached file.

N: images, C: channels, H, W: height and width.
"""

import hashlib
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnncli.data.decode import ReadContent, decoding, joined, read_content
from cnncli.data.image_cache import CachedImages, DecodedFacts, PixelFile, fingerprint, remove_outdated
from cnncli.data.images import Dataset, ImageSet, PixelRange
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
        paths: the images, class by class, sorted by name within a class; or in the order of a table.
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
        """The paths relative to the root, with `/`; whole if they are elsewhere."""
        root = self.root
        return tuple((p.relative_to(root) if p.is_relative_to(root) else p).as_posix() for p in self.paths)

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
class Reading:
    """How image files are read.

    Attributes:
        name: of the data set, for messages.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).
        range: the values that become black and white, of pixels of more than 8 bits; None for the lowest and highest
            value of the training images.
        skip_unreadable: whether to skip images that cannot be read, with a message.
        data_dir: where pixels are cached if they do not fit in memory.
        read: reads an image.
        column: of images, in Parquet files.
    """

    name: str
    channels: int
    size: tuple[int, int]
    range: PixelRange | None
    skip_unreadable: bool
    data_dir: Path
    read: ReadContent = read_content
    column: str = ""


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """Image files, decoded.

    Attributes:
        images: those that can be read, (N, C, H, W).
        facts: what is known of all of them.
        digests: SHA-256 of the files of `images`, uint8 (N, 32).
    """

    images: ImageSet
    facts: DecodedFacts
    digests: NDArray[np.uint8]


class UnreadableImagesError(Exception):
    """Some images of a listing cannot be read.

    Attributes:
        names: what they are called, with the reason.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names


def read_parts(parts: Parts, reading: Reading, *, classes: tuple[str, ...]) -> Dataset:
    """Read a data set, and report images that are in several parts.

    Args:
        parts: the images; all have the same root.
        reading: how.
        classes: the names of the classes.

    Raises:
        DataError: images are unreadable; those of all parts are named.
        DiskError: there is no room for the pixels.
    """
    train = parts.train if parts.validation is None else parts.train + parts.validation
    everything = train + parts.test
    (training, testing), range_used = _read_all([train, parts.test], everything, reading)
    clean_cache(everything, data_dir=reading.data_dir)
    unreadable = training.facts.unreadable
    own = sum(position not in unreadable for position in range(len(parts.train.paths), len(train.paths)))
    _report_shared(training, testing, own_validation=own, what=reading.name)
    return Dataset(
        name=reading.name,
        classes=classes,
        train=training.images,
        test=testing.images,
        validation=own,
        range=range_used,
        files={"train": training.facts.checksum, "test": testing.facts.checksum},
    )


def read_listing(listing: Listing, reading: Reading) -> ImageSet:
    """Read images that are all images of their folder.

    Raises:
        DataError: images are unreadable.
        DiskError: there is no room for the pixels.
    """
    (decoded,), _ = _read_all([listing], listing, reading)
    clean_cache(listing, data_dir=reading.data_dir)
    return decoded.images


def _read_all(
    listings: Sequence[Listing], folder: Listing, reading: Reading
) -> tuple[list[DecodedImages], PixelRange | None]:
    """Read the parts of a folder, the training images first.

    The images that cannot be read are reported for all parts at once.

    Returns:
        The images of each part, and the range with which pixels of more than 8 bits are scaled; None if there are none.
    """
    found: list[DecodedImages] = []
    unreadable: list[str] = []
    scaling = reading
    for listing in listings:
        try:
            decoded = read_images(listing, folder, scaling)
        except UnreadableImagesError as error:
            unreadable += error.names
        else:
            found.append(decoded)
            scaling = replace(scaling, range=scaling.range or decoded.facts.range)
    total = len(folder.paths)
    if unreadable:
        raise DataError(
            f"{folder.root}: {len(unreadable):,} of {total:,} images cannot be read: "
            f"{shorten(unreadable, _MAX_UNREADABLE)}",
            remedy="repair or delete them, or skip them with data.skip_unreadable",
        )
    if skipped := [
        explained
        for listing, each in zip(listings, found, strict=True)
        for explained in _explained(listing, each.facts.unreadable)
    ]:
        _log.warning(
            f"{reading.name}: {len(skipped):,} of {total:,} images cannot be read and are skipped: "
            f"{shorten(skipped, _MAX_UNREADABLE)}"
        )
    _report_depth([each.facts for each in found], reading, scaling.range)
    return found, scaling.range


def _report_depth(facts: Sequence[DecodedFacts], reading: Reading, used: PixelRange | None) -> None:
    """Say how pixels of more than 8 bits became 8 bits."""
    if reduced := sum(each.reduced for each in facts):
        _log.warning(
            f"{reading.name}: {counted(reduced, 'image')} with 16 bits per color: only the upper 8 bits are read; "
            "convert them to 8 bits to choose which"
        )
    measured = joined(each.range for each in facts)
    if measured is None or used is None:
        return
    if reading.range is None:
        low, high = used
        _log.info(
            f"{reading.name}: pixels of more than 8 bits are scaled from {low:g}..{high:g}, the range of the training "
            "images, to 0..255; data.range sets another"
        )
    elif measured[0] < used[0] or measured[1] > used[1]:
        _log.warning(
            f"{reading.name}: pixels from {measured[0]:g} to {measured[1]:g} are clipped to data.range "
            f"{used[0]:g}..{used[1]:g}"
        )


def read_images(listing: Listing, folder: Listing, reading: Reading) -> DecodedImages:
    """Read images into memory or, if they are many, into a cached file.

    Args:
        listing: the images.
        folder: all images of the folder, of which these may be a part.
        reading: how. Without a range, pixels of more than 8 bits are scaled from their lowest to their highest value.

    Raises:
        UnreadableImagesError: there are some, and they are not to be skipped.
        DiskError: there is no room for the pixels.
    """
    shape = (len(listing.paths), reading.channels, *reading.size)
    if math.prod(shape) <= _MAX_IN_MEMORY:
        memory = _PixelMemory(shape)
        facts, sums, digests = _decode(listing, reading, memory)
        return _decoded_images(listing, memory.pixels, facts, sums, digests)
    cache = CachedImages(
        reading.data_dir,
        listing.root,
        listing.paths,
        shape,
        folder.state,
        range=reading.range,
        column=reading.column,
    )
    if cache.facts is None:
        _log.info(
            f"{reading.name}: decoding {len(listing.paths):,} images of {listing.root} once, into {cache.path} "
            f"({_gigabytes(cache.size)})"
        )
        with cache.writing() as file:
            facts, sums, digests = _decode(listing, reading, file)
            cache.complete(facts, sums=sums, digests=digests)
    else:
        facts = cache.facts
        if facts.unreadable and not reading.skip_unreadable:
            raise UnreadableImagesError(_explained(listing, facts.unreadable))
        _log.info(f"{reading.name}: reading {len(listing.paths):,} decoded images from {cache.path}")
    pixels, sums, digests = cache.open()
    return _decoded_images(listing, pixels, facts, sums, digests)


def clean_cache(folder: Listing, *, data_dir: Path) -> None:
    """Remove the cached pixels of a folder, given all its images, that has changed since they were decoded."""
    if removed := remove_outdated(data_dir, folder.root, lambda: folder.state):
        _log.info(f"removed {_gigabytes(removed)} decoded before {folder.root} changed")


def _decoded_images(
    listing: Listing, pixels: torch.Tensor, facts: DecodedFacts, sums: NDArray[np.int64], digests: NDArray[np.uint8]
) -> DecodedImages:
    if facts.unreadable:
        listing = listing.subset([i for i in range(len(listing.paths)) if i not in facts.unreadable])
    images = ImageSet(
        images=pixels,
        labels=torch.tensor(listing.labels, dtype=torch.int64),
        sums=torch.from_numpy(sums),
        paths=listing.names,
    )
    return DecodedImages(images=images, facts=facts, digests=digests)


class _PixelMemory:
    """Memory for the pixels of images, like `PixelFile`.

    Args:
        shape: (N, C, H, W) of the most images there may be.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._pixels = np.empty(shape, dtype=np.uint8)
        self._count = 0

    def write(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels[self._count : self._count + len(pixels)] = pixels
        self._count += len(pixels)

    def restart(self) -> None:
        self._count = 0

    @property
    def pixels(self) -> torch.Tensor:
        """The images, (N, C, H, W)."""
        return torch.from_numpy(self._pixels[: self._count])


def _decode(
    listing: Listing, reading: Reading, file: PixelFile | _PixelMemory
) -> tuple[DecodedFacts, NDArray[np.int64], NDArray[np.uint8]]:
    """Decode all images in order, and write the pixels of those that can be read to `file`.

    They are decoded twice if there are pixels of more than 8 bits whose range has to be found first.

    Returns:
        What is known of them; the sums of those that can be read, int64 (N, C, 2), as in `Chunk`; and the SHA-256 of
        their files, uint8 (N, 32).

    Raises:
        UnreadableImagesError: there are some, and they are not to be skipped.
    """
    result = _decode_once(listing, reading, file)
    measured = result[0].range
    if reading.range is None and measured is not None:
        file.restart()
        result = _decode_once(listing, replace(reading, range=measured), file)
    return result


def _decode_once(
    listing: Listing, reading: Reading, file: PixelFile | _PixelMemory
) -> tuple[DecodedFacts, NDArray[np.int64], NDArray[np.uint8]]:
    """See `_decode`; without a range, each image of more than 8 bits is scaled by its own."""
    total, position, reduced = len(listing.paths), 0, 0
    checksum = hashlib.sha256()
    sums: list[NDArray[np.int64]] = [np.empty((0, reading.channels, 2), dtype=np.int64)]
    digests: list[bytes] = []
    unreadable: dict[int, str] = {}
    measured: PixelRange | None = None
    started = time.monotonic()
    next_message = started + _FIRST_PROGRESS
    names = iter(listing.names)
    with decoding(
        listing.paths, channels=reading.channels, size=reading.size, range=reading.range, read=reading.read
    ) as chunks:
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
            file.write(chunk.pixels if all_readable else chunk.pixels[readable])
            sums.append(chunk.sums[readable])
            measured = joined((measured, chunk.range))
            reduced += chunk.reduced
            now = time.monotonic()
            if now > next_message:
                next_message = now + _PROGRESS_EVERY
                _log.info(_progress(reading.name, position, total, now - started, len(unreadable)))
    if unreadable and not reading.skip_unreadable:
        raise UnreadableImagesError(_explained(listing, unreadable))
    return (
        DecodedFacts(checksum=f"sha256:{checksum.hexdigest()}", unreadable=unreadable, range=measured, reduced=reduced),
        np.concatenate(sums),
        np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, _DIGEST_BYTES),
    )


def _explained(listing: Listing, unreadable: Mapping[int, str]) -> list[str]:
    names = listing.names
    return [f"{names[position]} ({problem})" for position, problem in unreadable.items()]


def _progress(name: str, done: int, total: int, seconds: float, unreadable: int) -> str:
    minutes, rest = divmod(round((total - done) * seconds / done), 60)
    text = f"{name}: {done:,} of {total:,} images decoded, {done / seconds:,.0f}/s, {minutes}:{rest:02} left"
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
