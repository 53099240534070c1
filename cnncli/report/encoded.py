"""Bytes as text, as a page can hold them."""

import base64
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def png(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture, uint8 (H, W) or (H, W, 3), as a PNG in base64."""
    written = BytesIO()
    Image.fromarray(pixels).save(written, format="PNG", optimize=True)
    return base64_text(written.getvalue())


def webp(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture, uint8 (H, W, 3), without loss in half of what a PNG takes, in base64."""
    return base64_text(_webp(Image.fromarray(pixels), method=4))


def webp_of_png(content: bytes) -> bytes:
    """A PNG as a WebP of the same pixels, made in milliseconds: a run has hundreds of them."""
    with Image.open(BytesIO(content)) as picture:
        return _webp(picture, method=1)


def _webp(picture: Image.Image, *, method: int) -> bytes:
    """Without loss; a higher method takes longer and gives fewer bytes."""
    written = BytesIO()
    picture.save(written, format="WEBP", lossless=True, quality=75, method=method)
    return written.getvalue()


def halves(values: npt.NDArray[np.floating]) -> str:
    """Numbers as IEEE half precision (three digits), little endian, in base64; what is too large is the largest."""
    largest = float(np.finfo(np.float16).max)
    clipped = np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
    return base64_text(clipped.astype("<f2").tobytes())
