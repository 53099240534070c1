"""Images from anywhere, prepared for a network like the images of the data set that it was trained on.

Letters: N images, C channels, (H, W) image.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from cnncli.config.data import DataSpec
from cnncli.config.datasets import STANDARD_DATA, Framing, Shape, known_dataset
from cnncli.data.batches import Normalization
from cnncli.data.decode import (
    UnreadableImageError,
    decoder_warnings,
    fit_image,
    has_16_bit_colors,
    open_image,
    pillow_errors,
    pixel_range,
    read_image,
    scale_to_8_bits,
    upright,
    usual_range,
)
from cnncli.data.framing import NEGLIGIBLE, Border, Gray, border_mask, place, separate_ink
from cnncli.data.images import PixelRange, convert_channels, resize
from cnncli.errors import DataError, UsageError
from cnncli.files import open_to_read

ImageLike: TypeAlias = "str | Path | bytes | Image.Image | npt.NDArray[Any]"
Invert: TypeAlias = Literal["auto", "yes", "no"]
Fit: TypeAlias = Literal["auto", "none"]
Background: TypeAlias = Literal["dark", "bright"]
Pixels: TypeAlias = npt.NDArray[np.uint8]

_ORIENTATION = 0x0112
"""The EXIF tag; 1 is upright."""
_COLORED = 16
"""Differences between the channels of a pixel above this are color; JPEG may leave smaller ones in a gray image."""
_DARK, _BRIGHT = 1 / 3, 2 / 3
"""Means of the pixels of an image folder below and above which its images have dark and bright backgrounds."""
_ALL_AROUND = 0.75
"""Fraction of the border of an image for a folder that must be bright, or dark, to be a background."""
_MAX_SIDE = 1024
"""Images are reduced by a whole factor before their ink is found, so that no side is longer."""


def split_images(images: "ImageLike | Sequence[ImageLike]") -> list[ImageLike]:
    """The single images in a sequence, or in an array (N, H, W) or (N, H, W, C); a single image alone."""
    if isinstance(images, np.ndarray):
        several = images.ndim == 4 or (images.ndim == 3 and images.shape[2] not in (1, 3, 4))
        return list(images) if several else [images]
    return [images] if isinstance(images, str | bytes | Path | Image.Image) else list(images)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedImage:
    """An image as a network sees it.

    Attributes:
        pixels: uint8 (C, H, W), before normalization.
        steps: what was done to the image, such as `inverted` or `resized from 640x480`; empty if nothing was.
    """

    pixels: Pixels
    steps: tuple[str, ...]

    def png(self) -> bytes:
        """The pixels as a PNG file."""
        buffer = io.BytesIO()
        image = Image.fromarray(self.pixels[0] if len(self.pixels) == 1 else self.pixels.transpose(1, 2, 0))
        image.save(buffer, format="PNG")
        return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How images are prepared for a network.

    Attributes:
        input_shape: (C, H, W) of the network's input.
        stored: (C, H, W) of the images of a known data set, as stored; None for an image folder.
        framing: how the makers of the data set placed what an image shows; None if they did not.
        background: of the images of the data set; None if they have none in common.
        dataset: the name of the data set, as people write it; None for an image folder.
        range: the values that become black and white, of pixels of more than 8 bits; None for those of the smallest
            usual depth.
    """

    input_shape: Shape
    stored: Shape | None
    framing: Framing | None
    background: Background | None
    dataset: str | None = None
    range: PixelRange | None = None

    @classmethod
    def of(
        cls,
        spec: DataSpec,
        shape: tuple[int, ...],
        normalization: Normalization,
        *,
        range: PixelRange | None = None,
    ) -> "Preparation":
        """The preparation for a network that was trained on a data set.

        Args:
            spec: the `data:` section of its config.
            shape: (C, H, W) of its input.
            normalization: of its training images, whose mean tells the background of an image folder.
            range: of the data set; see `Preprocessing`.
        """
        channels, height, width = shape
        shape = (channels, height, width)
        if spec.name not in STANDARD_DATA:
            background = _usual_background(spec, normalization)
            return cls(input_shape=shape, stored=None, framing=None, background=background, range=range)
        facts = known_dataset(spec.name, spec.split)
        background = None if facts.framing is None else "dark"
        return cls(
            input_shape=shape,
            stored=facts.native,
            framing=facts.framing,
            background=background,
            dataset=facts.torchvision_class or facts.name,
        )

    def description(self) -> dict[str, Any]:
        """This preparation as JSON, for the playground, whose JavaScript prepares images in the same way."""
        framing = self.framing
        return {
            "input_shape": list(self.input_shape),
            "stored": None if self.stored is None else list(self.stored),
            "framing": framing and {"box": list(framing.box), "center": framing.center, "threshold": framing.threshold},
            "background": self.background,
            "dataset": self.dataset,
        }

    def prepare(
        self, image: ImageLike, *, name: str | None = None, invert: Invert = "auto", fit: Fit = "auto"
    ) -> PreparedImage:
        """Prepare an image.

        An image that has the size of the data set's images, or of the network's input, is never cropped or moved.

        Args:
            image: a path, the bytes of an image file, a PIL image, or an array (H, W) or (H, W, C) with 1, 3 or 4
                channels: uint8, or floating point from 0 (black) to 1 (white). If the data set has a range, numbers of
                other types than uint8 are scaled by it.
            name: of the image in errors; by default its path.
            invert: with `auto`, an image is inverted if its border is bright and the images of the data set have dark
                backgrounds, or the other way round.
            fit: with `auto`, an image keeps its proportions and is placed as the makers of the data set placed theirs.
                For an image folder, whose images are stretched, and with `none` it is stretched.

        Raises:
            DataError: the file cannot be read or decoded.
            UsageError: the object or the array is not an image.
        """
        if isinstance(image, np.ndarray):
            image = _from_array(image, self.range)
        if not isinstance(image, str | bytes | Path | Image.Image):
            raise UsageError(
                f"an object of type {type(image).__name__} is not an image",
                remedy="give a path, a PIL image or an array, or a sequence of these",
            )
        try:
            with decoder_warnings():
                return self._prepare(*_decoded(image), invert, fit)
        except UnreadableImageError as error:
            called = name or (str(image) if isinstance(image, str | Path) else "the image")
            raise DataError(f"{called}: {error}", remedy="give an image file such as a PNG or JPEG") from None

    def _prepare(self, image: Image.Image, steps: list[str], invert: Invert, fit: Fit) -> PreparedImage:
        """An upright image, prepared; what was done is appended to the steps."""
        channels, *size = self.input_shape
        image = _to_8_bits(image, self.range, steps)
        if self.stored is None:
            pixels = fit_image(image, channels, (size[0], size[1])).copy()
            image = image.convert("RGB")
        else:
            image = _opaque(image, steps, as_ink=self.background is not None)
            pixels = _channels_first(image.convert("L" if 1 in (channels, self.stored[0]) else "RGB"))
        if channels == 1 and _is_colored(image):
            steps.append("converted to gray")
        if invert == "yes" or (invert == "auto" and self._is_negative(pixels)):
            steps.append("inverted")
            pixels = 255 - pixels
        if self.stored is not None:
            if fit == "auto" and pixels.shape[1:] not in (self.stored[1:], self.input_shape[1:]):
                pixels = self._fitted(pixels, steps)
            pixels = self._as_input(pixels)
        if [image.height, image.width] != size:
            steps.append(f"resized from {image.width}x{image.height}")
            if image.height * size[1] != image.width * size[0] and not {"centered", "padded"} & {*steps}:
                steps.append("stretched")
        return PreparedImage(pixels=pixels, steps=tuple(steps))

    def _is_negative(self, pixels: Pixels) -> bool:
        """Whether pixels (C, H, W) have the opposite background of the data set's images."""
        if self.background is None:
            return False
        border = Border.of(pixels.mean(axis=0, dtype=np.float32))
        opposite, same = (border.bright, border.dark) if self.background == "dark" else (border.dark, border.bright)
        # Photos in a folder may have a bright edge; only a border that is bright all around counts there.
        return opposite > (same if self.framing is not None else _ALL_AROUND)

    def _fitted(self, pixels: Pixels, steps: list[str]) -> Pixels:
        """Pixels (C, H, W) in the size of the data set's images, with their proportions."""
        assert self.stored is not None
        size = self.stored[1:]
        if self.framing is not None:
            gray = _reduced(pixels[0])
            ink, corrected = separate_ink(gray)
            if ink is None:
                steps.append("no ink found")
            else:
                placed, done = place(ink, self.framing, size)
                strongest = float(placed.max())  # thin strokes become pale when they are reduced
                if corrected or strongest < 255 - NEGLIGIBLE:
                    steps.append("contrast stretched")
                steps += done
                stretched: Pixels = np.rint(placed[None] * (255 / strongest)).astype(np.uint8)
                return stretched
        return _padded(pixels, size, steps)

    def _as_input(self, pixels: Pixels) -> Pixels:
        """Resized and converted as the images of the data set are: (C, H, W)."""
        assert self.stored is not None
        channels, height, width = self.input_shape
        tensor = torch.from_numpy(np.array(pixels))[None]
        if tensor.shape[2:] != (height, width):
            tensor = resize(resize(tensor, self.stored[1:]), (height, width))
        return np.ascontiguousarray(convert_channels(tensor, channels)[0].numpy())


def _decoded(image: str | Path | bytes | Image.Image) -> tuple[Image.Image, list[str]]:
    """An image decoded and upright, and what was done for that.

    Raises:
        UnreadableImageError: it cannot be read or decoded.
    """
    with pillow_errors():
        if not isinstance(image, Image.Image):
            if not isinstance(image, bytes):
                with open_to_read(Path(image)) as file:
                    image = read_image(file)
            image = open_image(image)
        if 0 in image.size:
            raise UnreadableImageError("no pixels")
        steps = ["upper 8 of 16 bits per color"] if has_16_bit_colors(image) else []
        if image.getexif().get(_ORIENTATION, 1) != 1:
            steps.append("rotated as EXIF says")
        return upright(image), steps


def _usual_background(spec: DataSpec, normalization: Normalization) -> Background | None:
    """The background that the images of a folder must have to have such a mean."""
    if not spec.normalize:
        return None
    mean = sum(normalization.mean) / len(normalization.mean)
    return "dark" if mean < _DARK else "bright" if mean > _BRIGHT else None


def _to_8_bits(image: Image.Image, range: PixelRange | None, steps: list[str]) -> Image.Image:
    """An image whose pixels are integers of more bits, or floating point, scaled to 0..255; others unchanged.

    Without a range, `usual_range` is used.
    """
    own = pixel_range(image)
    if own is None:
        return image
    used = range or usual_range(image.mode, own)
    if used != (0, 255):
        steps.append(f"scaled from {used[0]:g}..{used[1]:g}")
    return scale_to_8_bits(image, used)


def _opaque(image: Image.Image, steps: list[str], *, as_ink: bool) -> Image.Image:
    """An image without transparency: transparent pixels become white or black.

    White, as in `decode`, unless the visible pixels are bright ink: fewer than half of the pixels, on average bright.
    A picture that fills more of the image continues in the nearer of the two.

    Args:
        image: in any mode of 8 bits.
        steps: what was done is appended.
        as_ink: whether to look at the visible pixels; otherwise white.
    """
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    alpha = np.asarray(image.getchannel("A")).astype(np.float64) / 255
    if alpha.min() == 1:
        return image.convert("RGB")
    filling = "white"
    if as_ink and alpha.any():
        bright = float(np.average(np.asarray(image.convert("RGB").convert("L")), weights=alpha)) >= 128
        fills = alpha.mean() > 0.5
        filling = "white" if bright == fills else "black"
    steps.append(f"transparent pixels filled with {filling}")
    return Image.alpha_composite(Image.new("RGBA", image.size, filling), image).convert("RGB")


def _is_colored(image: Image.Image) -> bool:
    if image.mode in ("1", "L", "LA"):
        return False
    reduced = image.convert("RGB").reduce(-(-max(image.size) // _MAX_SIDE))
    pixels = np.asarray(reduced).astype(np.int16)  # (H, W, 3)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).max(initial=0) > _COLORED)


def _channels_first(image: Image.Image) -> Pixels:
    """The pixels of an image in mode `L` or `RGB`, (C, H, W)."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _reduced(gray: Pixels) -> Gray:
    """An image (H, W) of at most `_MAX_SIDE` pixels a side: means of squares of pixels."""
    factor = -(-max(gray.shape) // _MAX_SIDE)
    return np.asarray(Image.fromarray(gray).reduce(factor), dtype=np.float32)


def _padded(pixels: Pixels, size: tuple[int, int], steps: list[str]) -> Pixels:
    """Pixels (C, H, W) resized to fit `size`, with the color of their border around them."""
    channels, *old = pixels.shape
    factor = min(new / length for new, length in zip(size, old, strict=True))
    height, width = (max(1, round(factor * length)) for length in old)
    resized = resize(torch.from_numpy(np.array(pixels))[None], (height, width))[0].numpy()
    if (height, width) == size:
        return resized
    steps.append("padded")
    color = np.median(pixels[:, border_mask(pixels.shape[1:])], axis=1)  # (C,)
    canvas = np.empty((channels, *size), dtype=np.uint8)
    canvas[:] = np.rint(color)[:, None, None]
    y, x = (size[0] - height) // 2, (size[1] - width) // 2
    canvas[:, y : y + height, x : x + width] = resized
    return canvas


def _from_array(array: npt.NDArray[Any], range: PixelRange | None) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UsageError(
            f"an array of shape {array.shape} is not an image",
            remedy="give (H, W), (H, W, C), (N, H, W) or (N, H, W, C)",
        )
    if range is not None and array.dtype != np.uint8 and array.ndim == 2 and np.issubdtype(array.dtype, np.number):
        return Image.fromarray(array.astype(np.float32))
    if np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UsageError(
            f"cannot tell black from white in an array of {array.dtype}",
            remedy="give uint8, or floating point from 0 (black) to 1 (white)",
        )
    return Image.fromarray(array)
