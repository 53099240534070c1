"""Random augmentation of training images, a batch at a time, on the device of the images.

Random numbers are drawn on the CPU and transferred, so that every device produces the same augmentation.

N: images, C: channels, H, W: height and width.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

_ALL = slice(None)


class Transform(Protocol):
    """A change of a batch of images before they are normalized, random or not."""

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        ...

    def __call__(
        self, images: Tensor, generator: Generator, *, batch: int | None = None, part: slice | Tensor = _ALL
    ) -> Tensor:
        """Change a batch, or a part of it; see `Augmentation`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Augments a batch when called; everything is off by default. Pixels from outside an image are black.

    Attributes:
        shift: the largest shift along each axis, in pixels.
        rotate: the largest rotation in either direction, in degrees.
        scale: 0.1 for a factor from 0.9 to 1.1.
        shear: the largest shear in either direction, in degrees.
        flip_horizontal, flip_vertical: mirror half of the images left to right, top to bottom.
        elastic_alpha: root-mean-square displacement along each axis, in pixels.
        elastic_sigma: standard deviation, in pixels, of the Gaussian that smooths the displacement.
        erase_probability: the fraction of images in which a rectangle is made black.
        erase_area: the largest fraction of the image that the rectangle covers.
        noise: standard deviation of Gaussian noise, where white is 1.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    elastic_alpha: float = 0.0
    elastic_sigma: float = 4.0
    erase_probability: float = 0.0
    erase_area: float = 0.25
    noise: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether everything is off."""
        return not (self._resamples or self._flips or self.erase_probability or self.noise)

    @property
    def _resamples(self) -> bool:
        """Whether pixels are interpolated between those of the original."""
        return any((self.shift, self.rotate, self.scale, self.shear, self.elastic_alpha))

    @property
    def _flips(self) -> bool:
        return self.flip_horizontal or self.flip_vertical

    def __call__(
        self, images: Tensor, generator: Generator, *, batch: int | None = None, part: slice | Tensor = _ALL
    ) -> Tensor:
        """Augment a batch.

        Args:
            images: float (N, C, H, W) from 0 (black) to 1 (white).
            generator: on the CPU.
            batch, part: if `images` are only a part of a batch, the size of the batch, and which part or the positions
                in it; they are augmented exactly as in the whole batch.

        Returns:
            float (N, C, H, W) from 0 to 1.
        """
        count = len(images) if batch is None else batch
        height, width = images.shape[2:]
        if self._resamples:
            matrices = self._matrices(count, generator)[part]
            grid = sampling_grid(matrices.to(images), height, width)
            if self.elastic_alpha > 0:
                offsets = displacement(count, height, width, sigma=self.elastic_sigma, generator=generator, part=part)
                pixels = torch.tensor([2 / width, 2 / height])
                grid = grid + (self.elastic_alpha * pixels * offsets).to(images)
            images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        elif self._flips:
            images = self._flip(images, torch.rand(count, 2, generator=generator)[part] < 0.5)
        if self.erase_probability > 0:
            erased = self._erasures(count, height, width, generator)[part]
            images = images.masked_fill(erased.to(images.device), 0.0)
        if self.noise > 0:
            noise = torch.randn(count, *images.shape[1:], generator=generator)[part]
            images = (images + self.noise * noise.to(images)).clamp_(0, 1)
        return images

    def _matrices(self, count: int, generator: Generator) -> Tensor:
        """Random affine matrices, (N, 2, 3)."""
        uniform = torch.rand(count, 7, generator=generator) * 2 - 1
        right, down, angle, shear, size, horizontal, vertical = uniform.unbind(dim=1)
        mirror = [
            torch.where(flip < 0, -1.0, 1.0) if enabled else torch.ones(count)
            for flip, enabled in ((horizontal, self.flip_horizontal), (vertical, self.flip_vertical))
        ]
        return affine_matrices(
            shift=self.shift * torch.stack((right, down), dim=1),
            rotate=self.rotate * angle,
            shear=self.shear * shear,
            scale=(1 + self.scale * size).unsqueeze(1) * torch.stack(mirror, dim=1),
        )

    def _flip(self, images: Tensor, flipped: Tensor) -> Tensor:
        """Mirror images left to right and top to bottom where bool (N, 2) is true, without interpolation."""
        for flip, axis, enabled in ((0, 3, self.flip_horizontal), (1, 2, self.flip_vertical)):
            if enabled:
                chosen = flipped[:, flip].view(-1, 1, 1, 1).to(images.device)
                images = torch.where(chosen, images.flip(axis), images)
        return images

    def _erasures(self, count: int, height: int, width: int, generator: Generator) -> Tensor:
        """Masks, bool (N, 1, H, W), of rectangles of random area, aspect ratio (1:2 to 2:1) and position."""
        chosen, area, shape, top, left = torch.rand(count, 5, generator=generator).unbind(dim=1)
        side = (area * self.erase_area).sqrt()
        aspect = 2 ** (shape - 0.5)  # the square root of the aspect ratio
        inside = torch.ones(count, 1, 1, 1, dtype=torch.bool)
        for axis, (length, extent, place) in enumerate(((height, side * aspect, top), (width, side / aspect, left))):
            span = (extent * length).round().clamp(1, length)
            start = (place * (length - span + 1)).floor()
            position = torch.arange(length).view(1, 1, *((-1, 1) if axis == 0 else (1, -1)))
            start, span = start.view(-1, 1, 1, 1), span.view(-1, 1, 1, 1)
            inside = inside & (position >= start) & (position < start + span)
        return inside & (chosen < self.erase_probability).view(-1, 1, 1, 1)


def affine_matrices(*, shift: Tensor, rotate: Tensor, shear: Tensor, scale: Tensor) -> Tensor:
    """Affine maps that scale, then shear, then rotate, then shift an image about its center; x to the right, y down.

    Args:
        shift: (N, 2) pixels to the right and down.
        rotate: (N,) degrees, clockwise on the screen.
        shear: (N,) degrees by which vertical lines tilt.
        scale: (N, 2) factors along x and y; negative factors mirror.

    Returns:
        (N, 2, 3): maps positions in the original, relative to its center, to positions in the result.
    """
    angle, slope = torch.deg2rad(rotate), torch.tan(torch.deg2rad(shear))
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2)
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    shearing = torch.stack((one, -slope, zero, one), dim=1).view(-1, 2, 2)
    return torch.cat((rotation @ shearing * scale.unsqueeze(1), shift.unsqueeze(2)), dim=2)


def sampling_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """The position in the original of each pixel of the result.

    Equal to `functional.affine_grid`, but adds a row and a column instead of multiplying a matrix for each pixel, which
    is ten times faster on the CPU.

    Args:
        matrices: (N, 2, 3), from `affine_matrices`.
        height, width: of the images.

    Returns:
        (N, H, W, 2): x and y for `grid_sample`, where the image extends from -1 to 1.
    """
    inverse = torch.linalg.inv(matrices[:, :, :2])  # (N, 2, 2)
    start = -inverse @ matrices[:, :, 2:]  # (N, 2, 1)
    half = matrices.new_tensor([width / 2, height / 2])
    theta = torch.cat((inverse * half / half.unsqueeze(1), start / half.unsqueeze(1)), dim=2)  # (N, 2, 3)
    along_x = theta[:, :, :1] * _pixel_centers(width, theta)  # (N, 2, W)
    along_y = theta[:, :, 1:2] * _pixel_centers(height, theta) + theta[:, :, 2:]  # (N, 2, H)
    return (along_x.unsqueeze(2) + along_y.unsqueeze(3)).permute(0, 2, 3, 1)


def _pixel_centers(count: int, like: Tensor) -> Tensor:
    """Positions of the pixels along an axis that extends from -1 to 1."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


def displacement(
    count: int, height: int, width: int, *, sigma: float, generator: Generator, part: slice | Tensor = _ALL
) -> Tensor:
    """Smooth random displacements: white noise blurred by a Gaussian, with a root mean square of one.

    Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", ICDAR 2003. The blur wraps around, so that center and border move equally.

    Returns:
        (N, H, W, 2): displacements along x and y, for a part of `count` images.
    """
    noise = torch.randn(count, 2, height, width, generator=generator)[part]
    smooth = _circular_blur(height, sigma) @ noise @ _circular_blur(width, sigma)
    return smooth.permute(0, 2, 3, 1)


def _circular_blur(length: int, sigma: float) -> Tensor:
    """A symmetric matrix (length, length) that blurs along one axis and preserves the variance of white noise."""
    distance = torch.arange(length)
    distance = torch.minimum(distance, length - distance)
    weights = torch.exp(-0.5 * (distance / sigma) ** 2)
    weights = weights / weights.norm()
    rows = torch.arange(length)
    matrix: Tensor = weights[(rows.unsqueeze(0) - rows.unsqueeze(1)) % length]
    return matrix
