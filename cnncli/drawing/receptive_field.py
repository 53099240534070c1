"""The input as a grid of pixels, with the fields of units drawn on it, one inside the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.drawing.canvas import BACKGROUND, Box, Canvas, text_width
from cnncli.drawing.color import SEQUENTIAL, Color, Pixels
from cnncli.drawing.image import write_png
from cnncli.errors import UsageError
from cnncli.inspection.units import UnitReceptiveField

LINE = 14
"""Height of a line of the legend, px."""
MARGIN = 6
LARGEST = 640
"""Pixels for the longer side of the drawing, padding included, unless the input alone has more."""
LEAST_GRID = 6
"""From so many px per pixel on, the grid is drawn."""
PAPER: Color = (250, 250, 250)
GRID: Color = (225, 225, 225)
OUTSIDE: Color = (238, 232, 222)


@dataclass(frozen=True)
class Region:
    """One field: first and last row, first and last column, both included, in pixels of the input, and its label."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    label: str


def write_field_picture(path: Path, size: tuple[int, ...], nests: Sequence[Sequence[UnitReceptiveField]]) -> None:
    """Draw nested fields, those of several units on one input, into a PNG file.

    Raises:
        UsageError: the input is no image, or no unit sees anything.
        DiskError: the file cannot be written.
    """
    if len(size) != 2:
        raise UsageError("only fields on an image can be drawn", remedy="leave out --picture")
    regions = [
        Region(each[0], each[1], f"{field.layer} unit {','.join(map(str, field.unit))}: {_size(each)}")
        for nest in nests
        for field in nest
        if (each := field.unclipped or field.clipped) is not None
    ]
    if not regions:
        raise UsageError("no unit that was asked for sees a pixel", remedy="choose another --unit")
    write_png(path, field_picture((size[0], size[1]), regions))


def _size(intervals: tuple[tuple[int, int], ...]) -> str:
    return " x ".join(str(last - first + 1) for first, last in intervals)


def field_picture(size: tuple[int, int], regions: Sequence[Region]) -> Pixels:
    """Draw fields on an input of `size` (height, width), the first region lowest; what reaches out is padding.

    Args:
        size: pixels of the input.
        regions: one or more, the widest first.

    Returns:
        uint8 (H, W, 3): the input with a ring of padding where a region needs it, and the legend below.
    """
    top, left, bottom, right = _extent(size, regions)
    height, width = bottom - top + 1, right - left + 1
    scale = max(1, LARGEST // max(height, width))
    sheet = _colored(size, regions, top=top, left=left, height=height, width=width)
    labels = [region.label for region in regions]
    wide = max(width * scale, 24 + max(map(text_width, labels)))
    canvas = Canvas(width=wide + 2 * MARGIN, height=height * scale + 3 * MARGIN + LINE * len(regions))
    box = Box(x=MARGIN, y=MARGIN, height=height * scale, width=width * scale, scale=1)
    canvas.frame(box)
    canvas.tile(box, _enlarged(sheet, scale))
    for number, (region, color) in enumerate(zip(regions, colors(len(regions)), strict=True)):
        y = box.bottom + MARGIN + number * LINE
        swatch = np.full((8, 16, 3), color, dtype=np.uint8)
        canvas.tile(Box(x=MARGIN, y=y + 2, height=8, width=16, scale=1), swatch)
        canvas.text(MARGIN + 22, y, region.label, width=wide)
    return canvas.pixels


def colors(count: int) -> list[Color]:
    """Colors that are easily told apart in order, dark for the widest field to bright for the narrowest."""
    stops = [stop for stop, _ in SEQUENTIAL]
    levels = list(zip(*(color for _, color in SEQUENTIAL), strict=True))
    places = np.linspace(0.2, 1.0, count) if count > 1 else np.array([0.5])
    red, green, blue = (np.interp(places, stops, level) for level in levels)
    return [(round(float(r)), round(float(g)), round(float(b))) for r, g, b in zip(red, green, blue, strict=True)]


def _extent(size: tuple[int, int], regions: Sequence[Region]) -> tuple[int, int, int, int]:
    """First row and column, last row and column of what is drawn: the input and all regions."""
    return (
        min(0, *(region.rows[0] for region in regions)),
        min(0, *(region.columns[0] for region in regions)),
        max(size[0] - 1, *(region.rows[1] for region in regions)),
        max(size[1] - 1, *(region.columns[1] for region in regions)),
    )


def _colored(
    size: tuple[int, int], regions: Sequence[Region], *, top: int, left: int, height: int, width: int
) -> Pixels:
    """One pixel for each pixel, padding included: (height, width, 3)."""
    sheet: Pixels = np.full((height, width, 3), OUTSIDE, dtype=np.uint8)
    sheet[-top : size[0] - top, -left : size[1] - left] = PAPER
    for region, color in zip(regions, colors(len(regions)), strict=True):
        (first, last), (start, end) = region.rows, region.columns
        sheet[first - top : last - top + 1, start - left : end - left + 1] = color
    # Padding shows through: half the color of what is outside.
    inside = np.zeros((height, width), dtype=bool)
    inside[-top : size[0] - top, -left : size[1] - left] = True
    faded = (sheet.astype(np.uint16) + np.array(BACKGROUND, dtype=np.uint16)) // 2
    return np.where(inside[..., None], sheet, faded.astype(np.uint8))


def _enlarged(sheet: Pixels, scale: int) -> Pixels:
    """Every pixel repeated, with a thin grid where there is room for one."""
    enlarged = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    if scale >= LEAST_GRID:
        enlarged[::scale] = GRID
        enlarged[:, ::scale] = GRID
    return enlarged
