"""Small pictures of numbers, for whatever draws them: a terminal, a page."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from cnncli.pictures.colour import Pixels, Scale, Values
from cnncli.pictures.image import image_pixels

_BLACK_TO_WHITE = Scale(low=0.0, high=255.0, signed=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile:
    """A kernel, a feature map or an image.

    Attributes:
        label: what stands above it.
        values: (H, W); of a colour image the mean of its channels.
        scale: of the values.
        pixels: uint8 (H, W, 3), the colours of the values, or the image itself.
    """

    label: str
    values: Values
    scale: Scale
    pixels: Pixels

    @classmethod
    def of(cls, values: Values, scale: Scale, *, label: str) -> Self:
        """Numbers (H, W) in the colours of a scale."""
        return cls(label=label, values=values, scale=scale, pixels=scale.colours(values))

    @classmethod
    def image(cls, image: Tensor, *, label: str) -> Self:
        """An image (C, H, W), uint8, in colour if C is 3, else its first channel in grey."""
        pixels = image_pixels(image)
        return cls(label=label, values=pixels.mean(axis=-1, dtype=np.float64), scale=_BLACK_TO_WHITE, pixels=pixels)
