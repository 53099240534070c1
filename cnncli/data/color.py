"""Changes of brightness and color, with one number for each image of a batch.

The formulas are those of torchvision. Images are float (N, C, H, W) from 0 (black) to 1 (white), as are the results.

N: images, C: channels, H, W: height and width.
"""

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.2989, 0.587, 0.114)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Pixels times a factor (N,)."""
    return (images * _per_image(factor, images)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """The difference from the mean gray of the image, times a factor (N,)."""
    mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images, mean, factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """The difference from gray, times a factor (N,). Gray images stay."""
    return images if images.shape[1] == 1 else _blend(images, _gray(images), factor)


def gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """Pixels to the power of an exponent (N,)."""
    return images ** _per_image(exponent, images)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """The hue turned by a fraction (N,) of the color circle. Gray images stay."""
    if images.shape[1] == 1:
        return images
    value, largest = images.max(dim=1)  # (N, H, W) each
    chroma = value - images.amin(dim=1)
    red, green, blue = images.unbind(dim=1)
    divisor = torch.where(chroma == 0, 1, chroma)
    sector = torch.stack(((green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor), dim=1)
    angle = sector.gather(1, largest.unsqueeze(1)) + 6 * _per_image(turn, images)  # (N, 1, H, W), sixths of the circle
    # Each channel is a periodic function of the angle: 1 for a third of the circle, then down to 0 within a sixth.
    offset = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (offset + angle) % 6
    down = torch.minimum(k, 4 - k).clamp(0, 1)
    return (value - chroma * down.transpose(0, 1)).transpose(0, 1)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """The difference from a smoothed image, times a factor (N,). The outermost pixels stay."""
    if min(images.shape[2:]) <= 2:
        return images
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    channels = images.shape[1]
    smooth = images.clone()
    weights = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    smooth[:, :, 1:-1, 1:-1] = functional.conv2d(images, weights, groups=channels)
    return _blend(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """The highest bits (N,) of each of 256 levels."""
    step = _per_image(2.0 ** (8 - bits), images)
    return (images * 255).round().div(step).floor() * step / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Pixels from a threshold (N,) on are inverted."""
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Each channel stretched from 0 to 1; constant channels stay."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / torch.where(high > low, high - low, 1), images)


def equalize(images: Tensor) -> Tensor:
    """The histogram of each channel made uniform, in 256 levels, as Pillow does."""
    levels = (images * 255).round().long().flatten(2)  # (N, C, H W)
    counts = levels.new_zeros(*levels.shape[:2], 256).scatter_add_(2, levels, torch.ones_like(levels))
    cumulated = counts.cumsum(dim=2)
    last = counts.gather(2, levels.amax(dim=2, keepdim=True))  # pixels of the highest level
    step = (cumulated[:, :, -1:] - last) // 255
    table = ((cumulated - counts + step // 2) // step.clamp_min(1)).clamp(0, 255)
    equal = table.gather(2, levels).view_as(images) / 255
    return torch.where((step == 0).unsqueeze(3), images, equal)


def gaussian_blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """A Gaussian blur of standard deviation sigma (N,), in pixels, cut at a radius; the border is reflected."""
    count, channels, height, width = images.shape
    if not count:
        return images
    radius = min(radius, height - 1, width - 1)
    positions = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (positions / sigma.to(images).view(-1, 1)) ** 2)  # (N, 2 radius + 1)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    padded = functional.pad(images, (radius, radius, radius, radius), mode="reflect")
    maps = padded.reshape(1, count * channels, *padded.shape[2:])
    maps = functional.conv2d(maps, kernel.view(-1, 1, 1, 2 * radius + 1), groups=count * channels)
    maps = functional.conv2d(maps, kernel.view(-1, 1, 2 * radius + 1, 1), groups=count * channels)
    return maps.view(count, channels, height, width)


def _gray(images: Tensor) -> Tensor:
    """(N, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_LUMA, device=images.device, dtype=images.dtype)
    return (images * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _blend(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    weight = _per_image(factor, images)
    return (weight * images + (1 - weight) * others).clamp(0, 1)


def _per_image(numbers: Tensor, images: Tensor) -> Tensor:
    return numbers.to(images).view(-1, 1, 1, 1)
