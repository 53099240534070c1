"""Checksums and frames against TensorBoard's own, and against the numbers of the standard."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow as theirs  # type: ignore[import-untyped]  # no stubs
from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]  # no stubs
    RecordWriter as TheirWriter,
)

from cnncli.tensorboard.event_file import RecordWriter, crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, appendix B.4; the check value of the catalogs.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
        (b"\x00" * 4096, 0x98F94189),  # by the pieces, not byte by byte
    ],
)
def test_published_checksums(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@given(st.integers(0, 20_000), st.integers(0, 2**32))
def test_records_are_tensorboards(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(size)
    assert crc32c(data) == theirs.crc32c(data)
    ours, expected = io.BytesIO(), io.BytesIO()
    RecordWriter(ours).write(data)
    TheirWriter(expected).write(data)
    assert ours.getvalue() == expected.getvalue()
