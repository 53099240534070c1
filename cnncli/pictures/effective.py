"""Effective receptive fields side by side: how much a unit listens to each pixel, with the squares that hold most."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cnncli.pictures.canvas import Box, Canvas, text_width
from cnncli.pictures.colour import Pixels, sequential
from cnncli.pictures.layout import HEIGHT, LINE, TITLE_SIZE, WIDTH

TILE = 140
"""Pixels for the longer side of a map: two of them fit a card of TensorBoard."""
MARGIN = 4

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
    captions = [_captions(sides) for _, sides in maps.values()]
    texts = [*maps, *(line for caption in captions for line in caption)]
    column = max(width * scale + 2 * MARGIN, *(text_width(each) + MARGIN for each in texts), WIDTH // len(maps))
    top = MARGIN + 2 * LINE
    lines = max(map(len, captions)) + 1
    canvas = Canvas(
        width=max(column * len(maps), text_width(title, TITLE_SIZE) + 2 * MARGIN, text_width(_LEGEND) + 2 * MARGIN),
        height=max(HEIGHT, top + 2 + height * scale + MARGIN + lines * LINE),
    )
    canvas.text(MARGIN, 0, title, width=column * len(maps), size=TITLE_SIZE)
    for number, (label, (weights, sides)) in enumerate(maps.items()):
        x = number * column + MARGIN
        canvas.text(x, LINE + MARGIN, label, width=column)
        box = Box(x=x, y=top + 2, height=height, width=width, scale=scale)
        canvas.frame(box)
        canvas.tile(box, _coloured(weights))
        for rows, columns in (field, *(_square(side, centre, (height, width)) for side in sides.values())):
            canvas.frame(_inside(box, rows, columns))
        for place, line in enumerate(captions[number]):
            canvas.text(x, box.bottom + MARGIN + place * LINE, line, width=column)
    canvas.text(MARGIN, top + 2 + height * scale + MARGIN + (lines - 1) * LINE, _LEGEND, width=column * len(maps))
    return canvas.pixels


_LEGEND = "frames: the whole field, the squares; colours: square root"


def _captions(sides: Mapping[int, int]) -> list[str]:
    """The sides, two in a line."""
    if not sides:
        return ["no gradient at all"]
    parts = [f"{share}% in {side}" for share, side in sides.items()]
    return [", ".join(parts[place : place + 2]) + " px" for place in range(0, len(parts), 2)]


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
