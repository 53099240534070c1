"""What a file holds, by its first bytes and, for a zip archive, the names in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PREFIX = 512
"""How many of the first bytes of a file are needed."""
_TAR_MAGIC = slice(257, 262)

_INSPECT = "cnncli inspect prints its layers; to train such a network, write it as a config"
_TENSORS = "cnncli inspect prints its tensors; to train such a network, write it as a config"
_KERAS = "build the same network in PyTorch, or as a config: cnncli init NAME writes one to start from"
_OTHER = "give a YAML config, or the name of a bundled one"
_UNPACK = "unpack it, and name a YAML config in it"


@dataclass(frozen=True)
class FileType:
    """A type of file that is not a config.

    Attributes:
        what: it in words, with an article: `a PNG image`.
        remedy: what to do instead.
        holds: a network that can be inspected, tensors alone, or neither.
    """

    what: str
    remedy: str = _OTHER
    holds: Literal["network", "tensors", "nothing"] = "nothing"


TORCHSCRIPT = FileType("a TorchScript module", _INSPECT, "network")
EXPORTED = FileType("a program of torch.export", _INSPECT, "network")
SAFETENSORS = FileType("a safetensors file", _TENSORS, "tensors")
PICKLED = FileType("a file of torch.save", _TENSORS, "tensors")
ONNX = FileType("an ONNX network", _INSPECT, "network")
_IMAGE_REMEDY = "cnncli predict RUN IMAGE classifies images; give a YAML config here"

_MAGIC: tuple[tuple[bytes, FileType], ...] = (
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", PICKLED),  # torch before 1.6: a pickled number of 80 bits first
    (b"\x89HDF\r\n\x1a\n", FileType("an HDF5 file, as Keras saves networks", _KERAS)),
    (b"\x89PNG\r\n\x1a\n", FileType("a PNG image", _IMAGE_REMEDY)),
    (b"\xff\xd8\xff", FileType("a JPEG image", _IMAGE_REMEDY)),
    (b"GIF87a", FileType("a GIF image", _IMAGE_REMEDY)),
    (b"GIF89a", FileType("a GIF image", _IMAGE_REMEDY)),
    (b"II*\0", FileType("a TIFF image", _IMAGE_REMEDY)),
    (b"MM\0*", FileType("a TIFF image", _IMAGE_REMEDY)),
    (b"\x1f\x8b", FileType("a gzip archive")),
    (b"BZh91AY&SY", FileType("a bzip2 archive")),
    (b"\xfd7zXZ\0", FileType("an xz archive")),
    (b"\x28\xb5\x2f\xfd", FileType("a Zstandard archive")),
    (b"7z\xbc\xaf\x27\x1c", FileType("a 7-Zip archive")),
    (b"Rar!\x1a\x07", FileType("a RAR archive")),
    (b"\x93NUMPY", FileType("a NumPy array")),
    (b"GGUF\3\0", FileType("a GGUF file of a language model")),
    (b"%PDF-", FileType("a PDF document")),
    (b"\x7fELF", FileType("a program")),
)
_BINARY = FileType("a binary file")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""Marks at the start of a text in UTF-16 or UTF-32, in which zero bytes are common."""


def file_type(path: Path) -> FileType | None:
    """The type of a file that is not text; None if it may be text.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(PREFIX)
    if start.startswith(b"PK\x03\x04"):
        return _zip_type(path)
    found = type_of_bytes(start)
    # A damaged file is not told by its first bytes, and text in its place is a pointer to it.
    return ONNX if path.suffix.lower() == ".onnx" and (found is None or found == _BINARY) else found


def type_of_bytes(start: bytes) -> FileType | None:
    """The type of a file that starts with these bytes (`PREFIX` of them, or all); None if it may be text."""
    for magic, type in _MAGIC:
        if start.startswith(magic):
            return type
    if start.startswith(b"BM") and b"\0" in start:
        return FileType("a BMP image", _IMAGE_REMEDY)
    if start.startswith(b"PK\x03\x04"):
        return FileType("a zip archive", _UNPACK)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return SAFETENSORS
    if start[4:8] == b"ORTM":
        return FileType("a network in the format ORT of onnxruntime", "inspect the ONNX file that it was made from")
    if start[4:8] == b"TFL3":
        return FileType("a TensorFlow Lite network", _KERAS)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return FileType("a WebP image", _IMAGE_REMEDY)
    if start[_TAR_MAGIC] == b"ustar":
        return FileType("a tar archive")
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return FileType("an HTML page", "open it in a browser; give a YAML config here")
    if _is_onnx(start):
        return ONNX
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return FileType("a Python pickle", "save the tensors with torch.save(model.state_dict(), FILE) to inspect them")
    return _BINARY if b"\0" in start and not start.startswith(_UTF16) else None


def _is_onnx(start: bytes) -> bool:
    """Whether protobuf starts with a small version (field 1) and one of the fields 2 to 8, as the graph (7)."""
    return (
        start[:1] == b"\x08"
        and len(start) > 2
        and 3 <= start[1] <= 32
        and start[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42")
    )


def _zip_type(path: Path) -> FileType:
    import zipfile  # it imports every compression

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):  # a name that is no text is a ValueError
        return FileType("a damaged zip archive", "copy or download it again")
    inside = {name.partition("/")[2] for name in names}  # files of torch are in one folder
    if "archive_format" in inside or "models/model.json" in inside:
        return EXPORTED
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return TORCHSCRIPT
    if "data.pkl" in inside:
        return PICKLED
    if {"config.json", "metadata.json"} <= set(names):
        return FileType("a Keras network", _KERAS)
    if names and all(name.endswith(".npy") for name in names):
        return FileType("an archive of NumPy arrays")
    return FileType("a zip archive", _UNPACK)
