"""What is around a map: constants, or pixels of the map that are repeated.

Letters for shapes: C channels, H height, W width.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Literal

from cnncli.layers.base import Part, Saved, Shape, ShapeError

if TYPE_CHECKING:
    from torch import nn

Pads = tuple[tuple[int, int], tuple[int, int]]
"""(before, after) of height and width."""
Mode = Literal["constant", "zeros", "reflect", "replicate", "circular"]


def check_padding(mode: Mode, pads: Pads, size: Sequence[int]) -> None:
    """Check that a map of `size`, (H, W), has the pixels that its padding repeats.

    Raises:
        ShapeError: it has too few.
    """
    for axis, (before, after), length in zip(("height", "width"), pads, size, strict=True):
        widest = max(before, after)
        if mode == "reflect" and widest >= length:
            raise ShapeError(
                f"reflected padding of {widest} needs more than {widest} pixels, but the {axis} of its input is "
                f"{length}; use less padding or replicate"
            )
        if mode == "circular" and widest > length:
            raise ShapeError(
                f"circular padding of {widest} needs as many pixels, but the {axis} of its input is {length}; "
                "use less padding or replicate"
            )


def padding_part(mode: Mode, pads: Pads, shape: Shape) -> Part:
    """The operation that pads maps (C, H, W)."""
    padded = (size + sum(ends) for size, ends in zip(shape[1:], pads, strict=True))
    saved = Saved.INPUT if mode in ("reflect", "replicate") else Saved.NOTHING
    return Part("pad", shape[0] * prod(padded), saved, trained=False)


def padding_module(mode: Mode, pads: Pads) -> "nn.Module":
    """The torch module that pads maps (N, C, H, W)."""
    from torch import nn

    classes = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "circular": nn.CircularPad2d}
    (top, bottom), (left, right) = pads
    return classes.get(mode, nn.ZeroPad2d)((left, right, top, bottom))
