"""Which pixels of an image speak for a class: how its logit changes with them.

All methods explain a logit, not a probability: a probability also rises because other logits fall. Letters for shapes:
N images or steps, C channels, (H, W) image, K maps of (h, w).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.geometry import Field
from cnncli.model import CnnModule

SAMPLES, NOISE = 50, 0.15
"""SmoothGrad: noisy copies, and the standard deviation of the noise as a share of the image's range (section 3.2)."""
STEPS, MOST_STEPS, TOLERANCE = 64, 1024, 0.002
"""Integrated gradients: points on the way from the baseline, doubled up to the second number until the sum is right to
within the third. Where a ReLU or a max pool switches on the way, the gradient jumps."""
BATCH = 64
"""Images that are run at once."""


def gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """How fast the logit of a class rises with each number of each image (N, C, H, W): the same shape.

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
    """What each number of an image (C, H, W) adds to the logit, compared with a baseline of its shape: (C, H, W).

    After Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (ICML 2017): the gradient, averaged on
    the straight way from the baseline to the image, times their difference. The sum of all is the difference of the two
    logits, but for the error of the `steps` points, which lie in the middles of equal parts of the way.
    """
    way = (torch.arange(steps, device=image.device) + 0.5) / steps
    points = baseline + way.view(-1, 1, 1, 1) * (image - baseline)  # (steps, C, H, W)
    return (image - baseline) * _mean_gradient(model, points, target)


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """Integrated gradients, and how complete they are.

    Attributes:
        parts: (C, H, W).
        error: how far their sum is from the difference of the logits, as a share of that difference.
        steps: points that were looked at.
    """

    parts: Tensor
    error: float
    steps: int


def attribution(model: nn.Module, image: Tensor, target: int, *, baseline: Tensor) -> Attribution:
    """Integrated gradients with as many steps as their sum needs; arguments as for `integrated_gradients`."""
    with torch.no_grad():
        there, before = model(torch.stack([image, baseline]))[:, target].double().tolist()
    steps = STEPS
    while True:
        parts = integrated_gradients(model, image, target, baseline=baseline, steps=steps)
        off = abs(float(parts.double().sum()) - (there - before))
        error = off / abs(there - before) if there != before else 0.0
        if error <= TOLERANCE or steps >= MOST_STEPS:
            return Attribution(parts=parts, error=error, steps=steps)
        steps *= 2


def _mean_gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The gradient, averaged over images (N, C, H, W): (C, H, W)."""
    total = torch.zeros_like(images[0])
    for start in range(0, len(images), BATCH):
        total += gradient(model, images[start : start + BATCH], target).sum(0)
    return total / len(images)


def grad_cam(model: CnnModule, image: Tensor, target: int, *, layer: str) -> Tensor:
    """Where the maps of a layer speak for a class: (h, w), from 0 up.

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


def occlusion(
    model: nn.Module, image: Tensor, target: int, *, fill: Tensor, size: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """How far the logit falls when a window around a pixel is covered: (H, W), the mean over the windows that cover it.

    After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014).

    Args:
        model: gives logits, in evaluation mode.
        image: (C, H, W).
        target: the class.
        fill: what covers it, (C, H, W) or of a shape that becomes that.
        size: of the window.
        stride: from one window to the next; the last one stands at the border.
    """
    height, width = image.shape[1:]
    corners = [(y, x) for y in _starts(height, size[0], stride[0]) for x in _starts(width, size[1], stride[1])]
    covers = torch.zeros(len(corners), height, width, dtype=torch.bool, device=image.device)
    for cover, (y, x) in zip(covers, corners, strict=True):
        cover[y : y + size[0], x : x + size[1]] = True
    with torch.no_grad():
        whole = model(image[None])[0, target]
        falls = [
            whole - model(torch.where(some[:, None], fill, image))[:, target] for some in torch.split(covers, BATCH)
        ]
    return torch.einsum("n,nhw->hw", torch.cat(falls), covers.float()) / covers.sum(0)


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows begin along an axis, so that every pixel is in one."""
    assert stride <= size <= length, (stride, size, length)
    return sorted({*range(0, length - size + 1, stride), length - size})


def window_of(size: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A window for images of `size`, and its stride: a seventh of a side, and half of that (4 and 2 for 28)."""
    height, width = (max(1, round(side / 7)) for side in size)
    return (height, width), (max(1, height // 2), max(1, width // 2))


def placed(cam: Tensor, fields: Sequence[Field], size: Sequence[int]) -> Tensor:
    """A map (h, w) laid over an image of `size`: each value at the middle of what its unit sees.

    Between the middles it is interpolated linearly; beyond the outermost ones it stays the same. Where all units see
    the same, they are spread evenly over the image, as in the paper.
    """
    rows, columns = (
        torch.from_numpy(_weights(_middles(field, side), side)).to(cam)
        for field, side in zip(fields, size, strict=True)
    )
    return rows @ cam @ columns.T


def _middles(field: Field, pixels: int) -> list[float]:
    """The middle of what each unit of an axis sees, padding included where it is counted, in pixels."""
    count = len(field.seen)
    spans = [
        field.interval(unit)
        if field.cycle is None
        else (field.cycle.pattern(unit).start, field.cycle.pattern(unit).end)
        for unit in range(count)
    ]
    middles = [(span[0] + span[1]) / 2 for span in spans if span is not None]
    if len(middles) < count or any(a >= b for a, b in pairwise(middles)):
        return [(unit + 0.5) * pixels / count - 0.5 for unit in range(count)]
    return middles


def _weights(middles: Sequence[float], pixels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How much each unit of an axis weighs at each pixel: (pixels, units), every row sums to 1."""
    units = np.eye(len(middles))
    return np.stack([np.interp(np.arange(pixels), middles, unit) for unit in units], axis=1)
