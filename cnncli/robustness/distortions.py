"""Distortions of images, each at several strengths. At strength 0 they change nothing.

Images are float (N, C, H, W) from 0 (black) to 1 (white). Pixels from outside an image are black.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional

from cnncli.data.geometry import affine_matrices, sampling_grid
from cnncli.data.tta import shifted

_USUAL_SIZE = 28
"""Distances are given for images of this many pixels a side, and scaled to others."""

_LEAST_BLUR = 0.3
"""Standard deviations below this many pixels hardly change a pixel."""

Change = Callable[[Tensor, Generator], Tensor]
"""Images and a generator of random numbers -> changed images of the same shape, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A change of images as a `Transform`, applied before normalization."""

    change: Change
    is_identity: bool = False

    def __call__(
        self, images: Tensor, generator: Generator, *, batch: int | None = None, part: slice | Tensor = slice(None)
    ) -> Tensor:
        """See `Transform`."""
        return self.change(images, generator)


@dataclass(frozen=True)
class Distortion(ABC):
    """A distortion of a strength.

    Attributes:
        strength: see the subclasses; 0 changes nothing.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    strength: float

    @classmethod
    @abstractmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """Useful strengths for images whose longer side has so many pixels, without 0."""

    @abstractmethod
    def changes(self) -> Sequence[Change]:
        """What is done to an image; several where a distortion has directions, over which results are averaged."""

    @property
    @abstractmethod
    def written(self) -> str:
        """The strength as people read it, without its unit."""

    @property
    def label(self) -> str:
        """The strength with its unit."""
        return f"{self.written} {self.unit}".strip()

    def transforms(self) -> list[Changed]:
        """The changes as transforms of batches."""
        return [Changed(change=change, is_identity=self.strength == 0) for change in self.changes()]


class Shift(Distortion):
    """Shifted by `strength` pixels, a whole number: to the left, right, top and bottom."""

    name = "shift"
    unit = "px"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return _pixels(side, (1, 2, 4, 6))

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        pixels = int(self.strength)
        directions = ((-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels))
        return [partial(_shifted, right=right, down=down) for right, down in directions]

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{self.strength:.0f}"


class Rotation(Distortion):
    """Rotated about its center by `strength` degrees in both directions, bilinear."""

    name = "rotation"
    unit = "degrees"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return (10, 20, 30, 45)

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [partial(_resampled, degrees=degrees) for degrees in (-self.strength, self.strength)]

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{self.strength:.0f}"


class Scale(Distortion):
    """Scaled about its center by the factor 1 + `strength`, bilinear."""

    name = "scale"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return (-0.4, -0.2, 0.2, 0.4)

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [partial(_resampled, factor=1 + self.strength)]

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"x{1 + self.strength:.1f}"


class Noise(Distortion):
    """Gaussian noise of the standard deviation `strength`, where white is 1, clipped to 0 and 1."""

    name = "noise"
    unit = "std"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return (0.1, 0.2, 0.3, 0.5)

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [self._add]

    def _add(self, images: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator).to(images)
        return (images + self.strength * noise).clamp(0, 1)

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{self.strength:.1f}"


class Blur(Distortion):
    """Blurred by a Gaussian with a standard deviation of `strength` pixels; borders are mirrored."""

    name = "blur"
    unit = "px std"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return sorted({max(_LEAST_BLUR, round(sigma * side / _USUAL_SIZE, 1)) for sigma in (0.5, 1, 1.5, 2)})

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [self._blur]

    def _blur(self, images: Tensor, _: Generator) -> Tensor:
        if not self.strength:
            return images
        for axis in (2, 3):
            images = _blurred(images.transpose(axis, 3), self.strength).transpose(axis, 3)
        return images.clamp(0, 1)

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{self.strength:.1f}"


class Contrast(Distortion):
    """The difference of each pixel from the mean of the image is reduced by the fraction `strength`."""

    name = "contrast"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        return (0.25, 0.5, 0.75, 0.9)

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [lambda images, _: images.lerp(images.mean(dim=(1, 2, 3), keepdim=True), self.strength)]

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{1 - self.strength:.0%}"


class Thickness(Distortion):
    """Bright strokes made thicker by `strength` pixels, or thinner where it is negative; a whole number.

    Each pixel becomes the maximum (dilation) or minimum (erosion) of a square of |strength| + 1 pixels a side. Strokes
    that are darker than their background change in the opposite way.
    """

    name = "thickness"
    unit = "px"

    @classmethod
    def strengths(cls, side: int) -> Sequence[float]:
        """See `Distortion.strengths`."""
        thicker, thinner = _pixels(side, (1, 2, 4)), _pixels(side, (1, 2))
        return [*(-pixels for pixels in reversed(thinner)), *thicker]

    def changes(self) -> Sequence[Change]:
        """See `Distortion.changes`."""
        return [self._change]

    def _change(self, images: Tensor, _: Generator) -> Tensor:
        pixels = int(abs(self.strength))
        before, after = pixels // 2, pixels - pixels // 2
        sign = 1 if self.strength >= 0 else -1
        # Outside the image is nothing: neither a maximum nor a minimum.
        padded = functional.pad(sign * images, (before, after, before, after), value=-math.inf)
        return sign * functional.max_pool2d(padded, pixels + 1, stride=1)

    @property
    def written(self) -> str:
        """See `Distortion.written`."""
        return f"{self.strength:+.0f}"


DISTORTIONS: Sequence[type[Distortion]] = (Shift, Rotation, Scale, Noise, Blur, Contrast, Thickness)


def _pixels(side: int, usual: Sequence[int]) -> list[int]:
    """Distances in pixels, scaled from `_USUAL_SIZE` to the longer side of an image; each at least 1."""
    return sorted({max(1, round(pixels * side / _USUAL_SIZE)) for pixels in usual})


def _shifted(images: Tensor, _: Generator, *, right: int, down: int) -> Tensor:
    return shifted(images, right=right, down=down)


def _resampled(images: Tensor, _: Generator, *, degrees: float = 0.0, factor: float = 1.0) -> Tensor:
    """Images rotated and scaled about their center."""
    if degrees == 0 and factor == 1:
        return images
    matrix = affine_matrices(
        shift=torch.zeros(1, 2),
        rotate=torch.tensor([float(degrees)]),
        shear=torch.zeros(1),
        scale=torch.full((1, 2), factor),
    )
    grid = sampling_grid(matrix.to(images), *images.shape[2:]).expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Images blurred along their last axis, up to 3 standard deviations, as far as the border can be mirrored."""
    width = images.shape[3]
    radius = min(math.ceil(3 * sigma), width - 1)
    distances = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (distances / sigma) ** 2)
    padded = functional.pad(images, (radius, radius, 0, 0), mode="reflect")
    flat = padded.reshape(-1, 1, padded.shape[3])  # (N * C * H, 1, W + 2 * radius)
    return functional.conv1d(flat, (weights / weights.sum()).view(1, 1, -1)).view(images.shape)
