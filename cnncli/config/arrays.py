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
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from cnncli.config.image_folder import PART_NAMES, FolderPart
from cnncli.errors import DataError, shorten
from cnncli.files import open_to_read

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, SyntaxError)
"""What the readers of zip, gzip and NumPy's files raise for damaged ones."""
NPZ_NAMES: Mapping[FolderPart, tuple[tuple[str, str], ...]] = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "validation": (("val_images", "val_labels"), ("x_val", "y_val")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""The names of images and labels of each part."""
_IDX_WORDS = {**{word: part for part, words in PART_NAMES.items() for word in words}, "t10k": "test"}
_TYPES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_HEADER = 2**16


@dataclass(frozen=True, kw_only=True)
class ArrayPart:
    """The images and labels of a part: where they are, and the shape of the images.

    Attributes:
        images, labels: the files of an IDX data set; the file itself, twice, of an NPZ.
        names: of the arrays in the file; empty for IDX.
        shape: of all images: (N, H, W), (N, H, W, C) or (N, C, H, W).
    """

    images: Path
    labels: Path
    names: tuple[str, str] | tuple[()]
    shape: tuple[int, ...]


def array_parts(path: Path) -> dict[FolderPart, ArrayPart]:
    """The parts of a data set in a `.npz` file, or in a folder of IDX files; the training images are among them.

    Raises:
        DataError: there is no such file or folder, or it has no training images.
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
    return parts


def stored_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """(C, H, W) of the images of an array (N, H, W), (N, H, W, C) or (N, C, H, W), with 1 or 3 channels.

    Raises:
        DataError: it has another shape.
    """
    match shape:
        case (_, height, width):
            return 1, height, width
        case (_, height, width, (1 | 3) as channels) | (_, (1 | 3) as channels, height, width):
            return channels, height, width
    raise DataError(
        f"{path}: images of shape {'x'.join(map(str, shape[1:]))} are neither gray nor RGB",
        remedy="give arrays (N, H, W), (N, H, W, C) or (N, C, H, W), with one or three channels",
    )


def class_count(part: ArrayPart) -> int:
    """The number of classes: the largest label plus one.

    Raises:
        DataError: the labels are not whole numbers from 0, or there are several of an image.
    """
    try:
        if part.names:
            with (
                open_to_read(part.labels) as opened,
                zipfile.ZipFile(opened) as archive,
                archive.open(f"{part.names[1]}.npy") as file,
            ):
                descr, shape = _npy_header(file)
                content = file.read()
            kind = descr[1:2]
            if kind not in "iu" or (len(shape) != 1 and shape[1:] != (1,)):
                raise DataError(
                    f"{part.labels}: {part.names[1]} has labels of type {descr} and shape {shape}",
                    remedy="give one whole number from 0 per image",
                )
            size = int(descr[2:])
            values = array.array(_TYPES[size], content)
            if (descr[0] == ">") != (struct.pack("=H", 1) == struct.pack(">H", 1)) and size > 1:
                values.byteswap()
            top = max(values, default=0)
            if kind == "i" and top >= 1 << (8 * size - 1):
                raise DataError(f"{part.labels}: {part.names[1]} has negative labels", remedy="number classes from 0")
            return int(top) + 1
        with _opened(part.labels) as file:
            file.read(8)
            return max(file.read(), default=0) + 1
    except UNREADABLE as error:
        raise DataError(f"{part.labels}: cannot be read: {error}", remedy="replace it with an intact copy") from None


def _npz_parts(path: Path) -> dict[FolderPart, ArrayPart]:
    parts: dict[FolderPart, ArrayPart] = {}
    with open_to_read(path) as opened, zipfile.ZipFile(opened) as archive:
        found = {name.removesuffix(".npy") for name in archive.namelist()}
        for part, pairs in NPZ_NAMES.items():
            for names in pairs:
                if found.issuperset(names) and part not in parts:
                    with archive.open(f"{names[0]}.npy") as file:
                        _, shape = _npy_header(file)
                    if shape[0]:  # MedMNIST has empty parts of some sizes
                        parts[part] = ArrayPart(images=path, labels=path, names=names, shape=shape)
        if not parts:
            raise ValueError(f"it has the arrays {shorten(sorted(found))}")
    return parts


def _npy_header(file: IO[bytes]) -> tuple[str, tuple[int, ...]]:
    """Type, such as `<i8`, and shape in the header of an NPY file, which is read up to the data (NumPy's NEP 1)."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY":
        raise ValueError("an array in it is not in the NPY format")
    size = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(size, file.read(struct.calcsize(size)))
    if length > _MAX_HEADER:
        raise ValueError("an array in it has a header that is too long")
    header = ast.literal_eval(file.read(length).decode("latin-1").strip())
    if header["fortran_order"] or not isinstance(header["descr"], str):
        raise ValueError("an array in it is not in C order, or of no plain type")
    return header["descr"], tuple(map(int, header["shape"]))


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
            parts[part] = ArrayPart(images=images, labels=labels, names=(), shape=shape)
    return parts


@contextmanager
def _opened(path: Path) -> Iterator["BinaryIO | gzip.GzipFile"]:
    with open_to_read(path) as file:
        yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
