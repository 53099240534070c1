"""One image file to the bytes that a network gets."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

RULE = 1
"""Of how `decode` makes pixels: to be raised where it gives other ones, which are kept on disks."""

# Formats that Pillow lists but hands to other programs, or cannot read by itself.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


class UnreadableImageError(Exception):
    """A file that holds no whole image; the message says why in a few words."""


def image_suffixes() -> frozenset[str]:
    """The endings, in lower case, of files that are taken for images."""
    suffixes = Image.registered_extensions()
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in Image.OPEN and kind not in _NOT_READ)


@contextmanager
def refusing_bombs() -> Iterator[None]:
    """Make an error of Pillow's warning about images of very many pixels, and silence its others.

    Warning filters belong to the process: no two threads may be in here at once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path, *, channels: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], bytes]:
    """Read an image, turn it upright (EXIF), and bring it to a size and a number of channels.

    What is transparent is seen on white, pixels of 16 bits keep their upper half, the first of several frames
    is taken.

    Args:
        path: any image that Pillow reads.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width); the sides are scaled on their own.

    Returns:
        uint8 (channels, height, width), and the SHA-256 of the file.

    Raises:
        UnreadableImageError: the file is damaged, is no image, or has more pixels than is sane.
    """
    try:
        packed = path.read_bytes()
        with Image.open(io.BytesIO(packed)) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = _plain(upright, "L" if channels == 1 else "RGB")
    except UnidentifiedImageError:
        raise UnreadableImageError("empty" if not packed else "not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
    # Decoders of damaged files raise these, among others.
    except (
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        MemoryError,
        OverflowError,
    ) as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from None
    height, width = size
    scaled = pixels.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(scaled).reshape(height, width, channels)
    return array.transpose(2, 0, 1), hashlib.sha256(packed).digest()


@dataclass(frozen=True)
class Original:
    """A picture as it came: (height, width) when upright, and whether any of its pixels is other than gray."""

    size: tuple[int, int]
    colored: bool


def original_of(path: Path) -> Original:
    """What an image that `decode` has read was before."""
    with Image.open(path) as image:
        upright = _plain(ImageOps.exif_transpose(image), "RGB")
    extremes = np.asarray(upright).astype(np.int16)  # (H, W, 3)
    difference = (extremes.max(axis=2) - extremes.min(axis=2)).max(initial=0)
    return Original((upright.height, upright.width), bool(difference > _GRAY_ENOUGH))


_GRAY_ENOUGH = 16
"""Levels between the channels of a pixel that JPEG may leave in a gray picture."""


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The image as gray or RGB of 8 bits."""
    if image.mode.startswith("I"):
        image = _upper_half(image)
    elif image.mode == "F":
        raise UnreadableImageError("floating-point pixels, whose range is not known")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _upper_half(image: Image.Image) -> Image.Image:
    """8-bit gray of 16-bit gray; Pillow's own conversion would cut off what is above 255."""
    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 0xFFFF):
        raise UnreadableImageError("pixels of more than 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))
