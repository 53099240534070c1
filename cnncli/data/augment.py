"""Random variation of training images, a batch at a time, on the device where they are.

Random numbers are drawn on the CPU and moved, so that every device sees the same variation.
N: images, C: channels, H, W: height and width.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

_ALL = slice(None)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Variations of one batch; everything is off by default. Calling it gives the varied images.

    What comes in from outside an image is black.

    Attributes:
        shift: at most this many pixels along each axis.
        rotate: at most this many degrees either way.
        scale: 0.1 for a factor from 0.9 to 1.1.
        shear: at most this many degrees of slant either way.
        flip_horizontal, flip_vertical: mirror half of the images left to right, top to bottom.
        elastic_alpha: root-mean-square displacement along each axis, in pixels.
        elastic_sigma: standard deviation, in pixels, of the Gaussian that smooths the displacement.
        erase_probability: the share of images that get a black rectangle.
        erase_area: the largest share of the image that the rectangle covers.
        noise: standard deviation of the noise, where white is 1.
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
        return not (self._is_sampled or self._is_mirrored or self.erase_probability or self.noise)

    @property
    def _is_sampled(self) -> bool:
        """Whether pixels come from between those of the old image."""
        return any((self.shift, self.rotate, self.scale, self.shear, self.elastic_alpha))

    @property
    def _is_mirrored(self) -> bool:
        return self.flip_horizontal or self.flip_vertical

    def __call__(self, images: Tensor, generator: Generator, *, batch: int | None = None, part: slice = _ALL) -> Tensor:
        """Varied images.

        Args:
            images: float (N, C, H, W), 0 is black and 1 is white.
            generator: of the CPU; where it stands decides what is drawn.
            batch, part: the images are this part of a batch of so many, and are varied as they would be among all of
                them; `images` are the whole batch where they are left out.

        Returns:
            float (N, C, H, W), again 0 to 1.
        """
        count = len(images) if batch is None else batch
        height, width = images.shape[2:]
        if self._is_sampled:
            matrices = self._matrices(count, generator)[part]
            grid = sampling_grid(matrices.to(images), height, width)
            if self.elastic_alpha > 0:
                field = displacement(count, height, width, sigma=self.elastic_sigma, generator=generator, part=part)
                pixels = torch.tensor([2 / width, 2 / height])
                grid = grid + (self.elastic_alpha * pixels * field).to(images)
            images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        elif self._is_mirrored:
            images = self._mirrored(images, torch.rand(count, 2, generator=generator)[part] < 0.5)
        if self.erase_probability > 0:
            erased = self._erased(count, height, width, generator)[part]
            images = images.masked_fill(erased.to(images.device), 0.0)
        if self.noise > 0:
            drawn = torch.randn(count, *images.shape[1:], generator=generator)[part]
            images = (images + self.noise * drawn.to(images)).clamp_(0, 1)
        return images

    def _matrices(self, count: int, generator: Generator) -> Tensor:
        """Random maps of images, (N, 2, 3)."""
        drawn = torch.rand(count, 7, generator=generator) * 2 - 1
        right, down, angle, slant, size, horizontal, vertical = drawn.unbind(dim=1)
        mirror = [
            torch.where(flip < 0, -1.0, 1.0) if wanted else torch.ones(count)
            for flip, wanted in ((horizontal, self.flip_horizontal), (vertical, self.flip_vertical))
        ]
        return affine_matrices(
            shift=self.shift * torch.stack((right, down), dim=1),
            rotate=self.rotate * angle,
            shear=self.shear * slant,
            scale=(1 + self.scale * size).unsqueeze(1) * torch.stack(mirror, dim=1),
        )

    def _mirrored(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Those images left to right and top to bottom for which bool (N, 2) says so.

        Without sampling, which costs more and rounds.
        """
        for flip, axis, wanted in ((0, 3, self.flip_horizontal), (1, 2, self.flip_vertical)):
            if wanted:
                chosen = drawn[:, flip].view(-1, 1, 1, 1).to(images.device)
                images = torch.where(chosen, images.flip(axis), images)
        return images

    def _erased(self, count: int, height: int, width: int, generator: Generator) -> Tensor:
        """Where a rectangle of random area, shape (1:2 to 2:1) and place lies, bool (N, 1, H, W)."""
        chosen, area, shape, top, left = torch.rand(count, 5, generator=generator).unbind(dim=1)
        side = (area * self.erase_area).sqrt()
        aspect = 2 ** (shape - 0.5)  # The square root of the ratio of the sides.
        inside = torch.ones(count, 1, 1, 1, dtype=torch.bool)
        for axis, (length, extent, place) in enumerate(((height, side * aspect, top), (width, side / aspect, left))):
            span = (extent * length).round().clamp(1, length)
            start = (place * (length - span + 1)).floor()
            position = torch.arange(length).view(1, 1, *((-1, 1) if axis == 0 else (1, -1)))
            start, span = start.view(-1, 1, 1, 1), span.view(-1, 1, 1, 1)
            inside = inside & (position >= start) & (position < start + span)
        return inside & (chosen < self.erase_probability).view(-1, 1, 1, 1)


def affine_matrices(*, shift: Tensor, rotate: Tensor, shear: Tensor, scale: Tensor) -> Tensor:
    """Maps that scale, then slant, then rotate, then shift an image about its center; x to the right, y down.

    Args:
        shift: (N, 2) pixels to the right and down.
        rotate: (N,) degrees, clockwise as seen.
        shear: (N,) degrees by which vertical lines lean.
        scale: (N, 2) factors along x and y; negative ones mirror.

    Returns:
        (N, 2, 3): from a pixel of the old image, relative to its center, to its place in the new one.
    """
    angle, slant = torch.deg2rad(rotate), torch.tan(torch.deg2rad(shear))
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2)
    one, zero = torch.ones_like(slant), torch.zeros_like(slant)
    lean = torch.stack((one, -slant, zero, one), dim=1).view(-1, 2, 2)
    return torch.cat((turn @ lean * scale.unsqueeze(1), shift.unsqueeze(2)), dim=2)


def sampling_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of the new images comes from.

    `functional.affine_grid` gives the same by multiplying matrices, one pixel after the other. Here a row and a column
    of numbers are added, which is ten times faster on the CPU.

    Args:
        matrices: (N, 2, 3), as of `affine_matrices`.
        height, width: of the images.

    Returns:
        (N, H, W, 2), x and y in units in which the image reaches from -1 to 1, for `grid_sample`.
    """
    back = torch.linalg.inv(matrices[:, :, :2])  # (N, 2, 2)
    start = -back @ matrices[:, :, 2:]  # (N, 2, 1)
    half = matrices.new_tensor([width / 2, height / 2])
    theta = torch.cat((back * half / half.unsqueeze(1), start / half.unsqueeze(1)), dim=2)  # (N, 2, 3)
    along_x = theta[:, :, :1] * _pixel_centers(width, theta)  # (N, 2, W)
    along_y = theta[:, :, 1:2] * _pixel_centers(height, theta) + theta[:, :, 2:]  # (N, 2, H)
    return (along_x.unsqueeze(2) + along_y.unsqueeze(3)).permute(0, 2, 3, 1)


def _pixel_centers(count: int, like: Tensor) -> Tensor:
    """Places of the pixels of an axis that reaches from -1 to 1."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


def displacement(
    count: int, height: int, width: int, *, sigma: float, generator: Generator, part: slice = _ALL
) -> Tensor:
    """Smooth random fields: white noise blurred by a Gaussian, with a root mean square of one.

    Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", ICDAR 2003; the blur runs round the edges, so that the middle and the border move alike.

    Returns:
        (N, H, W, 2) displacements along x and y, for a part of `count` images.
    """
    noise = torch.randn(count, 2, height, width, generator=generator)[part]
    smooth = _circular_blur(height, sigma) @ noise @ _circular_blur(width, sigma)
    return smooth.permute(0, 2, 3, 1)


def _circular_blur(length: int, sigma: float) -> Tensor:
    """A symmetric matrix (length, length) that blurs along one axis and keeps the variance of white noise."""
    away = torch.arange(length)
    away = torch.minimum(away, length - away)
    weights = torch.exp(-0.5 * (away / sigma) ** 2)
    weights = weights / weights.norm()
    rows = torch.arange(length)
    matrix: Tensor = weights[(rows.unsqueeze(0) - rows.unsqueeze(1)) % length]
    return matrix
