"""Image files, data sets and run directories, damaged."""

import functools
import gzip
import io
import json
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from tests.reliability.fuzz.case import RUN, Case, chance
from tests.reliability.fuzz.mutation import mutate_bytes, value

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
MODES = ("L", "RGB", "RGBA", "P", "1", "I;16", "LA")


@functools.cache
def _image(file_format: str, mode: str, size: int) -> bytes:
    """A small picture in a format; in mode L where the format lacks the mode."""
    pixels = np.random.default_rng(size).integers(0, 255, (size, size), dtype=np.uint8)
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    try:
        converted = Image.fromarray(pixels.astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
        converted.save(file, file_format)
    except OSError:
        file = io.BytesIO()
        image.save(file, file_format)
    return file.getvalue()


def _damaged_image(r: random.Random) -> bytes:
    content = _image(r.choice(FORMATS), r.choice(MODES), r.choice((1, 8, 28)))
    choice = r.random()
    if choice < 0.05:
        return content
    if choice < 0.1:
        return bytes(r.randrange(256) for _ in range(r.randrange(200)))
    if choice < 0.3 and content.startswith(b"\x89PNG"):  # another size in the header, with its checksum
        import zlib

        sizes = (0, 1, 7, 60_000, 2**31 - 1, 2**32 - 1)
        header = b"IHDR" + struct.pack(">II", r.choice(sizes), r.choice(sizes)) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    return mutate_bytes(r, content)


def image_case(r: random.Random) -> Case:
    """Several image files for one prediction, so that a case is worth its start."""
    names = [f"i{n}{r.choice(('.png', '.jpg', '.gif', '.bmp', '.tif', '.x'))}" for n in range(r.choice((1, 1, 2, 4)))]
    files: dict[str, bytes | None] = {name: _damaged_image(r) for name in names}
    options = {"--invert": ("auto", "yes", "no"), "--fit": ("auto", "none"), "--top": ("1", "99999", "0", "x")}
    words = [word for option, values in options.items() if chance(r, 0.2) for word in (option, r.choice(values))]
    return Case("images", ("predict", RUN, *names, *words), files, run=True)


def folder_case(r: random.Random) -> Case:
    """A folder of class folders, some of whose images are damaged."""
    files: dict[str, bytes | None] = {}
    for number in range(r.choice((1, 2, 10))):
        for image in range(r.choice((0, 1, 2))):
            content = _damaged_image(r) if chance(r, 0.5) else _image("PNG", "L", 8)
            files[f"images/{number}/{image}.png"] = content
    return Case("image folders", ("eval", RUN, "--data", "images"), files, run=True)


@functools.cache
def _idx(images: bool, packed: bool) -> bytes:
    """Ten digits of MNIST's shape, or their labels."""
    shape = (10, 28, 28) if images else (10,)
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    content += bytes(range(10)) if not images else bytes(i % 251 for i in range(7840))
    return gzip.compress(content, mtime=0) if packed else content


def idx_case(r: random.Random) -> Case:
    """Files of MNIST, one of which is damaged."""
    packed = chance(r, 0.3)
    names = {f"{split}-{kind}{'.gz' if packed else ''}": kind.startswith("images")
             for split in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")}  # fmt: skip
    damaged = r.choice([name for name in names if name.startswith("t10k") or chance(r, 0.2)])
    files: dict[str, bytes | None] = {}
    for name, images in names.items():
        content = _idx(images, packed)
        files[f"d/MNIST/raw/{name}"] = mutate_bytes(r, content) if name == damaged else content
    return Case("IDX files", ("eval", RUN, "--data", "mnist", "--data-dir", "d"), files, run=True)


COMMANDS = (
    *(("runs", "show", RUN), ("runs", "list", "."), ("runs", "verify", RUN), ("runs", "compare", RUN, RUN)),
    *(("inspect", RUN), ("predict", RUN, "i.png"), ("show", "kernels", RUN), ("eval", RUN)),
    *(("export", RUN, "--format", "safetensors"), ("train", "--resume", RUN)),
)


def run_case(r: random.Random, run: Path) -> Case:
    """A run of which one file is damaged; `test_damaged_runs.py` does it file by file."""
    paths = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    name = r.choice(paths)
    content: bytes | None = (run / name).read_bytes()
    assert content is not None
    choice = r.random()
    if choice < 0.1:
        content = None
    elif choice < 0.4 and name.endswith(".json"):
        changed = json.loads(content)
        changed[r.choice([*changed, "x"])] = value(r)
        content = json.dumps(changed).encode()
    else:
        content = r.choice((b"", b"{}", b"[" * 5000, b"null", mutate_bytes(r, content), mutate_bytes(r, content)))
    files: dict[str, bytes | None] = {f"{RUN}/{name}": content, "i.png": _image("PNG", "L", 8)}
    return Case("run directories", r.choice(COMMANDS), files, run=True)
