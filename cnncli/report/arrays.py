"""Arrays of numbers in a page: a binary in base64, compressed or not, and an index of what it contains."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cnncli.report.page import base64_text, compressed_text

_TYPES = {np.dtype(np.uint8): "u1", np.dtype(np.float16): "f2", np.dtype(np.float32): "f4"}
"""Types of numbers, and their names in the index; multi-byte numbers are little endian."""


class Arrays:
    """Collects arrays by name. The page reads them with `PageArrays`."""

    def __init__(self) -> None:
        self._index: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = []
        self._offset = 0

    def add(self, key: str, array: npt.NDArray[Any]) -> None:
        """Add an array of any shape, uint8, float16 or float32; in the page it is flat, and float16 is float32.

        The two or four bytes of the numbers are stored in planes, all first bytes, then all second ones: sign and
        exponent compress, the fraction hardly.

        Args:
            key: not used before, such as `weights/0`.
            array: the numbers.
        """
        assert key not in self._index, f"{key} is there already"
        flat = np.ascontiguousarray(array).reshape(-1)
        size = flat.dtype.itemsize
        little = flat.astype(flat.dtype.newbyteorder("<"))
        planes = little.view(np.uint8).reshape(-1, size).T
        content = np.ascontiguousarray(planes).tobytes()
        self._index[key] = {"type": _TYPES[flat.dtype], "offset": self._offset, "length": flat.size}
        self._parts.append(content)
        self._offset += len(content)

    @property
    def index(self) -> dict[str, dict[str, Any]]:
        """Key -> `type` (u1, f2 or f4), `offset` in bytes and `length` in numbers, as JSON."""
        return self._index

    def text(self) -> str:
        """All arrays, compressed with zlib, in base64."""
        return compressed_text(b"".join(self._parts))

    def raw_text(self) -> str:
        """All arrays in base64: what a page can read at once, while its browser decompresses only in the background."""
        return base64_text(b"".join(self._parts))
