"""The receptive fields of units, nested inside each other, drawn on the input as a grid of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.drawing.canvas import BACKGROUND, Box, Canvas
from cnncli.drawing.color import SEQUENTIAL, Color, Pixels
from cnncli.drawing.image import png
from cnncli.drawing.text import text_width
from cnncli.errors import UsageError
from cnncli.files import atomic_write
from cnncli.inspection.units import Interval, UnitReceptiveField

LINE = 14
"""Height of a line of the legend, px."""
MARGIN = 6
LARGEST = 640
"""Pixels for the longer side of the drawing, padding included, unless the input alone has more."""
LEAST_GRID = 6
"""The grid is drawn if a pixel of the input has at least this many px."""
PAPER: Color = (250, 250, 250)
GRID: Color = (225, 225, 225)
OUTSIDE: Color = (238, 232, 222)


@dataclass(frozen=True)
class Region:
    """A receptive field: first and last row, first and last column, in pixels of the input, and its label."""

    rows: Interval
    columns: Interval
    label: str


def write_receptive_fields(path: Path, size: tuple[int, ...], nests: Sequence[Sequence[UnitReceptiveField]]) -> None:
    """Draw nested receptive fields, those of several units on one input, into a PNG file.

    Raises:
        UsageError: the input is not an image, or no unit sees a pixel.
        DiskError: the file cannot be written.
    """
    if len(size) != 2:
        raise UsageError("receptive fields can only be drawn on images", remedy="omit --picture")
    regions = [
        Region(rows, columns, f"{each.layer} unit {','.join(map(str, each.unit))}: {_lengths((rows, columns))}")
        for nest in nests
        for each in nest
        if (intervals := each.unclipped or each.clipped) is not None
        for rows, columns in [intervals]
    ]
    if not regions:
        raise UsageError("none of the units sees a pixel", remedy="choose another unit")
    with atomic_write(path, option="--picture") as file:
        file.write(png(draw_receptive_fields((size[0], size[1]), regions)))


def _lengths(intervals: Sequence[Interval]) -> str:
    return " x ".join(str(last - first + 1) for first, last in intervals)


def draw_receptive_fields(size: tuple[int, int], regions: Sequence[Region]) -> Pixels:
    """Draw regions on an input of `size` (height, width), the first one at the bottom; outside the input is padding.

    Args:
        size: pixels of the input.
        regions: one or more, the largest first.

    Returns:
        uint8 (H, W, 3): the input, with padding around it where a region needs it, and the legend below.
    """
    top, left, bottom, right = _extent(size, regions)
    height, width = bottom - top + 1, right - left + 1
    scale = max(1, LARGEST // max(height, width))
    pixels = _color(size, regions, top=top, left=left, height=height, width=width)
    legend_width = max(width * scale, 24 + max(text_width(region.label) for region in regions))
    canvas = Canvas(width=legend_width + 2 * MARGIN, height=height * scale + 3 * MARGIN + LINE * len(regions))
    box = Box(x=MARGIN, y=MARGIN, height=height * scale, width=width * scale, scale=1)
    canvas.frame(box)
    canvas.tile(box, _enlarge(pixels, scale))
    for number, (region, color) in enumerate(zip(regions, region_colors(len(regions)), strict=True)):
        y = box.bottom + MARGIN + number * LINE
        swatch = np.full((8, 16, 3), color, dtype=np.uint8)
        canvas.tile(Box(x=MARGIN, y=y + 2, height=8, width=16, scale=1), swatch)
        canvas.text(MARGIN + 22, y, region.label, width=legend_width)
    return canvas.pixels


def region_colors(count: int) -> list[Color]:
    """Colors in order, dark for the largest region to bright for the smallest."""
    stops = [stop for stop, _ in SEQUENTIAL]
    levels = list(zip(*(color for _, color in SEQUENTIAL), strict=True))
    positions = np.linspace(0.2, 1.0, count) if count > 1 else np.array([0.5])
    red, green, blue = (np.interp(positions, stops, level) for level in levels)
    return [(round(float(r)), round(float(g)), round(float(b))) for r, g, b in zip(red, green, blue, strict=True)]


def _extent(size: tuple[int, int], regions: Sequence[Region]) -> tuple[int, int, int, int]:
    """First row and column, last row and column of the drawing: the input and all regions."""
    return (
        min(0, *(region.rows[0] for region in regions)),
        min(0, *(region.columns[0] for region in regions)),
        max(size[0] - 1, *(region.rows[1] for region in regions)),
        max(size[1] - 1, *(region.columns[1] for region in regions)),
    )


def _color(size: tuple[int, int], regions: Sequence[Region], *, top: int, left: int, height: int, width: int) -> Pixels:
    """One pixel for each pixel, padding included: (height, width, 3)."""
    pixels: Pixels = np.full((height, width, 3), OUTSIDE, dtype=np.uint8)
    inside = np.s_[-top : size[0] - top, -left : size[1] - left]
    pixels[inside] = PAPER
    for region, color in zip(regions, region_colors(len(regions)), strict=True):
        (first, last), (start, end) = region.rows, region.columns
        pixels[first - top : last - top + 1, start - left : end - left + 1] = color
    faded = (pixels.astype(np.uint16) + np.array(BACKGROUND, dtype=np.uint16)) // 2
    faded[inside] = pixels[inside]  # padding is paler
    return faded.astype(np.uint8)


def _enlarge(pixels: Pixels, scale: int) -> Pixels:
    """Every pixel repeated, with a thin grid where there is room for one."""
    enlarged = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    if scale >= LEAST_GRID:
        enlarged[::scale] = GRID
        enlarged[:, ::scale] = GRID
    return enlarged
