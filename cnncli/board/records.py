"""TFRecord framing, with a checksum that is quick for pictures.

TensorBoard's own writer works out CRC-32C byte by byte in Python, which for a picture takes as long as drawing it. The
checksum is linear over GF(2): short pieces of the data are worked out side by side, and joined two by two.
"""

import struct
from functools import cache
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, lowest bit first
_PIECE = 16
"""Bytes of a piece."""
_SHORT = 2000
"""Bytes below which one after the other is quicker."""

Words = npt.NDArray[np.uint32]


class RecordWriter:
    """Writes records to a file: length, checksum of the length, data, checksum of the data; little-endian."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """One record."""
        length = struct.pack("<Q", len(data))
        parts = (length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data)))
        self._file.write(b"".join(parts))


def _masked(data: bytes) -> int:
    """A checksum as TFRecord stores it, so that a checksum of data with checksums in it still says something."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, section 12.1) of any data."""
    if len(data) < _SHORT:
        return _byte_by_byte(data)
    pieces = 1 << (-(-len(data) // _PIECE) - 1).bit_length()
    padded = np.zeros(pieces * _PIECE, dtype=np.uint8)  # zeros in front change nothing where the state begins with 0
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, dtype=np.uint8)
    padded[start : start + 4] ^= 0xFF  # the same as a state that begins with ones
    states = np.zeros(pieces, dtype=np.uint32)
    step = _byte_table()
    for column in padded.reshape(pieces, _PIECE).T:
        states = step[(states ^ column) & 0xFF] ^ (states >> np.uint32(8))
    size = _PIECE
    while len(states) > 1:
        states = _apply(_after_zeros(size), states[::2]) ^ states[1::2]
        size *= 2
    return int(states[0]) ^ 0xFFFFFFFF


def _byte_by_byte(data: bytes) -> int:
    state, step = 0xFFFFFFFF, _byte_list()
    for byte in data:
        state = step[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


@cache
def _byte_list() -> list[int]:
    numbers: list[int] = _byte_table().tolist()
    return numbers


@cache
def _byte_table() -> Words:
    """What one byte makes of the state 0, (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> np.uint32(1) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table.astype(np.uint32)


@cache
def _after_zeros(size: int) -> Words:
    """What so many zero bytes, a power of two, make of each byte of a state: (4, 256)."""
    values = np.arange(256, dtype=np.uint32)
    states = np.stack([values << np.uint32(8 * place) for place in range(4)])
    if size == 1:
        after: Words = _byte_table()[states & 0xFF] ^ (states >> np.uint32(8))
        return after
    half = _after_zeros(size // 2)
    return _apply(half, _apply(half, states))


def _apply(tables: Words, states: Words) -> Words:
    """Tables (4, 256) of what becomes of each byte of a state, for states of any shape."""
    after = np.zeros_like(states)
    for place in range(4):
        after ^= tables[place][states >> np.uint32(8 * place) & np.uint32(0xFF)]
    return after
