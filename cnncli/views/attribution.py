"""Which numbers of an image raise the logit of a class: gradients, Grad-CAM and occlusion.

Letters for shapes: N images, (C, H, W) image, K maps, (h, w) map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.drawing.color import Values
from cnncli.module import CnnModule
from cnncli.windows import AxisReceptiveField

SAMPLES, NOISE = 50, 0.15
"""SmoothGrad: noisy copies, and the standard deviation of the noise as a share of the image's range (section 3.2)."""
STEPS, MOST_STEPS, TOLERANCE = 64, 1024, 0.002
"""Integrated gradients: points between the baseline and the image, doubled up to the second number until the sum is
right to within the third. Where a ReLU or a max pool switches on the way, the gradient jumps."""
BATCH = 64
"""Images in one forward pass."""


def gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The gradient of the logit of a class with respect to images (N, C, H, W): the same shape.

    After Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014), who show its magnitude.
    """
    inputs = images.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(inputs)[:, target].sum(), inputs)
    return slope


def smooth_gradient(
    model: nn.Module, image: Tensor, target: int, *, seed: int, samples: int = SAMPLES, noise: float = NOISE
) -> Tensor:
    """The mean gradient over copies of an image with Gaussian noise: (C, H, W).

    After Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise" (2017).

    Args:
        model: gives logits, in evaluation mode.
        image: (C, H, W).
        target: the class.
        seed: of the noise.
        samples: copies.
        noise: standard deviation as a share of the image's range, from its smallest to its largest number.
    """
    deviation = noise * float(image.max() - image.min())
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(samples, *image.shape, generator=generator).to(image.device)
    return _mean_gradient(model, image + deviation * normal, target)


def integrated_gradients(model: nn.Module, image: Tensor, target: int, *, baseline: Tensor, steps: int) -> Tensor:
    """The contribution of each value of an image (C, H, W) to the logit, relative to a baseline of the same shape.

    After Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (ICML 2017): the gradient, averaged on
    the straight line from the baseline to the image, times their difference. The sum of all is the difference of the
    two logits, up to the error of the `steps` points, which are the midpoints of equal parts of the line.
    """
    shares = (torch.arange(steps, device=image.device) + 0.5) / steps
    points = baseline + shares.view(-1, 1, 1, 1) * (image - baseline)  # (steps, C, H, W)
    return (image - baseline) * _mean_gradient(model, points, target)


@dataclass(frozen=True, eq=False, kw_only=True)
class CompleteGradients:
    """Integrated gradients, and how complete they are.

    Attributes:
        parts: (C, H, W).
        error: of their sum, as a share of the difference of the logits.
        steps: points of the line.
    """

    parts: Tensor
    error: float
    steps: int


def complete_gradients(model: nn.Module, image: Tensor, target: int, *, baseline: Tensor) -> CompleteGradients:
    """Integrated gradients with as many steps as their sum needs; arguments as for `integrated_gradients`."""
    with torch.no_grad():
        logit, base = model(torch.stack([image, baseline]))[:, target].double().tolist()
    steps = STEPS
    while True:
        parts = integrated_gradients(model, image, target, baseline=baseline, steps=steps)
        off = abs(float(parts.double().sum()) - (logit - base))
        error = off / abs(logit - base) if logit != base else 0.0
        if error <= TOLERANCE or steps >= MOST_STEPS:
            return CompleteGradients(parts=parts, error=error, steps=steps)
        steps *= 2


def _mean_gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The gradient, averaged over images (N, C, H, W): (C, H, W)."""
    total = torch.zeros_like(images[0])
    for start in range(0, len(images), BATCH):
        total += gradient(model, images[start : start + BATCH], target).sum(0)
    return total / len(images)


def grad_cam(model: CnnModule, image: Tensor, target: int, *, layer: str) -> Tensor:
    """Where the maps of a layer support a class: (h, w), from 0 up.

    After Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV
    2017): the sum of the maps (K, h, w), each times the mean of the logit's gradient over its positions; negative sums
    count as 0.

    Args:
        model: in evaluation mode.
        image: (C, H, W).
        target: the class.
        layer: name of a layer with maps.
    """
    logits = model.network.nodes[-1].name
    values = model.outputs(image.detach()[None].requires_grad_(), [layer, logits])
    (slope,) = torch.autograd.grad(values[logits][0, target], values[layer])  # (1, K, h, w)
    weights = slope[0].mean((1, 2))  # (K,)
    return torch.einsum("k,khw->hw", weights, values[layer][0]).detach().relu()


def overlay(cam: Tensor, axes: Sequence[AxisReceptiveField], size: Sequence[int]) -> Tensor:
    """A map (h, w) laid over an image of `size`: each value at the center of its unit's receptive field.

    Between the centers it is interpolated linearly; beyond the outermost ones it is constant. Where all units see the
    same, they are spread evenly over the image, as in the paper.
    """
    rows, columns = (
        torch.from_numpy(_weights(_centers(axis, side), side)).to(cam) for axis, side in zip(axes, size, strict=True)
    )
    return rows @ cam @ columns.T


def _centers(axis: AxisReceptiveField, pixels: int) -> list[float]:
    """The center of each unit's receptive field along an axis, in pixels; with padding if there is a closed form."""
    count = len(axis.masks)
    centers = [float(center) for unit in range(count) if (center := axis.center(unit)) is not None]
    if len(centers) < count or any(a >= b for a, b in pairwise(centers)):
        return [(unit + 0.5) * pixels / count - 0.5 for unit in range(count)]
    return centers


def _weights(centers: Sequence[float], pixels: int) -> Values:
    """The weight of each unit of an axis at each pixel: (pixels, units), every row sums to 1."""
    return np.stack([np.interp(np.arange(pixels), centers, unit) for unit in np.eye(len(centers))], axis=1)


def occlusion(
    model: nn.Module, image: Tensor, target: int, *, fill: Tensor, size: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """How far the logit drops when a window around a pixel is covered: (H, W), the mean over the windows that cover it.

    After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014).

    Args:
        model: gives logits, in evaluation mode.
        image: (C, H, W).
        target: the class.
        fill: what covers it, (C, H, W) or of a shape that broadcasts to it.
        size: of the window.
        stride: from one window to the next; the last one ends at the border.
    """
    height, width = image.shape[1:]
    corners = [(y, x) for y in _starts(height, size[0], stride[0]) for x in _starts(width, size[1], stride[1])]
    covers = torch.zeros(len(corners), height, width, dtype=torch.bool, device=image.device)
    for cover, (y, x) in zip(covers, corners, strict=True):
        cover[y : y + size[0], x : x + size[1]] = True
    with torch.no_grad():
        whole = model(image[None])[0, target]
        drops = [
            whole - model(torch.where(some[:, None], fill, image))[:, target] for some in torch.split(covers, BATCH)
        ]
    return torch.einsum("n,nhw->hw", torch.cat(drops), covers.float()) / covers.sum(0)


def _starts(length: int, size: int, stride: int) -> list[int]:
    """The start of each window along an axis, so that every pixel is in a window."""
    assert stride <= size <= length, (stride, size, length)
    return sorted({*range(0, length - size + 1, stride), length - size})


def occlusion_window(size: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A window for images of `size`, and its stride: a seventh of a side, and half of that (4 and 2 for 28)."""
    height, width = (max(1, round(side / 7)) for side in size)
    return (height, width), (max(1, height // 2), max(1, width // 2))
