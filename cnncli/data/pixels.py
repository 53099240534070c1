"""Paths, PIL images and arrays as the pixels that a network takes.

Letters: N images, C channels, (H, W) image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnncli.data.decode import UnreadableImageError, decode, decoder_warnings, fit_image
from cnncli.errors import UsageError

ImageLike: TypeAlias = "str | Path | Image.Image | npt.NDArray[Any]"


def split_images(images: "ImageLike | Sequence[ImageLike]") -> list[ImageLike]:
    """The single images in a sequence, or in an array (N, H, W) or (N, H, W, C); a single image alone."""
    if isinstance(images, np.ndarray):
        several = images.ndim == 4 or (images.ndim == 3 and images.shape[2] not in (1, 3, 4))
        return list(images) if several else [images]
    return [images] if isinstance(images, str | Path | Image.Image) else list(images)


def to_pixels(image: ImageLike, *, channels: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """An image as uint8 (C, H, W), with the conversions of `decode`.

    Args:
        image: a path, a PIL image, or an array (H, W) or (H, W, C) with 1, 3 or 4 channels: uint8, or floating point
            from 0 (black) to 1 (white).
        channels: 1 (gray) or 3 (RGB).
        size: (height, width).

    Raises:
        UsageError: the file cannot be decoded, or the array is not an image.
    """
    try:
        with decoder_warnings():
            if isinstance(image, str | Path):
                return decode(Path(image), channels=channels, size=size)[0]
            if isinstance(image, np.ndarray):
                image = _from_array(image)
            if not isinstance(image, Image.Image):
                raise UsageError(
                    f"an object of type {type(image).__name__} is not an image",
                    remedy="give a path, a PIL image or an array, or a sequence of these",
                )
            return fit_image(image, channels=channels, size=size)
    except (UnreadableImageError, OSError) as error:
        name = f"image {image}" if isinstance(image, str | Path) else "the image"
        raise UsageError(
            f"{name}: {error}", remedy="give an image file such as a PNG, or the number of a test image"
        ) from None


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UsageError(
            f"an array of shape {array.shape} is not an image",
            remedy="give (H, W), (H, W, C), (N, H, W) or (N, H, W, C)",
        )
    if np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UsageError(
            f"cannot tell black from white in an array of {array.dtype}",
            remedy="give uint8, or floating point from 0 (black) to 1 (white)",
        )
    return Image.fromarray(array)
