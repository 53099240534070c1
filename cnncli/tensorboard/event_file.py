"""A run's TensorBoard event files: written, and their pictures read.

Each record is written in the caller's thread, not by `SummaryWriter`: its background thread prints a traceback when the
disk is full, and the caller gets the error only some calls later.
"""

import hashlib
import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import google_crc32c
import numpy as np
import numpy.typing as npt
import torch.utils.tensorboard.summary
from tensorboard.compat.proto.attr_value_pb2 import AttrValue  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.event_pb2 import (  # type: ignore[import-untyped]  # generated, no stubs
    Event,
    SourceMetadata,
)
from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.node_def_pb2 import NodeDef  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]  # likewise
from torch import Tensor

from cnncli.drawing.image import png
from cnncli.files import Extent, disk_errors_explained, sync_directory
from cnncli.inspection.table import LayerTable, Row
from cnncli.layers import Shape, format_size
from cnncli.printable import printable

HISTOGRAM_BINS = 64

_INPUT = "input"
_MICROSECOND = 1e-6
_RGB = 3  # a colorspace of TensorBoard's image summary
_summary: Any = torch.utils.tensorboard.summary  # its functions have no annotations


def slug(text: str) -> str:
    """A text as part of a tag or file name: letters, digits, `_`, `.` and `-` only."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "x"


def slugs(texts: Sequence[str]) -> list[str]:
    """The slug of each text; equal slugs are made unique by the position of their text."""
    plain = [slug(text) for text in texts]
    return [each if plain.count(each) == 1 else f"{each}-{number}" for number, each in enumerate(plain)]


def record(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, data, its checksum; little-endian.

    TensorBoard's own `RecordWriter` computes the checksum in Python, which takes 150 ms per MB instead of 0.07.
    """
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc32c(length), data, _masked_crc32c(data)))


def _masked_crc32c(data: bytes) -> bytes:
    """The checksum as TFRecord stores it: rotated and offset, so that data may contain checksums itself."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class EventFile:
    """Writes a new event file in `directory`, which is created if necessary.

    Every method returns after the operating system has taken its records, and raises `DiskError` if it refuses them.
    The steps of one tag must increase, also those of several files in a directory: a resumed run first cuts off what it
    writes again.

    The times in a file, and its name, which contains its time, are later than those of earlier files, even if the clock
    has been set back: TensorBoard reads the files of a directory in the order of their names.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._time = latest = _latest_time(directory)
        moment = max(time.time(), latest + _MICROSECOND)
        self.path = directory / f"events.out.tfevents.{moment:.6f}.{socket.gethostname()}.{os.getpid()}"
        self._size, self._sha256 = 0, hashlib.sha256()
        with disk_errors_explained(self.path):
            directory.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
            try:
                sync_directory(directory)
            except OSError:
                self._file.close()
                raise
        self._write(_header())

    def __enter__(self) -> Self:
        """The event file, which is open from the start."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file. A failure to close it does not hide an earlier error."""
        if error is None:
            with disk_errors_explained(self.path):
                self._file.close()
        else:
            with suppress(OSError):
                self._file.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point on the curve of each tag. NaN and infinity are kept; TensorBoard marks them."""
        for tag, value in values.items():
            self._write(Event(step=step, summary=_summary.scalar(tag, float(value))))

    def pictures(self, step: int, pictures: Mapping[str, npt.NDArray[np.uint8] | bytes]) -> None:
        """One picture for each tag: pixels, uint8 (H, W, 3), or an encoded PNG or GIF, which is stored unchanged.

        TensorBoard serves a GIF as image/gif, so that browsers play it.
        """
        for tag, picture in pictures.items():
            encoded = picture if isinstance(picture, bytes) else png(picture)
            width, height = _size(encoded)
            image = Summary.Image(width=width, height=height, colorspace=_RGB, encoded_image_string=encoded)
            self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def histograms(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """The finite values of each tensor; a tensor without finite values is skipped."""
        for tag, tensor in tensors.items():
            values = tensor.detach().float().flatten()
            values = values[values.isfinite()].cpu().double()
            if values.numel():
                histogram = _summary.histogram(tag, values.numpy(), bins=HISTOGRAM_BINS)
                self._write(Event(step=step, summary=histogram))

    def texts(self, texts: Mapping[str, str]) -> None:
        """One page of Markdown for each tag."""
        for tag, markdown in texts.items():
            summary = _summary.text(tag, printable(markdown))
            summary.value[0].tag = tag  # torch appends "/text_summary", and the card would show nothing else
            self._write(Event(step=0, summary=summary))

    def layout(self, charts: Mapping[str, Sequence[str]]) -> None:
        """Charts of the "custom scalars" tab: title -> the tags whose curves share it."""
        lines = {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in charts.items()}
        self._write(Event(summary=_summary.custom_scalars({"curves": lines})))

    def hparams(self, values: Mapping[str, bool | float | str], metrics: Sequence[str]) -> None:
        """The hyperparameters of this run for the "hparams" tab, in the run's own file.

        Args:
            values: name -> value.
            metrics: tags of curves that the run writes, at least one.
        """
        assert metrics, "TensorBoard shows no hyperparameters without a metric"
        for summary in _summary.hparams(dict(values), dict.fromkeys(metrics)):
            self._write(Event(summary=summary))

    def graph(self, table: LayerTable) -> None:
        """The network for the "graphs" tab; see `graph_def`."""
        self._write(Event(graph_def=graph_def(table).SerializeToString()))

    def extent(self) -> Extent:
        """What has been written so far; it is on the disk when this returns."""
        with disk_errors_explained(self.path):
            os.fsync(self._file.fileno())
        return Extent(self._size, self._sha256.hexdigest())

    def cut(self, extent: Extent) -> None:
        """Remove what has been written after an earlier extent."""
        with disk_errors_explained(self.path):
            self._file.truncate(extent.size)
            self._file.seek(extent.size)
            self._sha256 = hashlib.sha256(self.path.read_bytes())
        self._size = extent.size
        assert self._sha256.hexdigest() == extent.sha256, "the file has changed"

    def _write(self, event: Event) -> None:
        self._time = event.wall_time = max(time.time(), self._time)
        content = record(event.SerializeToString())
        with disk_errors_explained(self.path):
            self._file.write(content)
            self._file.flush()
        self._size += len(content)
        self._sha256.update(content)


def _header() -> Event:
    """The first event of a file."""
    return Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="cnncli.tensorboard"))


def event_bytes(directory: Path) -> int:
    """The size of the event files in a directory as if all were in one file: only one header counts."""
    sizes = [path.stat().st_size for path in directory.glob("events.out.tfevents.*")]
    header = _header()
    header.wall_time = 1.0
    return sum(sizes) - max(0, len(sizes) - 1) * len(record(header.SerializeToString()))


def extent_until(path: Path, step: int) -> Extent:
    """How far an event file was after a step: up to its first record of a later one."""
    size = 0
    for data in _records(path):
        if Event.FromString(data).step > step:
            break
        size += len(record(data))
    return Extent(size, hashlib.sha256(path.read_bytes()[:size]).hexdigest())


def _latest_time(directory: Path) -> float:
    """The time of the last event in the files of a directory, or that in the name of a file, if it is later."""
    latest = 0.0
    for path in sorted(directory.glob("events.out.tfevents.*")):
        if named := re.match(r"\d+(\.\d+)?", path.name.removeprefix("events.out.tfevents.")):
            latest = max(latest, float(named[0]))
        with suppress(OSError, ValueError):  # damaged: what precedes counts
            for data in _records(path):
                latest = max(latest, Event.FromString(data).wall_time)
    return latest


def _size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a PNG (section 11.2.1) or GIF (GIF89a, section 18)."""
    if encoded.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", encoded, offset=6)
    else:
        assert encoded.startswith(b"\x89PNG"), encoded[:8]
        width, height = struct.unpack_from(">II", encoded, offset=16)
    return width, height


def graph_def(table: LayerTable) -> GraphDef:
    """The layers in order of computation. Blocks are scopes, which TensorBoard can collapse."""
    first = NodeDef(name=_INPUT, op=_INPUT, attr=_shape(table.input_shape))
    return GraphDef(node=[first, *map(_node, table.rows)])


def _node(row: Row) -> NodeDef:
    attributes = _shape(row.output_shape)
    attributes |= {
        name: AttrValue(i=number) for name, number in (("params", row.params), ("macs", row.macs)) if number is not None
    }
    if row.known_receptive_field is not None:
        axes = (("receptive_field", row.known_receptive_field.size), ("jump", row.known_receptive_field.jump))
        attributes |= {name: AttrValue(s=format_size(sizes).encode()) for name, sizes in axes if sizes}
    return NodeDef(name=_scoped(row.name), op=row.type, input=map(_scoped, row.inputs), attr=attributes)


def _scoped(name: str) -> str:
    """`basic1.residual1.conv1` as a path: TensorBoard groups nodes by what precedes a slash."""
    return name.replace(".", "/")


def _shape(shape: Shape | None) -> dict[str, AttrValue]:
    """The attribute that TensorBoard shows on the edges that leave a node."""
    if shape is None:
        return {}
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)]))}


@dataclass(frozen=True)
class LoggedPicture:
    """A picture of one step: the content of a PNG or GIF."""

    step: int
    content: bytes


def read_pictures(directory: Path) -> dict[str, list[LoggedPicture]]:
    """The pictures in the event files of a run: tag -> pictures, with ascending steps.

    A truncated last record is ignored. Subfolders are separate runs.
    """
    from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # no stubs
        LegacyEventFileLoader,
    )

    pictures: dict[str, list[LoggedPicture]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("image"):
                    picture = LoggedPicture(event.step, value.image.encoded_image_string)
                    pictures.setdefault(value.tag, []).append(picture)
    return pictures


class DamagedRecordError(ValueError):
    """A record of an event file that cannot be read.

    Args:
        message: what is wrong and where.
        cut_off: whether the file ends within the record, as after a crash.
    """

    def __init__(self, message: str, *, cut_off: bool) -> None:
        super().__init__(message)
        self.cut_off = cut_off


@dataclass(frozen=True)
class LoggedValues:
    """What event files hold besides pictures, histograms and the graph.

    Attributes:
        scalars: tag -> step -> value, rounded to float32.
        texts: tag -> Markdown.
    """

    scalars: dict[str, dict[int, float]]
    texts: dict[str, str]


def read_logged_values(path: Path, into: LoggedValues) -> int:
    """Read an event file, verify the checksums of its records, and add its values to those of earlier files.

    Returns:
        The number of records.

    Raises:
        DamagedRecordError: a record is damaged; the values before it have been added.
    """
    count = 0
    for data in _records(path):
        event = Event.FromString(data)
        count += 1
        for value in event.summary.value:
            if value.HasField("simple_value"):
                into.scalars.setdefault(value.tag, {})[event.step] = value.simple_value
            elif value.metadata.plugin_data.plugin_name == "text":
                into.texts[value.tag] = value.tensor.string_val[0].decode()
    return count


def _records(path: Path) -> Iterator[bytes]:
    """The data of the records in a file; see `record`. Raises DamagedRecordError."""
    with path.open("rb") as file:
        number = 0
        while header := file.read(12):
            number += 1
            if len(header) == 12 and header[8:] != _masked_crc32c(header[:8]):
                raise DamagedRecordError(f"record {number}: its length does not have its checksum", cut_off=False)
            size = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 0
            content = file.read(size + 4)
            if len(header) < 12 or len(content) < size + 4:
                raise DamagedRecordError(f"record {number}: the file ends in the middle of it", cut_off=True)
            data = content[:-4]
            if content[-4:] != _masked_crc32c(data):
                raise DamagedRecordError(f"record {number}: its data does not have its checksum", cut_off=False)
            yield data
