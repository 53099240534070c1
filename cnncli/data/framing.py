"""What an image shows, separated from its background and placed as the makers of a data set did.

Letters: (H, W) image; all images here are gray, float32, from 0 (black) to 255 (white).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnncli.config.datasets import Framing

Gray: TypeAlias = npt.NDArray[np.float32]

_BORDER = 0.02
"""Width of the border, as a fraction of the shorter side."""
_EXTREME = 0.25
"""A pixel is dark if it is in this fraction of the range of its image, counted from the darkest; likewise bright."""
_OUTLIER, _LEAST_DEVIATION = 3.0, 2.0
"""Pixels of the border that differ more from the background, in median absolute deviations or gray levels, are ink."""
_NOISE = 0.99
"""The quantile of the border's deviations from the background that counts as noise."""
NEGLIGIBLE = 16.0
"""Gray levels by which background and ink may differ from black and white without a correction, as after JPEG."""
_TOLERANCE = 1
"""Pixels by which an image of the data set may seem to be placed differently after it was enlarged."""


@dataclass(frozen=True)
class Border:
    """The fractions of the pixels along the border of an image that are among its darkest and its brightest."""

    dark: float
    bright: float

    @classmethod
    def of(cls, gray: Gray) -> "Border":
        """The border of an image (H, W); the single color of a uniform image is dark or bright by itself."""
        low, high = float(gray.min()), float(gray.max())
        if low == high:
            return cls(dark=float(high < 128), bright=float(high >= 128))
        border = gray[border_mask(gray.shape)]
        tolerance = _EXTREME * (high - low)
        return cls(dark=float((border < low + tolerance).mean()), bright=float((border > high - tolerance).mean()))


def border_mask(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Which pixels of an image (H, W) are along its border."""
    height, width = shape
    thickness = max(1, round(_BORDER * min(height, width)))
    mask = np.ones((height, width), dtype=np.bool_)
    mask[thickness : height - thickness, thickness : width - thickness] = False
    return mask


def separate_ink(gray: Gray) -> tuple[Gray | None, bool]:
    """What differs from the dark background of an image (H, W), such as ink in a negative.

    The background is a plane through the border, because a photo may be lit from one side.

    Returns:
        (H, W) from 0, the background, to 255, the strongest ink, or None if there is no ink; and whether it differs
        from the image by more than compression does.
    """
    background, noise = _background(gray)
    difference = gray - background
    strongest = float(difference.max()) - noise
    if strongest <= NEGLIGIBLE:
        return None, False
    if abs(background).max() + noise <= NEGLIGIBLE and gray.max() >= 255 - NEGLIGIBLE:
        return gray, False
    return ((difference - noise) * (255 / strongest)).clip(0, 255), True


def _background(gray: Gray) -> tuple[Gray, float]:
    """The plane (H, W) through the border, and how far noise rises above it."""
    mask = border_mask(gray.shape)
    rows, columns = (axis / length for axis, length in zip(np.indices(gray.shape), gray.shape, strict=True))
    values = gray[mask]
    points = np.stack([np.ones_like(values), rows[mask], columns[mask]], axis=1)  # (border, 3)
    deviations = values - np.median(values)
    for _ in range(3):
        limit = max(_LEAST_DEVIATION, _OUTLIER * float(np.median(abs(deviations))))
        kept = abs(deviations) <= limit
        constant, down, across = np.linalg.lstsq(points[kept], values[kept], rcond=None)[0]
        deviations = values - points @ (constant, down, across)
    plane = (constant + down * rows + across * columns).astype(np.float32)
    return plane, max(0.0, float(np.quantile(deviations[kept], _NOISE)))


def place(ink: Gray, framing: Framing, size: tuple[int, int]) -> tuple[Gray, list[str]]:
    """Crop an image to its ink, enlarge or reduce this to fill the box of the framing, and center it.

    An image that needs neither, such as an enlarged image of the data set, is only resized.

    Args:
        ink: (H, W) from 0, the background, to 255; not all 0.
        framing: where the ink is placed.
        size: (height, width) of the result.

    Returns:
        (height, width), and what was done besides resizing.
    """
    height, width = ink.shape
    if height * size[1] == width * size[0]:
        whole = _resized(ink, size, (0, 0, width, height))
        if _is_placed(whole, framing):
            return whole, []
    top, bottom, left, right = _ink_box(ink, framing)
    factor = min(framing.box[0] / (bottom - top), framing.box[1] / (right - left))
    reduced = (max(1, round(factor * (bottom - top))), max(1, round(factor * (right - left))))
    placed = _resized(ink, reduced, (left, top, right, bottom))
    y, x = (_offset(placed.sum(axis=1 - axis), size[axis], framing) for axis in (0, 1))
    canvas = np.zeros(size, dtype=np.float32)
    canvas[y : y + reduced[0], x : x + reduced[1]] = placed
    return canvas, [*["cropped"] * ((bottom - top, right - left) != ink.shape), "centered"]


def _resized(ink: Gray, size: tuple[int, int], box: tuple[int, int, int, int]) -> Gray:
    """A box (left, top, right, bottom) of an image, resized to (height, width).

    Reducing by the mean over an area repeats how the gray levels of MNIST arose from images in black and white.
    """
    height, width = size
    method = Image.Resampling.BOX if height < box[3] - box[1] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(ink).resize((width, height), method, box=box)).clip(0, 255)


def _is_placed(ink: Gray, framing: Framing) -> bool:
    """Whether an image (H, W) in the size of the data set's images has the framing, give or take a pixel."""
    top, bottom, left, right = _ink_box(ink, framing)
    lengths, ends = (bottom - top, right - left), ((top, bottom), (left, right))
    slack = [room - length for room, length in zip(framing.box, lengths, strict=True)]
    fills = min(slack) >= -_TOLERANCE and min(map(abs, slack)) <= _TOLERANCE
    if framing.center == "box":
        centers = [(start + end) / 2 for start, end in ends]
    else:
        centers = [_center_of_mass(ink.sum(axis=1 - axis)) for axis in (0, 1)]
    centered = all(abs(center - length / 2) <= _TOLERANCE for center, length in zip(centers, ink.shape, strict=True))
    return fills and centered


def _ink_box(ink: Gray, framing: Framing) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the ink in an image (H, W)."""
    is_ink = ink > framing.threshold * ink.max()
    return (*_extent(is_ink.any(axis=1)), *_extent(is_ink.any(axis=0)))


def _extent(present: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The first true position, and the one after the last."""
    (positions,) = present.nonzero()
    return int(positions[0]), int(positions[-1]) + 1


def _offset(profile: Gray, room: int, framing: Framing) -> int:
    """Where an image with these sums along an axis starts among `room` pixels; all of it stays inside."""
    free = room - len(profile)
    if framing.center == "box":
        return (free + 1) // 2
    return min(max(round(room / 2 - _center_of_mass(profile)), 0), free)


def _center_of_mass(profile: Gray) -> float:
    """The mean position along an axis, weighted with the sums along the other."""
    return float(profile @ np.arange(len(profile)) / profile.sum())
