"""Data sets in array files, NPZ and IDX: which arrays they have, and of which shape. Without NumPy.

pets.npz                          train_images, train_labels, val_images, ..., test_labels (MedMNIST)
x_train, y_train, x_val, y_val, x_test, y_test (Keras)
letters/train-images-idx3-ubyte   also .gz; train-labels-idx1-ubyte, t10k-images-idx3-ubyte, ...
"""

import array
import ast
import gzip
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

from cnncli.config.image_folder import PART_NAMES, FolderPart
from cnncli.errors import DataError, shorten
from cnncli.files import open_to_read
from cnncli.limits import MAX_CLASSES

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)
"""What the readers of zip, gzip and NumPy's files raise for damaged ones, and for encrypted ones."""
NPZ_NAMES: Mapping[FolderPart, tuple[tuple[str, str], ...]] = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "validation": (("val_images", "val_labels"), ("x_val", "y_val")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""The names of images and labels of each part."""
_IDX_WORDS = {**{word: part for part, words in PART_NAMES.items() for word in words}, "t10k": "test"}
_PIXELS = re.compile(r"[<>|](b1|[iu][1248]|f[248])")
_LABELS = re.compile(r"[<>|][iu][1248]")
"""NumPy's types, as in the header of a file."""
_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_HEADER = 10_000
"""Bytes; also NumPy's limit."""
_MAX_IMAGES = 100_000_000
_BLOCK = 2**20


@dataclass(frozen=True, kw_only=True)
class ArrayPart:
    """The images and labels of a part: where they are, and the shape of the images.

    Attributes:
        images, labels: the files of an IDX data set; the file itself, twice, of an NPZ.
        names: of the arrays in the file; empty for IDX.
        shape: of all images: (N, H, W), (N, H, W, C) or (N, C, H, W).
        size: of all images in bytes.
    """

    images: Path
    labels: Path
    names: tuple[str, str] | tuple[()]
    shape: tuple[int, ...]
    size: int


def array_parts(path: Path) -> dict[FolderPart, ArrayPart]:
    """The parts of a data set in a `.npz` file, or in a folder of IDX files; the training images are among them.

    Raises:
        DataError: there is no such file or folder, it is damaged, or it has no training images or too many.
    """
    try:
        parts = _idx_parts(path) if path.is_dir() else _npz_parts(path)
    except FileNotFoundError:
        raise DataError(
            f"data.path: not found: {path}",
            remedy="put it there, or choose another data directory with --data-dir or $CNNCLI_DATA; to inspect the "
            "network without it, set data.size, data.channels and data.classes",
        ) from None
    except (*UNREADABLE, struct.error) as error:
        raise DataError(f"data.path: {path} cannot be read: {error}", remedy="replace it with an intact copy") from None
    if "train" not in parts:
        files = "files such as train-images-idx3-ubyte and train-labels-idx1-ubyte"
        arrays = "arrays train_images and train_labels, or x_train and y_train"
        raise DataError(
            f"data.path: {path} has no training images and labels",
            remedy=f"it must have {files if path.is_dir() else arrays}",
        )
    if (count := max(part.shape[0] for part in parts.values())) > _MAX_IMAGES:
        raise DataError(
            f"data.path: {path} declares {count:,} images", remedy=f"give it at most {_MAX_IMAGES:,} images"
        )
    return parts


def stored_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """(C, H, W) of the images of an array (N, H, W), (N, H, W, C) or (N, C, H, W), with 1 or 3 channels.

    Raises:
        DataError: it has another shape, or the images have no pixels.
    """
    match shape:
        case (_, height, width):
            channels = 1
        case (_, height, width, (1 | 3) as channels) | (_, (1 | 3) as channels, height, width):
            pass
        case _:
            raise DataError(
                f"{path}: an array of shape {shape} has no gray or RGB images",
                remedy="give arrays (N, H, W), (N, H, W, C) or (N, C, H, W), with one or three channels",
            )
    if not height or not width:
        raise DataError(f"{path}: images of {height}x{width} pixels", remedy="give images of 1x1 pixel at least")
    return channels, height, width


def class_count(part: ArrayPart) -> int:
    """The number of classes: the largest label plus one.

    Raises:
        DataError: the labels are not whole numbers from 0, are too large, or cannot be read.
    """
    where = f"{part.labels}: {part.names[1]}" if part.names else str(part.labels)
    try:
        if part.names:
            with open_to_read(part.labels) as opened, zipfile.ZipFile(opened) as archive:
                top = _npz_top_label(archive, part.names[1], where)
        else:
            with _opened(part.labels) as file:
                file.read(8)
                top = max(file.read(part.shape[0]), default=0)
    except UNREADABLE as error:
        raise DataError(f"{part.labels}: cannot be read: {error}", remedy="replace it with an intact copy") from None
    if top >= MAX_CLASSES:
        raise DataError(f"{where} has the label {top:,}", remedy=f"labels are numbers from 0 to {MAX_CLASSES - 1:,}")
    return top + 1


def _npz_top_label(archive: zipfile.ZipFile, name: str, where: str) -> int:
    with archive.open(f"{name}.npy") as file:
        descr, _ = _npy_header(file, archive, name)
        size, top = int(descr[2:]), 0
        while content := file.read(_BLOCK):
            values = array.array(_UNSIGNED[size], content)
            if size > 1 and (descr[0] == ">") != (sys.byteorder == "big"):
                values.byteswap()
            top = max(top, max(values))
    if descr[1] == "i" and top >= 1 << (8 * size - 1):
        raise DataError(f"{where} has negative labels", remedy="number classes from 0")
    return top


def _npz_parts(path: Path) -> dict[FolderPart, ArrayPart]:
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # a device may never end
    parts: dict[FolderPart, ArrayPart] = {}
    with open_to_read(path) as opened, zipfile.ZipFile(opened) as archive:
        found = {name.removesuffix(".npy") for name in archive.namelist()}
        for part, pairs in NPZ_NAMES.items():
            for names in pairs:
                if found.issuperset(names) and part not in parts:
                    with archive.open(f"{names[0]}.npy") as images, archive.open(f"{names[1]}.npy") as labels:
                        descr, shape = _npy_header(images, archive, names[0])
                        _check_labels(*_npy_header(labels, archive, names[1]), shape[0], f"{path}: {names[1]}")
                    if not _PIXELS.fullmatch(descr):
                        raise DataError(
                            f"{path}: {names[0]} has pixels of type {descr}",
                            remedy="store them as uint8, or as other whole or floating-point numbers",
                        )
                    if shape[0]:  # MedMNIST has empty parts of some sizes
                        size = prod(shape) * int(descr[2:])
                        parts[part] = ArrayPart(images=path, labels=path, names=names, shape=shape, size=size)
        if not parts:
            raise ValueError(f"it has no images in its arrays {shorten(sorted(found))}")
    return parts


def _check_labels(descr: str, shape: tuple[int, ...], images: int, where: str) -> None:
    if not _LABELS.fullmatch(descr) or (len(shape) != 1 and shape[1:] != (1,)):
        raise DataError(
            f"{where} has labels of type {descr} and shape {shape}", remedy="give one whole number from 0 per image"
        )
    if shape[0] != images:
        raise DataError(f"{where}: {shape[0]:,} labels for {images:,} images", remedy="replace the file")


def _npy_header(file: IO[bytes], archive: zipfile.ZipFile, name: str) -> tuple[str, tuple[int, ...]]:
    """Type, such as `<i8`, and shape in the header of an NPY file, which is read up to the data (NumPy's NEP 1).

    Raises:
        ValueError: it is no array in C order with one axis at least, or the data of numbers have another length.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or len(start) < 8:
        raise ValueError(f"{name} is not in the NPY format")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"the header of {name} has {length:,} bytes")
    try:
        header = ast.literal_eval(file.read(length).decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        header = None
    match header:
        case {"descr": str(descr), "fortran_order": False, "shape": (_, *_) as shape} if all(
            type(axis) is int and axis >= 0 for axis in shape
        ):
            data = archive.getinfo(f"{name}.npy").file_size - len(start) - width - length
            if _PIXELS.fullmatch(descr) and prod(shape) * int(descr[2:]) != data:
                raise ValueError(f"{name} has {data:,} bytes of data, not those of shape {shape} and type {descr}")
            return descr, tuple(shape)
    raise ValueError(f"the header of {name} is not that of a plain array in C order")


def _idx_parts(folder: Path) -> dict[FolderPart, ArrayPart]:
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        words = re.findall(r"t10k|[a-z]+", path.name.casefold())
        part = next((_IDX_WORDS[word] for word in words if word in _IDX_WORDS), None)
        kind = next((kind for kind in ("images", "labels") if kind in words), None)
        if part and kind and path.is_file():
            files.setdefault((part, kind), path)  # a plain file comes before its .gz
    parts: dict[FolderPart, ArrayPart] = {}
    for part in PART_NAMES:
        images, labels = files.get((part, "images")), files.get((part, "labels"))
        if images is not None and labels is not None:
            with _opened(images) as file:
                axes = file.read(4)[3:]
                shape = struct.unpack(f">{axes[0]}I", file.read(4 * axes[0])) if axes and axes[0] in (3, 4) else ()
            if not shape:
                raise ValueError(f"{images.name} is not an IDX file of images")
            parts[part] = ArrayPart(images=images, labels=labels, names=(), shape=shape, size=prod(shape))
    return parts


@contextmanager
def _opened(path: Path) -> Iterator["BinaryIO | gzip.GzipFile"]:
    with open_to_read(path) as file:
        yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
