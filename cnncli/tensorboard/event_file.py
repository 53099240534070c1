"""A run's TensorBoard event file.

Records are written by the caller, one after the other, and not through the queue of `SummaryWriter`: its
thread prints a traceback of its own when the disk is full, and the caller learns of it only some calls later.
"""

import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import torch.utils.tensorboard.summary
from tensorboard.compat.proto.attr_value_pb2 import AttrValue  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.event_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    Event,
    SessionLog,
    SourceMetadata,
)
from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import-untyped]  # likewise
from tensorboard.compat.proto.node_def_pb2 import NodeDef  # type: ignore[import-untyped]  # likewise
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]  # likewise
from torch import Tensor

from cnncli.drawing.image import png
from cnncli.errors import DiskError
from cnncli.inspection.table import LayerTable, Row
from cnncli.layers import Shape


def slug(text: str) -> str:
    """A text as part of a tag, and of the name of a file."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "x"


def slugs(texts: Sequence[str]) -> list[str]:
    """Several, all different: those that would be the same have their number behind them."""
    made = [slug(text) for text in texts]
    return [each if made.count(each) == 1 else f"{each}-{number}" for number, each in enumerate(made)]


_INPUT = "input"


def graph_def(inspection: LayerTable) -> GraphDef:
    """The layers in the order of computation. Blocks are scopes, which TensorBoard folds and unfolds."""
    first = NodeDef(name=_INPUT, op=_INPUT, attr=_shape(inspection.input_shape))
    return GraphDef(node=[first, *map(_node, inspection.rows)])


def _node(row: Row) -> NodeDef:
    facts: dict[str, int | str | None] = {"params": row.params, "macs": row.macs}
    if (field := row.receptive_field) is not None:
        facts["field"] = "x".join(map(str, field.size))
        facts["jump"] = "x".join(map(str, field.jump)) if field.jump else None
    return NodeDef(
        name=_scoped(row.name),
        op=row.type,
        input=map(_scoped, row.inputs),
        attr={
            **{
                name: AttrValue(i=fact) if isinstance(fact, int) else AttrValue(s=fact.encode())
                for name, fact in facts.items()
                if fact is not None
            },
            **_shape(row.output_shape),
        },
    )


def _scoped(name: str) -> str:
    """`basic1.residual1.conv1` as a path: what is before a slash is a box that can be opened."""
    return name.replace(".", "/")


def _shape(shape: Shape | None) -> dict[str, AttrValue]:
    """The attribute that TensorBoard writes on the edges that leave a node."""
    if shape is None:
        return {}
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)]))}


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


HISTOGRAM_BINS = 64

_summary: Any = torch.utils.tensorboard.summary  # its functions have no annotations


def spaced_steps(last: int, count: int = 10) -> tuple[int, ...]:
    """At most `count` steps from 0 to `last`, both included, spaced by logarithm and strictly increasing.

    TensorBoard keeps ten pictures of a tag and draws by lot among more.

    Args:
        last: 0 or more.
        count: 2 or more.
    """
    assert last >= 0, last
    assert count >= 2, count
    if last < count:
        return tuple(range(last + 1))
    steps = [0]
    for i in range(1, count - 1):
        steps.append(max(steps[-1] + 1, round((last + 1) ** (i / (count - 1)) - 1)))
    return (*steps, last)


class EventFile:
    """Writes one new event file into `directory`, which is made if need be.

    Every method returns when its records are with the operating system, and raises `DiskError` if they cannot
    be written. The steps of a tag must increase.

    Args:
        directory: of the run.
        resumed_at: the step at which a run goes on; TensorBoard then forgets what earlier files in the
            directory say about this step and later ones.
    """

    def __init__(self, directory: Path, *, resumed_at: int | None = None) -> None:
        self._directory = directory
        with self._disk():
            directory.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads the files of a directory in the order of their names.
            name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
            self._file = (directory / name).open("xb")
        self._records = RecordWriter(self._file)
        source = SourceMetadata(writer="cnncli.tensorboard")
        self._write(Event(file_version="brain.Event:2", source_metadata=source))
        if resumed_at is not None:
            self._write(Event(step=resumed_at, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> Self:
        """The board itself; its file is open from the start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file. An error on the way out does not hide the one that led here."""
        if error is None:
            with self._disk():
                self._file.close()
        else:
            with suppress(OSError):
                self._file.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point on the curve of each tag; NaN and infinity are kept, TensorBoard marks them."""
        for tag, value in values.items():
            self._write(Event(step=step, summary=_summary.scalar(tag, float(value))))

    def pictures(self, step: int, pictures: Mapping[str, npt.NDArray[np.uint8] | bytes]) -> None:
        """One picture for each tag, uint8 (H, W, 3) or what `png` made of it; stored as it is, without loss."""
        for tag, picture in pictures.items():
            encoded = picture if isinstance(picture, bytes) else png(picture)
            width, height = struct.unpack_from(">II", encoded, offset=16)  # PNG, section 11.2.1
            self._image(step, tag, encoded, width=width, height=height)

    def animations(self, step: int, animations: Mapping[str, bytes]) -> None:
        """One GIF for each tag, stored as it is: TensorBoard serves its bytes as image/gif, and browsers play them."""
        for tag, gif in animations.items():
            assert gif.startswith((b"GIF87a", b"GIF89a")), f"{tag}: {gif[:6]!r}"
            width, height = struct.unpack_from("<HH", gif, offset=6)  # GIF89a, section 18
            self._image(step, tag, gif, width=width, height=height)

    def histograms(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """The finite values of each tensor; a tensor without any is passed over."""
        for tag, tensor in tensors.items():
            values = tensor.detach().float().flatten()
            values = values[values.isfinite()].cpu().double()
            if values.numel():
                histogram = _summary.histogram(tag, values.numpy(), bins=HISTOGRAM_BINS)
                self._write(Event(step=step, summary=histogram))

    def texts(self, texts: Mapping[str, str]) -> None:
        """One page of Markdown for each tag."""
        for tag, markdown in texts.items():
            summary = _summary.text(tag, markdown)
            summary.value[0].tag = tag  # torch puts "/text_summary" behind it, which is all that the card would show
            self._write(Event(step=0, summary=summary))

    def layout(self, charts: Mapping[str, Sequence[str]]) -> None:
        """Charts of the "custom scalars" view: title -> tags whose curves share it."""
        lines = {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in charts.items()}
        self._write(Event(summary=_summary.custom_scalars({"curves": lines})))

    def hparams(self, values: Mapping[str, bool | float | str], metrics: Sequence[str]) -> None:
        """The settings of this run for the "hparams" view, in the run's own file.

        Args:
            values: name -> setting.
            metrics: tags of curves that the run writes, at least one.
        """
        assert metrics, "TensorBoard shows no settings without a metric"
        for summary in _summary.hparams(dict(values), dict.fromkeys(metrics)):
            self._write(Event(summary=summary))

    def graph(self, inspection: LayerTable) -> None:
        """The network for the "graphs" view; see `graph_def`."""
        self._write(Event(graph_def=graph_def(inspection).SerializeToString()))

    def _image(self, step: int, tag: str, encoded: bytes, *, width: int, height: int) -> None:
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=encoded)  # 3 is RGB
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with self._disk():
            self._records.write(event.SerializeToString())
            self._file.flush()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"cannot write the event file in {self._directory}: {error.strerror or error}",
                remedy="free some space there, or choose another place for the run with --out",
            ) from error
