"""uint8 images to another size and another number of channels.

N: images, C: channels, H, W: height and width.
"""

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 2**22
"""Pixels that are worked on at once: what is in float at any time stays small beside the data set."""

# ITU-R 601-2 luma in 1/65536, rounded so that the three add up to one.
_RED, _GREEN, _BLUE = 19595, 38470, 7471


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images at another size, bilinear; where they shrink, averaged so that no detail turns into a false one.

    Args:
        images: uint8 (N, C, H, W).
        size: (height, width).

    Returns:
        uint8 (N, C, height, width); the images themselves where they have that size.
    """
    count, channels, *old = images.shape
    if tuple(old) == size:
        return images
    result = images.new_empty(count, channels, *size)
    step = max(1, _CHUNK // (channels * max(old[0] * old[1], size[0] * size[1])))
    for start in range(0, count, step):
        chunk = images[start : start + step].to(torch.float32)
        scaled = functional.interpolate(chunk, size=size, mode="bilinear", antialias=True, align_corners=False)
        result[start : start + step] = scaled.round_().clamp_(0, 255)
    return result


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Grey images as RGB, or RGB images as grey by their luma (ITU-R 601-2).

    Args:
        images: uint8 (N, 1 | 3, H, W).
        channels: 1 or 3.

    Returns:
        uint8 (N, channels, H, W): a view where nothing has to be computed.
    """
    assert {images.shape[1], channels} <= {1, 3}, (images.shape, channels)
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    result = images.new_empty(len(images), 1, *images.shape[2:])
    step = max(1, _CHUNK // (images.shape[2] * images.shape[3]))
    for start in range(0, len(images), step):
        red, green, blue = images[start : start + step].to(torch.int32).unbind(dim=1)  # (N, H, W) each
        luma = (_RED * red + _GREEN * green + _BLUE * blue + 2**15) >> 16
        result[start : start + step, 0] = luma.to(torch.uint8)
    return result
