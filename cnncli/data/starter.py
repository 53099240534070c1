"""A config to start from for people's own images: size, channels, classes, and a network that sees the whole image."""

import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from PIL import Image

from cnncli.config.arrays import array_parts, class_count, stored_shape
from cnncli.config.data import table_format
from cnncli.config.image_folder import folder_layout
from cnncli.config.parquet import read_parquet
from cnncli.config.table import read_table
from cnncli.data.decode import ReadContent, UnreadableImageError, decoder_warnings, image_suffixes
from cnncli.data.image_folder import visible_files
from cnncli.data.parquet import ParquetImages
from cnncli.errors import DataError, UsageError
from cnncli.inspection.columns import counted

_UNREADABLE = (OSError, ValueError, SyntaxError, UnreadableImageError)
_SAMPLED = 200
"""Images whose size and mode are read."""
_LONGEST = 96
"""Pixels of the longer side, at most; a larger size is for the reader to choose."""
_MULTIPLE = 8
_SQUARE = 1.25
"""Images whose sides differ by less than this factor become square."""
_GRAY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"}
_CHANNELS = (16, 32, 64, 128, 128, 128)
"""Feature maps of each stage; every stage halves the image."""
_STEPS, _EPOCHS = 1000, (5, 60)
"""Steps of a training, if that takes a number of epochs in this range."""


@dataclass(frozen=True, kw_only=True)
class OwnImages:
    """What is known of people's images before they are read.

    Attributes:
        name: of the format, as in configs.
        path: of the data.
        channels: 1 or 3.
        stored: (height, width), of files their median.
        classes: their names.
        train: the number of training images.
    """

    name: str
    path: Path
    channels: int
    stored: tuple[int, int]
    classes: tuple[str, ...]
    train: int


def look_at(path: Path) -> OwnImages:
    """Find out the format, the size and the classes of a folder, a table (`.csv`, `.parquet`), or arrays (`.npz`, IDX).

    Raises:
        UsageError: it is none of these, or pyarrow is needed and not installed.
        DataError: it is damaged, or no such folder; see `folder_layout`, `read_table`, `read_parquet`, `array_parts`.
    """
    if path.suffix.lower() == ".npz":
        return _look_at_arrays("npz", path)
    if (name := table_format(path)) is not None:
        table = read_table(path, {}) if name == "csv" else read_parquet(path, {})
        files = [table.root / row.path for row in table.rows]
        train = sum(row.part in (None, "train") for row in table.rows)
        read = ParquetImages(table.image_column) if name == "parquet" else None
        return _look_at_files(name, path, files, classes=table.classes, train=train, read=read)
    if not path.is_dir():
        raise UsageError(
            f"--from: {path} is no folder, table or array file" if path.exists() else f"--from: not found: {path}",
            remedy="give a folder with one folder of images per class, a .csv, .parquet or .npz file, or a folder of "
            "Parquet or IDX files",
        )
    if any("idx" in each.name and "images" in each.name for each in path.iterdir()):
        return _look_at_arrays("idx", path)
    layout = folder_layout(path)
    suffixes = image_suffixes()
    files = [
        file
        for name in layout.classes
        for file in visible_files(layout.train / name)
        if file.suffix.lower() in suffixes
    ]
    return _look_at_files("image-folder", path, files, classes=layout.classes, train=len(files))


def _look_at_arrays(name: str, path: Path) -> OwnImages:
    part = array_parts(path)["train"]
    channels, height, width = stored_shape(part.shape, path)
    classes = tuple(map(str, range(class_count(part))))
    return OwnImages(
        name=name, path=path, channels=channels, stored=(height, width), classes=classes, train=part.shape[0]
    )


def _look_at_files(
    name: str,
    path: Path,
    files: Sequence[Path],
    *,
    classes: tuple[str, ...],
    train: int,
    read: ReadContent | None = None,
) -> OwnImages:
    sizes: list[tuple[int, int]] = []
    gray = True
    with decoder_warnings():
        for file in files[:: max(1, len(files) // _SAMPLED)]:
            try:
                # Of a file, the header only is read.
                with Image.open(file if read is None else io.BytesIO(read(file))) as image:
                    sizes.append((image.height, image.width))
                    gray = gray and image.mode in _GRAY_MODES
            except (*_UNREADABLE, Image.DecompressionBombWarning, Image.DecompressionBombError):
                continue  # the training names those that cannot be read
    if not sizes:
        raise DataError(f"{path}: no images that can be read", remedy="put images there, or choose another folder")
    height, width = (round(statistics.median(side)) for side in zip(*sizes, strict=True))
    return OwnImages(
        name=name, path=path, channels=1 if gray else 3, stored=(height, width), classes=classes, train=train
    )


def input_size(stored: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) to resize images of files to: at most `_LONGEST`, in multiples of `_MULTIPLE`."""
    height, width = stored
    if max(stored) < _SQUARE * min(stored):
        height = width = max(stored)
    factor = min(1.0, _LONGEST / max(height, width))
    rounded = [max(_MULTIPLE, round(factor * side / _MULTIPLE) * _MULTIPLE) for side in (height, width)]
    return rounded[0], rounded[1]


def stages(size: tuple[int, int]) -> int:
    """The number of stages of two 3x3 convolutions and a 2x2 pool after which the receptive field covers the image.

    After n stages it is 1 + 5 (2^n - 1): each convolution adds 2, and the pool 1, times the product of the strides.
    There are no more than the shorter side can be halved, and no more than there are `_CHANNELS`.
    """
    most = min(min(size).bit_length() - 1, len(_CHANNELS))
    return next((n for n in range(1, most) if 1 + 5 * (2**n - 1) >= max(size)), most)


def starter_config(found: OwnImages) -> str:
    """A commented config for such images."""
    arrays = found.name in ("npz", "idx")
    size = found.stored if arrays else input_size(found.stored)
    batch = 64 if found.train >= 2000 else 32 if found.train >= 300 else 16
    least, most = _EPOCHS
    epochs = min(most, max(least, ceil(_STEPS * batch / max(1, found.train))))
    count = stages(size)
    shown = f"{size[0]}" if size[0] == size[1] else f"[{size[0]}, {size[1]}]"
    maps = f"{size[0] >> count}x{size[1] >> count}"
    field = 1 + 5 * (2**count - 1)
    names = ", ".join(found.classes[:5]) + (", ..." if len(found.classes) > 5 else "")
    shift = max(1, min(size) // 16)
    layers = "".join(
        f"    - conv: {channels}\n    - conv: {channels}\n    - max_pool: 2\n" for channels in _CHANNELS[:count]
    )
    data = [
        (f"name: {found.name}", ""),
        (f"path: {json.dumps(str(found.path.absolute()), ensure_ascii=False)}", ""),
        (f"size: {shown}", f"images are {found.stored[0]} x {found.stored[1]} (height x width)"),
        (f"channels: {found.channels}", "1: gray, 3: RGB"),
        (f"classes: {len(found.classes)}", json.dumps(names, ensure_ascii=False)[1:-1]),
        ("validation: 0.1", "fraction of the training images held out, unless there are validation images"),
        (f"augment: {{shift: {shift}}}", "also: flip, rotate, scale, ...; look at them with cnncli data"),
    ]
    section = "".join(f"  {text:<30}{'  # ' + said if said else ''}".rstrip() + "\n" for text, said in data)
    return (
        f"# {counted(found.train, 'training image')} of {len(found.classes):,} classes from {found.path.name}.\n"
        "# `cnncli validate FILE` checks your changes.\n"
        "version: 1\n\n"
        f"data:\n{section}\n"
        "model:\n"
        "  defaults:                       # for every convolution\n"
        "    conv: {kernel_size: 3, padding: same, norm: batch, activation: relu}\n"
        f"  layers:                         # {counted(count, 'stage')}; each halves the maps\n"
        f"{layers}"
        f"    - global_avg_pool             # the mean of each {maps} map, whose units see {field}x{field} pixels\n"
        "    - dropout: 0.2\n"
        "    - logits                      # one output per class\n\n"
        "train:\n"
        f"  epochs: {epochs}\n"
        f"  batch_size: {batch}\n"
        "  optimizer: {adamw: {lr: 3e-3}}\n"
        "  schedule: one_cycle\n"
        "  class_weights: auto             # classes with few images count as much as others\n"
        "  seed: 0\n"
    )
