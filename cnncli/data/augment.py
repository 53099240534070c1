"""Random augmentation of training images, a batch at a time, on the device of the images.

Random numbers are drawn on the CPU and transferred, so that every device produces the same augmentation.

N: images, C: channels, H, W: height and width.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from cnncli.data import color
from cnncli.data.geometry import affine_matrices, displacement, sampling_grid
from cnncli.data.rand_augment import rand_augment

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
    """Augments a batch when called; everything is off by default. The order is that of the attributes.

    Attributes:
        crop_area: the smallest fraction of the image that is cropped, and resized to the size of the image; 1 is off.
        crop_ratio: the largest ratio of width to height of the cropped part, or of height to width.
        shift: the largest shift along each axis, in pixels.
        rotate: the largest rotation in either direction, in degrees.
        scale: 0.1 for a factor from 0.9 to 1.1.
        shear: the largest shear in either direction, in degrees.
        flip_horizontal, flip_vertical: mirror half of the images left to right, top to bottom.
        elastic_alpha: root-mean-square displacement along each axis, in pixels.
        elastic_sigma: standard deviation, in pixels, of the Gaussian that smooths the displacement.
        rand_magnitude, rand_operations: strength, 0 is off, and number of the operations of RandAugment.
        brightness, contrast, saturation: 0.2 for a factor from 0.8 to 1.2.
        hue: the largest turn in either direction, as a fraction of the color circle; only of RGB images.
        gamma: 0.5 for an exponent from 1 / 1.5 to 1.5.
        blur_sigma: the largest standard deviation of a Gaussian blur, in pixels.
        blur_probability: the fraction of images that are blurred.
        erase_probability: the fraction of images in which a rectangle is filled.
        erase_area: the largest fraction of the image that the rectangle covers.
        cutout_size: the side of a filled square, in pixels; its center is anywhere in the image.
        cutout_probability: the fraction of images that get one.
        noise: standard deviation of Gaussian noise, where white is 1.
        fill: the value of pixels from outside the image, and of erased ones; one number, or one for each channel.
        border: where pixels from outside the image come from: `fill`, the nearest `edge`, or the image mirrored at its
            border, `reflect`.
    """

    crop_area: float = 1.0
    crop_ratio: float = 1.3333
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    elastic_alpha: float = 0.0
    elastic_sigma: float = 4.0
    rand_magnitude: float = 0.0
    rand_operations: int = 2
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    gamma: float = 0.0
    blur_sigma: float = 0.0
    blur_probability: float = 1.0
    erase_probability: float = 0.0
    erase_area: float = 0.25
    cutout_size: int = 0
    cutout_probability: float = 1.0
    noise: float = 0.0
    fill: tuple[float, ...] = (0.0,)
    border: Literal["fill", "edge", "reflect"] = "fill"

    @property
    def is_identity(self) -> bool:
        """Whether everything is off."""
        return not any(
            (
                *(self._resamples, self._flips, self.rand_magnitude, self._changes_colors, self.blur_sigma),
                *(self.erase_probability, self.cutout_size, self.noise),
            )
        )

    @property
    def _resamples(self) -> bool:
        """Whether pixels are interpolated between those of the original."""
        return self._crops or any((self.shift, self.rotate, self.scale, self.shear, self.elastic_alpha))

    @property
    def _crops(self) -> bool:
        return self.crop_area < 1

    @property
    def _changes_colors(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.hue, self.gamma))

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
            matrices = self._matrices(count, generator)
            if self._crops:
                matrices = _after(matrices, self._crop_matrices(count, height, width, generator))
            grid = sampling_grid(matrices[part].to(images), height, width)
            if self.elastic_alpha > 0:
                offsets = displacement(count, height, width, sigma=self.elastic_sigma, generator=generator, part=part)
                pixels = torch.tensor([2 / width, 2 / height])
                grid = grid + (self.elastic_alpha * pixels * offsets).to(images)
            images = self._resample(images, grid)
        elif self._flips:
            images = self._flip(images, torch.rand(count, 2, generator=generator)[part] < 0.5)
        if self.rand_magnitude > 0:
            images = rand_augment(
                images,
                generator,
                operations=self.rand_operations,
                magnitude=self.rand_magnitude,
                resample=self._resample,
                batch=count,
                part=part,
            )
        if self._changes_colors:
            images = self._change_colors(images, torch.rand(count, 5, generator=generator)[part] * 2 - 1)
        if self.blur_sigma > 0:
            images = self._blur(images, torch.rand(count, 2, generator=generator)[part])
        if self.erase_probability > 0:
            erased = self._erasures(count, height, width, generator)[part]
            images = torch.where(erased.to(images.device), self._filling(images), images)
        if self.cutout_size > 0:
            cut = self._cutouts(height, width, torch.rand(count, 3, generator=generator)[part])
            images = torch.where(cut.to(images.device), self._filling(images), images)
        if self.noise > 0:
            noise = torch.randn(count, *images.shape[1:], generator=generator)[part]
            images = (images + self.noise * noise.to(images)).clamp_(0, 1)
        return images

    def _filling(self, images: Tensor) -> Tensor:
        """The fill value, (1, 1 or C, 1, 1)."""
        return torch.tensor(self.fill, device=images.device, dtype=images.dtype).view(1, -1, 1, 1)

    def _resample(self, images: Tensor, grid: Tensor) -> Tensor:
        """Images (N, C, H, W) at the positions of a grid (N, H, W, 2)."""
        mode = {"fill": "zeros", "edge": "border", "reflect": "reflection"}[self.border]
        if self.border != "fill" or not any(self.fill):
            return functional.grid_sample(images, grid, mode="bilinear", padding_mode=mode, align_corners=False)
        fill = self._filling(images)
        return functional.grid_sample(images - fill, grid, mode="bilinear", align_corners=False) + fill

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

    def _crop_matrices(self, count: int, height: int, width: int, generator: Generator) -> Tensor:
        """Affine matrices, (N, 2, 3), that enlarge a random part to the size of the image.

        Area and logarithm of the ratio are uniform. A part that would be wider or higher than the image is as wide or
        high as the image.
        """
        area, ratio, right, down = torch.rand(count, 4, generator=generator).unbind(dim=1)
        area = self.crop_area + (1 - self.crop_area) * area
        aspect = torch.exp(math.log(self.crop_ratio) * (2 * ratio - 1) / 2)  # the square root of width / height
        side = (area * (height * width)).sqrt()
        part = torch.stack(((side * aspect).clamp_max(width), (side / aspect).clamp_max(height)), dim=1)  # (N, 2)
        size = torch.tensor([width, height])
        scale = size / part
        center = (torch.stack((right, down), dim=1) - 0.5) * (size - part)  # of the part, from that of the image
        return affine_matrices(shift=-center * scale, rotate=torch.zeros(count), shear=torch.zeros(count), scale=scale)

    def _flip(self, images: Tensor, flipped: Tensor) -> Tensor:
        """Mirror images left to right and top to bottom where bool (N, 2) is true, without interpolation."""
        for flip, axis, enabled in ((0, 3, self.flip_horizontal), (1, 2, self.flip_vertical)):
            if enabled:
                chosen = flipped[:, flip].view(-1, 1, 1, 1).to(images.device)
                images = torch.where(chosen, images.flip(axis), images)
        return images

    def _change_colors(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Change brightness, contrast, saturation, hue and gamma by numbers (N, 5) from -1 to 1."""
        for i, (change, most) in enumerate(
            (
                (color.brightness, self.brightness),
                (color.contrast, self.contrast),
                (color.saturation, self.saturation),
            )
        ):
            if most > 0:
                images = change(images, 1 + most * uniform[:, i])
        if self.hue > 0:
            images = color.hue(images, self.hue * uniform[:, 3])
        if self.gamma > 0:
            images = color.gamma(images, (1 + self.gamma) ** uniform[:, 4])
        return images

    def _blur(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Blur where the first of two numbers (N, 2) from 0 to 1 says so, by a deviation that the second sets."""
        blurred = color.gaussian_blur(
            images, (self.blur_sigma * uniform[:, 1]).clamp_min(1e-3), math.ceil(3 * self.blur_sigma)
        )
        chosen = (uniform[:, 0] < self.blur_probability).view(-1, 1, 1, 1).to(images.device)
        return torch.where(chosen, blurred, images)

    def _cutouts(self, height: int, width: int, uniform: Tensor) -> Tensor:
        """Masks, bool (N, 1, H, W), of squares, from numbers (N, 3) from 0 to 1: whether, row and column."""
        inside = (uniform[:, 0] < self.cutout_probability).view(-1, 1, 1, 1)
        for axis, length in ((1, height), (2, width)):
            start = (uniform[:, axis] * length).floor().view(-1, 1, 1, 1) - self.cutout_size // 2
            position = torch.arange(length).view(1, 1, *((-1, 1) if axis == 1 else (1, -1)))
            inside = inside & (position >= start) & (position < start + self.cutout_size)
        return inside

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


def _after(second: Tensor, first: Tensor) -> Tensor:
    """The affine map (N, 2, 3) that is one map after another."""
    linear = second[:, :, :2] @ first[:, :, :2]
    return torch.cat((linear, second[:, :, :2] @ first[:, :, 2:] + second[:, :, 2:]), dim=2)
