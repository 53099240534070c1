"""The IDX format of MNIST: a magic number that says type and number of axes, their lengths, then the numbers.

    00 00 08 nn   08: unsigned bytes; nn: how many axes
    dd dd dd dd   the length of each axis, big-endian
    ...           the numbers, last axis fastest

Described in "The MNIST database of handwritten digits" (LeCun, Cortes and Burges).
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import DataError

Bytes = NDArray[np.uint8]

_REPLACE = "delete the file and run again to download it, or put an undamaged one in its place"
# The format of deflate cannot make more than this many bytes out of one (zlib's documentation).
_MOST_INFLATION = 1032


def read_idx(path: Path, axes: tuple[int | None, ...]) -> Bytes:
    """Read a file of unsigned bytes, plain or, where its name ends in `.gz`, gzipped.

    Args:
        path: the file.
        axes: the length that each axis must have; None for any.

    Returns:
        A writable uint8 array with the lengths that the file states.

    Raises:
        DataError: it is no IDX file of unsigned bytes, has other axes, or holds more or less than it says.
    """
    try:
        return _read_packed(path, axes) if path.suffix == ".gz" else _read_plain(path, axes)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file ({error})", remedy=_REPLACE) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})", remedy="put a file there that you may read"
        ) from None


def _read_plain(path: Path, axes: tuple[int | None, ...]) -> Bytes:
    with path.open("rb") as file:
        lengths = _lengths(file.read(4 + 4 * len(axes)), path, axes)
    start = 4 + 4 * len(axes)
    _check_size(path, path.stat().st_size - start, lengths)
    return np.fromfile(path, dtype=np.uint8, offset=start).reshape(lengths)


def _read_packed(path: Path, axes: tuple[int | None, ...]) -> Bytes:
    with gzip.open(path) as file:
        lengths = _lengths(file.read(4 + 4 * len(axes)), path, axes)
        expected = math.prod(lengths)
        if expected > _MOST_INFLATION * path.stat().st_size:
            _check_size(path, path.stat().st_size, lengths)
        numbers = bytearray(file.read(expected))
        extra = len(file.read())
    _check_size(path, len(numbers) + extra, lengths)
    return np.frombuffer(numbers, dtype=np.uint8).reshape(lengths)


def _lengths(header: bytes, path: Path, axes: tuple[int | None, ...]) -> tuple[int, ...]:
    """The length of each axis, as the header states it."""
    magic = bytes((0, 0, 8, len(axes)))
    if len(header) < 4 + 4 * len(axes):
        raise DataError(f"{path}: ends inside its header ({len(header)} bytes)", remedy=_REPLACE)
    if header[:4] != magic:
        raise DataError(
            f"{path}: starts with {header[:4].hex(' ')} instead of {magic.hex(' ')}, "
            f"so it is no IDX file of unsigned bytes with {len(axes)} axes",
            remedy=_REPLACE,
        )
    lengths = struct.unpack(f">{len(axes)}I", header[4:])
    for number, (length, wanted) in enumerate(zip(lengths, axes, strict=True)):
        if wanted is not None and length != wanted:
            raise DataError(
                f"{path}: states {length:,} along axis {number} where {wanted:,} are expected",
                remedy=_REPLACE,
            )
    return lengths


def _check_size(path: Path, size: int, lengths: tuple[int, ...]) -> None:
    expected = math.prod(lengths)
    if size != expected:
        stated = " x ".join(f"{length:,}" for length in lengths)
        raise DataError(
            f"{path}: {'truncated' if size < expected else 'too long'}: "
            f"its header states {stated} = {expected:,} bytes, {size:,} are there",
            remedy=_REPLACE,
        )
