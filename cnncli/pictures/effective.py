"""Effective receptive fields side by side: how much a unit listens to each pixel, with the squares that hold most."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cnncli.pictures.canvas import Box, Canvas, text_width
from cnncli.pictures.colour import Pixels, sequential

TILE = 200
"""Pixels for the longer side of a map."""
MARGIN, LINE = 6, 14

Map = npt.NDArray[np.float64]
Interval = tuple[int, int]


def effective_picture(
    maps: Mapping[str, tuple[Map, Mapping[int, int]]],
    *,
    field: tuple[Interval, Interval],
    centre: tuple[float, float],
    title: str,
) -> Pixels:
    """Draw maps of one size, each relative to its own largest value, and as its square root: tails are thin.

    Args:
        maps: label -> weights (H, W) from 0 up, and per cent -> side of the square around the centre that holds it.
        field: first and last row, first and last column that the unit can see, inside the image; framed.
        centre: (row, column) of the squares; they are framed, cut off at the border.
        title: above all of them.
    """
    height, width = next(iter(maps.values()))[0].shape
    scale = max(1, TILE // max(height, width))
    captions = [_caption(sides) for _, sides in maps.values()]
    column = max(width * scale, *(text_width(each) for each in (*captions, *maps))) + 2 * MARGIN
    top = MARGIN + 2 * LINE
    canvas = Canvas(
        width=max(column * len(maps), text_width(title, 12) + 2 * MARGIN), height=top + height * scale + 3 * LINE
    )
    canvas.text(MARGIN, MARGIN, title, width=column * len(maps), size=12)
    for number, (label, (weights, sides)) in enumerate(maps.items()):
        x = number * column + MARGIN
        canvas.text(x, MARGIN + LINE, label, width=column)
        box = Box(x=x, y=top + 4, height=height, width=width, scale=scale)
        canvas.frame(box)
        canvas.tile(box, _coloured(weights))
        for rows, columns in (field, *(_square(side, centre, (height, width)) for side in sides.values())):
            canvas.frame(_inside(box, rows, columns))
        canvas.text(x, box.bottom + 4, captions[number], width=column)
    canvas.text(MARGIN, top + height * scale + 2 * LINE - 6, _LEGEND, width=column * len(maps))
    return canvas.pixels


_LEGEND = "frames: the whole field, and the squares; colours: square root, relative to the largest"


def _caption(sides: Mapping[int, int]) -> str:
    if not sides:
        return "no gradient at all"
    return ", ".join(f"{share}% in {side}" for share, side in sides.items()) + " px"


def _coloured(weights: Map) -> Pixels:
    largest = float(weights.max())
    return sequential(np.sqrt(weights / largest) if largest else weights, 0.0, 1.0)


def _square(side: int, centre: tuple[float, float], size: tuple[int, int]) -> tuple[Interval, Interval]:
    """Rows and columns of a square around a centre, inside the image."""
    first, last = (tuple(int(middle + sign * (side - 1) / 2) for middle in centre) for sign in (-1, 1))
    return (max(0, first[0]), min(size[0] - 1, last[0])), (max(0, first[1]), min(size[1] - 1, last[1]))


def _inside(box: Box, rows: Interval, columns: Interval) -> Box:
    """The part of an enlarged map that some rows and columns take."""
    return Box(
        x=box.x + columns[0] * box.scale + 1,
        y=box.y + rows[0] * box.scale + 1,
        height=(rows[1] - rows[0] + 1) * box.scale - 2,
        width=(columns[1] - columns[0] + 1) * box.scale - 2,
        scale=1,
    )
