"""The patches that excite the filters of a layer, with the images they were cut from.

Letters: C channels, (H, W) image, (h, w) patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cnncli.pictures.colour import Colour, Pixels
from cnncli.pictures.grid import Picture
from cnncli.pictures.image import enlargement, image_pixels, thinning
from cnncli.pictures.sheet import Cell, Interval, Panel, Section, card, sheet

PADDING: tuple[Colour, Colour] = ((190, 160, 235), (140, 105, 205))
"""The two violets of the checks that stand for padding; neither is on a scale."""
TILE = 84
"""Pixels for the longer side of a patch, and of its source: nine stand side by side."""
IN_CARD = 28
"""Pixels for the longer side of a patch in a TensorBoard card: nine stand side by side."""
LARGEST = 96
"""Patches and sources of more pixels a side are thinned out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cutting:
    """A patch and where it comes from.

    Attributes:
        pixels: (C, h, w), uint8.
        padding: bool (h, w), where there is no pixel.
        unread: bool (h, w), pixels that the unit does not read.
        source: the image, (C, H, W), uint8.
        marked: first and last row and column of the image that are in the patch; None where nothing of it is.
        lines: what is written below.
    """

    pixels: Tensor
    padding: Tensor
    unread: Tensor
    source: Tensor
    marked: tuple[Interval, Interval] | None
    lines: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether the patch is the image, all of it and nothing else."""
        return self.padding.shape == self.source.shape[1:] and not self.padding.any()


@dataclass(frozen=True, eq=False, kw_only=True)
class Strip:
    """The patches of one filter, or a line that says why there are none."""

    heading: str
    lines: Sequence[str] = ()
    cuttings: Sequence[Cutting] = ()


def patch_pixels(cutting: Cutting) -> Pixels:
    """A patch with checks for padding, and a violet tint on pixels that are not read: uint8 (h, w, 3)."""
    pixels = image_pixels(cutting.pixels)
    unread, padding = cutting.unread.numpy(), cutting.padding.numpy()
    pixels[unread] = (pixels[unread].astype(np.uint16) + np.array(PADDING[0])) // 2
    rows, columns = np.indices(padding.shape)
    checks = np.array(PADDING, dtype=np.uint8)[(rows + columns) % 2]
    pixels[padding] = checks[padding]
    return pixels


def patches_picture(strips: Sequence[Strip], *, title: str, captions: Sequence[str]) -> Picture:
    """A section for each filter; below each patch its source with the patch framed, unless the patch is all of it.

    Returns:
        A picture with a box for each (strip, patch, 0), and for its source (strip, patch, 1) where that is shown.
    """
    every = [cutting for strip in strips for cutting in strip.cuttings]
    with_source = not all(cutting.whole for cutting in every)
    sizes = [side for cutting in every for side in cutting.padding.shape] or [1]
    step = thinning(sizes, LARGEST)
    scale = enlargement([-(-side // step) for side in sizes], TILE)

    def cell(cutting: Cutting) -> Cell:
        panels = [Panel(pixels=patch_pixels(cutting)[::step, ::step], scale=scale)]
        return Cell(panels=[*panels, source_panel(cutting)] if with_source else panels, below=cutting.lines)

    sections = [
        Section(heading=strip.heading, lines=strip.lines, cells=[cell(each) for each in strip.cuttings])
        for strip in strips
    ]
    return sheet(sections, title=title, captions=captions)


def patches_card(strips: Sequence[Strip], *, title: str) -> Pixels:
    """The patches of as many filters as a TensorBoard card has room for, without their sources: uint8 (H, W, 3)."""
    sizes = [side for strip in strips for cutting in strip.cuttings for side in cutting.padding.shape] or [1]
    step = thinning(sizes, IN_CARD)
    scale = enlargement([-(-side // step) for side in sizes], IN_CARD)

    def cell(cutting: Cutting) -> Cell:
        return Cell(panels=[Panel(pixels=patch_pixels(cutting)[::step, ::step], scale=scale)])

    def first(count: int) -> list[Section]:
        return [Section(heading=each.heading, cells=[cell(one) for one in each.cuttings]) for each in strips[:count]]

    return card(first, len(strips), title=title)


def source_panel(cutting: Cutting, room: int = TILE) -> Panel:
    """The image that a patch was cut from, with a frame around the patch."""
    size = cutting.source.shape[1:]
    step = thinning(size, LARGEST)
    marked = None
    if cutting.marked is not None:
        (top, bottom), (left, right) = cutting.marked
        marked = (top // step, bottom // step), (left // step, right // step)
    return Panel(
        pixels=image_pixels(cutting.source)[::step, ::step],
        scale=enlargement([-(-side // step) for side in size], room),
        marked=marked,
    )
