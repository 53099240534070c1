"""Drawings of a layer on one color scale as an animated GIF.

A GIF has at most 256 colors. All frames share a palette: colors of the scale in equal steps, zero and both ends
among them, and grays for text, frames and images. Each pixel takes the nearest one.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cnncli.drawing.canvas import FRAME, INK, MARK
from cnncli.drawing.color import NOT_FINITE, Pixels, Scale

LEVELS = 151
"""Colors of the scale in the palette: an odd number, so that the zero of a signed scale is one of them."""
_GRAYS = 96
"""Few enough that none is nearer to the color of a small value than a color of the scale; includes the neutral one."""
_FRAME_MS, _LAST_FRAME_MS = 700, 3000


def animation(frames: Sequence[Pixels], scale: Scale) -> bytes:
    """The bytes of a GIF that loops; its last frame is held longer.

    Args:
        frames: one or more, uint8 (H, W, 3), of one size; consecutive ones differ.
        scale: of all frames.
    """
    palette = _palette(scale)
    images = []
    for frame in frames:
        image = Image.fromarray(_nearest(frame, palette), mode="P")
        image.putpalette(palette.tobytes())
        images.append(image)
    durations = [*[_FRAME_MS] * (len(images) - 1), _LAST_FRAME_MS]
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
    )
    return buffer.getvalue()


def _palette(scale: Scale) -> Pixels:
    """At most 256 colors, (K, 3)."""
    grays = np.rint(np.linspace(0, 255, _GRAYS)).astype(np.uint8)
    special = np.array([(255, 255, 255), FRAME, INK, MARK, NOT_FINITE], dtype=np.uint8)
    return np.concatenate([scale.gradient(LEVELS)[0], special, grays[:, None].repeat(3, axis=1)])


def _nearest(frame: Pixels, palette: Pixels) -> Pixels:
    """The index of the nearest color of the palette for each pixel of (H, W, 3): uint8 (H, W)."""
    packed = frame.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    codes, positions = np.unique(packed, return_inverse=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float32)
    others = palette.astype(np.float32)
    distances = (others**2).sum(axis=1) - 2 * colors @ others.T  # squared, up to a constant per row
    nearest: Pixels = distances.argmin(axis=1).astype(np.uint8)[positions].reshape(packed.shape)
    return nearest
