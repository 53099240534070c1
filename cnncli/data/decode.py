"""Image files decoded to the pixels that a network gets: one image, or many in parallel.

M: images in a chunk, C: channels, H, W: height and width.
"""

import hashlib
import io
import math
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import BinaryIO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cnncli.data.images import PixelRange
from cnncli.errors import DataError
from cnncli.files import open_to_read
from cnncli.signals import leave_to_parent

DECODER_VERSION = 2
"""Increment this when `decode` produces different pixels for the same file; cached pixels are then decoded again."""

_UNSUPPORTED_FORMATS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow lists but leaves to other programs, or cannot read."""
_MAX_SIDE = 65_535
"""Pixels along one side, as in JPEG; resizing one that is longer takes minutes. Pillow limits their product."""
MAX_IMAGE_BYTES = 2**30
"""Of an image file: uncompressed, those pixels with 16-bit colors and transparency need less."""
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits per pixel of cameras, scanners and files."""
_SERIAL_SECONDS = 0.5 if sys.platform == "linux" else 5.0
"""Seconds of decoding before worker processes start. A forked worker starts at once, a spawned one imports torch."""
_CHUNK_IMAGES, _CHUNK_BYTES = 16, 2**22
"""The maximum number of images, and of bytes of pixels, in one chunk."""


class UnreadableImageError(Exception):
    """An image file that cannot be decoded; the message gives the reason."""


def image_suffixes() -> frozenset[str]:
    """The file name extensions, in lower case, of the image formats that `decode` reads."""
    formats = Image.registered_extensions()
    return frozenset(
        suffix for suffix, format in formats.items() if format in Image.OPEN and format not in _UNSUPPORTED_FORMATS
    )


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Turn the errors of reading and decoding an image file into an UnreadableImageError."""
    try:
        yield
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
    # Decoders raise these, among others, for damaged files.
    except (ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def read_image(file: BinaryIO) -> bytes:
    """The content of an image file. A file that never ends, such as `/dev/zero`, is read to the limit only."""
    return file.read(MAX_IMAGE_BYTES + 1)


ReadContent: TypeAlias = Callable[[Path], bytes]
"""Reads what an image file contains, or what stands for it in another file. Raises what `pillow_errors` explains."""


def read_content(path: Path) -> bytes:
    """The content of an image file."""
    with open_to_read(path) as file:
        return read_image(file)


def open_image(content: bytes) -> Image.Image:
    """The image in the content of a file; its pixels are decoded when they are first used."""
    if not content:
        raise UnreadableImageError("empty")
    if len(content) > MAX_IMAGE_BYTES:
        raise UnreadableImageError(f"more than {MAX_IMAGE_BYTES:,} bytes")
    image = Image.open(io.BytesIO(content))
    if max(image.size) > _MAX_SIDE:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels; a side may have {_MAX_SIDE:,}")
    return image


@contextmanager
def decoder_warnings() -> Iterator[None]:
    """Turn Pillow's warning about decompression bombs into an error and silence its other warnings.

    Warning filters are global to the process, so only one thread at a time may be inside.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An image file, decoded.

    Attributes:
        pixels: uint8 (C, H, W).
        digest: SHA-256 digest of the file.
        range: lowest and highest value of the pixels in the file, if they are integers of more than 8 bits or
            floating point; otherwise None.
        has_16_bit_colors: whether only the upper 8 bits of its colors were read, which is what Pillow reads.
    """

    pixels: NDArray[np.uint8]
    digest: bytes
    range: PixelRange | None
    has_16_bit_colors: bool


def decode(
    path: Path,
    *,
    channels: int,
    size: tuple[int, int],
    range: PixelRange | None = None,
    read: ReadContent = read_content,
) -> DecodedImage:
    """Decode an image, apply its EXIF orientation, and convert and resize it.

    Transparent pixels are composited on white, and of an animation the first frame is used. Gray pixels that are
    integers of more than 8 bits or floating point are scaled.

    Args:
        path: an image in any format that Pillow reads.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width); the aspect ratio is not kept.
        range: the values that become black and white, where pixels are scaled; None for `usual_range`.
        read: reads the file.

    Raises:
        UnreadableImageError: the file is damaged, is not an image, has too many pixels, or pixels that are not finite.
    """
    with pillow_errors():
        content = read(path)
        with open_image(content) as image:
            reduced = has_16_bit_colors(image)
            turned = upright(image)
            own = pixel_range(turned)
            pixels = fit_image(
                turned if own is None else scale_to_8_bits(turned, range or usual_range(turned.mode, own)),
                channels,
                size,
            )
    return DecodedImage(pixels=pixels, digest=hashlib.sha256(content).digest(), range=own, has_16_bit_colors=reduced)


def upright(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF orientation says; CIE L*a*b*, which Pillow converts to nothing else, as RGB."""
    image = ImageOps.exif_transpose(image)
    return image.convert("RGB") if image.mode == "LAB" else image


def has_16_bit_colors(image: Image.Image) -> bool:
    """Whether the file has 16 bits per color, of which Pillow reads the upper 8. To be asked before it is decoded."""
    arguments = (each.args for each in getattr(image, "tile", ()))
    raw_modes = (each if isinstance(each, str) else str((*(each or ()), "")[0]) for each in arguments)
    return not image.mode.startswith(("I", "F")) and any(";16" in mode for mode in raw_modes)


def pixel_range(image: Image.Image) -> PixelRange | None:
    """Lowest and highest value of the pixels, if they are integers of more than 8 bits or floating point.

    Raises:
        UnreadableImageError: some are not finite.
    """
    if not image.mode.startswith(("I", "F")):
        return None
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN spreads to both
        raise UnreadableImageError("pixels that are not finite")
    return low, high


def usual_range(mode: str, own: PixelRange) -> PixelRange:
    """The range to scale an image with that stands for itself: the smallest usual depth that holds its pixels.

    Pixels of a camera with 12 bits, in a file with 16, are divided by 4095 / 255.

    Args:
        mode: of the image.
        own: its lowest and highest value, which are used if no usual range holds them.
    """
    low, high = own
    tops = (1.0, 255.0) if mode == "F" else tuple(2.0**bits - 1 for bits in _DEPTHS)
    return next(((0.0, top) for top in tops if low >= 0 and high <= top), own)


def scale_to_8_bits(image: Image.Image, range: PixelRange) -> Image.Image:
    """The image in mode `L`: values from the first of the range to the second become 0..255, others are clipped."""
    low, high = range
    values = np.asarray(image).astype(np.float64)
    values -= low  # in place: an image may have 89 million pixels
    values *= 255 / ((high - low) or 1)
    np.clip(values, 0, 255, out=values)
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def fit_image(image: Image.Image, channels: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of an upright image of 8 bits after the conversions of `decode`, uint8 (channels, height, width)."""
    height, width = size
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    converted = image.convert("L" if channels == 1 else "RGB")
    resized = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, channels).transpose(2, 0, 1)


@dataclass(frozen=True)
class Chunk:
    """Consecutive images, decoded.

    Attributes:
        pixels: uint8 (M, C, H, W); black where an image cannot be read.
        sums: int64 (M, C, 2): for each channel the sum of the pixels and the sum of their squares.
        digests: SHA-256 digest of each file; empty where it cannot be read.
        problems: why an image cannot be read; None where it can.
        range: lowest and highest value of the pixels that are scaled, of all these images; None if there are none.
        reduced: how many images have 16-bit colors; see `DecodedImage`.
    """

    pixels: NDArray[np.uint8]
    sums: NDArray[np.int64]
    digests: list[bytes]
    problems: list[str | None]
    range: PixelRange | None
    reduced: int


def joined(ranges: Iterable[PixelRange | None]) -> PixelRange | None:
    """The smallest range that contains all."""
    found = [each for each in ranges if each is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


@contextmanager
def decoding(
    paths: Sequence[Path],
    *,
    channels: int,
    size: tuple[int, int],
    range: PixelRange | None = None,
    read: ReadContent = read_content,
) -> Iterator[Iterator[Chunk]]:
    """Decode images in order, in as many processes as there are cores.

    Processes rather than threads: the smaller the images, the larger the share of Python code, which holds the lock.

    Args:
        paths, channels, size, range, read: see `decode`.

    Yields:
        The chunks, of which only a few per core are in memory at a time. The processes end with the context.

    Raises:
        DataError: a process was killed; if an image did it, the message names that image.
    """
    workers = _usable_cores()
    images = _Chunks(paths, channels, size, range, read, workers)
    chunks = _decoded(images, workers)
    try:
        yield chunks
    except RuntimeError as error:  # torch raises it when a worker dies, wherever the main thread is
        if "DataLoader worker (pid" not in str(error):
            raise
        raise images.crash(str(error)) from None
    finally:
        chunks.close()


def _decoded(images: "_Chunks", workers: int) -> Generator[Chunk]:
    """Every chunk, the first ones decoded here: a small folder is done before workers would be up."""
    started = monotonic()
    for number in range(len(images)):
        if workers > 1 and monotonic() - started > _SERIAL_SECONDS:
            break
        yield images[number]
    else:
        return
    loader = DataLoader(
        images,
        batch_size=None,
        sampler=range(number, len(images)),
        num_workers=min(workers, len(images) - number),
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        generator=torch.Generator(),  # not torch's own, whose state would change
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
        decoded = iter(loader)
    assert isinstance(decoded, _MultiProcessingDataLoaderIter), decoded
    try:
        yield from decoded
    finally:
        decoded._shutdown_workers()  # now, not when an exception that refers to it is freed


def _start_worker(_: int) -> None:
    """Leave Ctrl-C to the parent process, and end with it: torch's own check waits for a pipe that is not read."""
    leave_to_parent()
    Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Chunks(Dataset[Chunk]):
    """The images of a folder in chunks, decoded by whichever process asks for one."""

    def __init__(
        self,
        paths: Sequence[Path],
        channels: int,
        size: tuple[int, int],
        range: PixelRange | None,
        read: ReadContent,
        workers: int,
    ) -> None:
        self._paths = paths
        self._read = read
        self._range = range
        self._shape = (channels, *size)
        self._per_chunk = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // math.prod(self._shape)))
        # Of each worker its process and the position of the image that it is decoding, or -1.
        self._current = torch.full((workers, 2), -1)
        self._current.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it

    def __len__(self) -> int:
        return -(-len(self._paths) // self._per_chunk)

    def __getitem__(self, number: int) -> Chunk:
        start, worker = number * self._per_chunk, get_worker_info()
        paths = self._paths[start : start + self._per_chunk]
        pixels = np.zeros((len(paths), *self._shape), dtype=np.uint8)
        sums = np.zeros((len(paths), self._shape[0], 2), dtype=np.int64)
        digests: list[bytes] = []
        problems: list[str | None] = []
        ranges: list[PixelRange | None] = []
        reduced = 0
        with decoder_warnings():
            for place, path in enumerate(paths):
                if worker is not None:
                    self._current[worker.id] = torch.tensor([os.getpid(), start + place])
                try:
                    image = decode(
                        path, channels=self._shape[0], size=self._shape[1:], range=self._range, read=self._read
                    )
                except UnreadableImageError as error:
                    digests.append(b"")
                    problems.append(str(error))
                    continue
                pixels[place] = image.pixels
                digests.append(image.digest)
                problems.append(None)
                ranges.append(image.range)
                reduced += image.has_16_bit_colors
                values = image.pixels.astype(np.uint32)
                sums[place, :, 0], sums[place, :, 1] = values.sum(axis=(1, 2)), (values * values).sum(axis=(1, 2))
        if worker is not None:
            self._current[worker.id] = -1
        return Chunk(pixels, sums, digests, problems, joined(ranges), reduced)

    def crash(self, message: str) -> DataError:
        """The error that names the image a worker was decoding when it was killed, given the message from torch."""
        processes = set(map(int, re.findall(r"\d+", message)))
        positions = [position for process, position in self._current.tolist() if process in processes]
        if not positions:
            return DataError(
                f"a process that decodes images was killed ({message.strip()})",
                remedy="free some memory, for example by closing other programs, and run again",
            )
        return DataError(
            f"{self._paths[positions[0]]}: the process that decoded it was killed ({message.strip()})",
            remedy="replace or delete the image; if memory ran out instead, close other programs and run again",
        )


def _usable_cores() -> int:
    """The cores this process may use: its share of them if several processes on the machine train together."""
    if multiprocessing.current_process().daemon:
        return 1  # it may not start others
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return cores  # the first process on a machine decodes while the others wait
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
