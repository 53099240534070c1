"""The IDX format of MNIST and its relatives: an array in a file, whose header gives its type and shape.

    00 00 08 nn   08: unsigned bytes; nn: the number of axes
    dd dd dd dd   the length of each axis, big-endian
    ...           the elements, last axis fastest

Described in "The MNIST database of handwritten digits" (LeCun, Cortes and Burges).
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.config.datasets import KnownDataset
from cnncli.errors import DataError
from cnncli.files import open_to_read

_REMEDY = "delete the file and run again to download it, or replace it with an undamaged copy"
_MAX_COMPRESSION = 1032
"""The highest compression ratio of the deflate format (zlib's documentation)."""
_BLOCK = 2**20


def read_images_and_labels(facts: KnownDataset, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, uint8 (N, 1, H, W), and labels, uint8 (N,), of a file of images and one of labels.

    Raises:
        DataError: see `read_idx`.
    """
    images_path, labels_path = paths
    images = read_idx(images_path, (None, *facts.native[1:]))
    if facts.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return images[:, np.newaxis], read_idx(labels_path, (None,))


def read_idx(path: Path, axes: tuple[int | None, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    Args:
        path: the file.
        axes: the expected length of each axis; None for any.

    Returns:
        A writable array of the shape that the header gives.

    Raises:
        DataError: the file is not an IDX file of unsigned bytes, has another shape, or does not match its header.
    """
    try:
        return _read_gzipped(path, axes) if path.suffix == ".gz" else _read_plain(path, axes)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file ({error})", remedy=_REMEDY) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})", remedy="replace it with a readable file"
        ) from None


def check_header(path: Path, axes: tuple[int | None, ...]) -> None:
    """Check the header of an IDX file and, unless it is gzipped, its size, without reading it; see `read_idx`."""
    start = 4 + 4 * len(axes)
    packed = path.suffix == ".gz"
    with open_to_read(path) as raw, gzip.open(raw) if packed else raw as file:
        shape = _parse_header(file.read(start), path, axes)
    if not packed:
        _check_size(path, path.stat().st_size - start, shape)


def _read_plain(path: Path, axes: tuple[int | None, ...]) -> NDArray[np.uint8]:
    start = 4 + 4 * len(axes)
    with open_to_read(path) as file:
        shape = _parse_header(file.read(start), path, axes)
    _check_size(path, path.stat().st_size - start, shape)
    return np.fromfile(path, dtype=np.uint8, offset=start).reshape(shape)


def _read_gzipped(path: Path, axes: tuple[int | None, ...]) -> NDArray[np.uint8]:
    with open_to_read(path) as raw, gzip.open(raw) as file:
        shape = _parse_header(file.read(4 + 4 * len(axes)), path, axes)
        expected = math.prod(shape)
        if expected > _MAX_COMPRESSION * path.stat().st_size:
            _check_size(path, path.stat().st_size, shape)  # rather than allocate that much
        content = bytearray(file.read(expected))
        extra = sum(map(len, iter(partial(file.read, _BLOCK), b"")))  # compressed, it may be much
    _check_size(path, len(content) + extra, shape)
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _parse_header(header: bytes, path: Path, axes: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape that the header gives."""
    magic = bytes((0, 0, 8, len(axes)))
    if len(header) < 4 + 4 * len(axes):
        raise DataError(f"{path}: ends inside its header ({len(header)} bytes)", remedy=_REMEDY)
    if header[:4] != magic:
        raise DataError(
            f"{path}: starts with {header[:4].hex(' ')} instead of {magic.hex(' ')}: "
            f"not an IDX file of unsigned bytes with {len(axes)} axes",
            remedy=_REMEDY,
        )
    shape = struct.unpack(f">{len(axes)}I", header[4:])
    for axis, (length, expected) in enumerate(zip(shape, axes, strict=True)):
        if expected is not None and length != expected:
            raise DataError(f"{path}: axis {axis} has length {length:,}, expected {expected:,}", remedy=_REMEDY)
    return shape


def _check_size(path: Path, size: int, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if size != expected:
        product = " x ".join(f"{length:,}" for length in shape)
        raise DataError(
            f"{path}: {'truncated' if size < expected else 'too long'}: "
            f"the header gives {product} = {expected:,} bytes, the file has {size:,}",
            remedy=_REMEDY,
        )
