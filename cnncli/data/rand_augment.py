"""RandAugment: a few operations for each image, drawn from fourteen, all of one strength.

Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", 2020. The operations and
their strengths are those of torchvision, except that geometric ones are bilinear and leave the center of the image in
place.

N: images, C: channels, H, W: height and width.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from cnncli.data import color
from cnncli.data.geometry import affine_matrices, sampling_grid

STRONGEST = 30
"""The largest magnitude."""
Resample = Callable[[Tensor, Tensor], Tensor]
"""Samples images (N, C, H, W) at the positions of a grid (N, H, W, 2)."""


def rand_augment(
    images: Tensor,
    generator: Generator,
    *,
    operations: int,
    magnitude: float,
    resample: Resample,
    batch: int,
    part: slice | Tensor,
) -> Tensor:
    """Augment images, which are a part of a batch.

    Args:
        images: float (N, C, H, W) from 0 to 1.
        generator: on the CPU.
        operations: how many each image gets.
        magnitude: from 0 to `STRONGEST`.
        resample: used by the geometric operations.
        batch, part: see `Augmentation`.
    """
    strength = magnitude / STRONGEST
    for _ in range(operations):
        kind = torch.randint(len(_OPERATIONS), (batch,), generator=generator)[part].to(images.device)
        sign = torch.randint(2, (batch,), generator=generator)[part].to(images) * 2 - 1  # (N,)
        for number, operation in enumerate(_OPERATIONS):
            chosen = (kind == number).nonzero()[:, 0]
            if len(chosen):
                images = images.index_copy(
                    0, chosen, operation(images[chosen], strength * sign[chosen], resample).to(images)
                )
    return images


Operation = Callable[[Tensor, Tensor, Resample], Tensor]
"""Changes images by signed strengths (N,) from -1 to 1."""


def _moved(images: Tensor, resample: Resample, **given: Tensor) -> Tensor:
    count, _, height, width = images.shape
    none = images.new_zeros(count)
    parts = {"shift": images.new_zeros(count, 2), "rotate": none, "shear": none, "scale": images.new_ones(count, 2)}
    return resample(images, sampling_grid(affine_matrices(**parts | given), height, width))


def _identity(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return images


def _shear_x(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return _moved(images, resample, shear=torch.rad2deg(torch.atan(0.3 * strength)))


def _shear_y(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return _shear_x(images.transpose(2, 3), strength, resample).transpose(2, 3)


def _translate_x(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    right = 150 / 331 * images.shape[3] * strength
    return _moved(images, resample, shift=torch.stack((right, torch.zeros_like(right)), dim=1))


def _translate_y(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return _translate_x(images.transpose(2, 3), strength, resample).transpose(2, 3)


def _rotate(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return _moved(images, resample, rotate=30 * strength)


def _enhanced(change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return lambda images, strength, resample: change(images, 1 + 0.9 * strength)


def _posterize(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return color.posterize(images, 8 - (4 * strength.abs()).round())


def _solarize(images: Tensor, strength: Tensor, resample: Resample) -> Tensor:
    return color.solarize(images, 1 - strength.abs())


def _unsigned(change: Callable[[Tensor], Tensor]) -> Operation:
    return lambda images, strength, resample: change(images)


_OPERATIONS: tuple[Operation, ...] = (
    _identity,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    _rotate,
    _enhanced(color.brightness),
    _enhanced(color.saturation),
    _enhanced(color.contrast),
    _enhanced(color.sharpness),
    _posterize,
    _solarize,
    _unsigned(color.autocontrast),
    _unsigned(color.equalize),
)
