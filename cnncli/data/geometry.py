"""Affine maps and smooth displacements of a batch of images, as grids for `grid_sample`.

N: images, H, W: height and width.
"""

import torch
from torch import Generator, Tensor

_ALL = slice(None)


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
