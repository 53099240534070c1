"""Many images on one sheet, each with lines of text below it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.pictures.canvas import Box, Canvas, text_width
from cnncli.pictures.colour import Pixels
from cnncli.pictures.grid import Key, Picture
from cnncli.pictures.layout import HEIGHT, LINE, WIDTH

MARGIN, GAP = 4, 8
TITLE = 19
IMAGE = 56
"""Pixels that the longer side of an image is enlarged to, at most, by a whole factor."""
TEXT = 100
"""Pixels at which a line is cut short, unless the images are wider."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An image, uint8 (h, w, 3), and the lines below it."""

    pixels: Pixels
    lines: Sequence[str]


def image_sheet(shown: Sequence[Shown], *, title: str, card: bool = False) -> Picture:
    """A sheet of about the proportions of a card of TensorBoard, and larger than one where it has to be.

    Args:
        shown: one or more, with images of one size and as many lines each.
        title: above all of them.
        card: leave out what has no room in a card, but never the first.

    Returns:
        A picture with a box (number,) for every image.
    """
    height, width, _ = shown[0].pixels.shape
    scale = max(1, IMAGE // max(height, width))
    widest = max(text_width(line) for each in shown for line in each.lines)
    column = max(width * scale, min(widest, TEXT)) + GAP
    row = height * scale + len(shown[0].lines) * LINE + GAP
    if card:
        across = max(1, (WIDTH - 2 * MARGIN + GAP) // column)
        shown = shown[: across * max(1, (HEIGHT - TITLE + GAP - MARGIN) // row)]
    else:
        across = max(1, round((len(shown) * row * WIDTH / (column * HEIGHT)) ** 0.5))
    across = min(len(shown), across)
    down = -(-len(shown) // across)
    width_of_all = max(across * column - GAP, text_width(title, 12)) + 2 * MARGIN
    canvas = Canvas(width=width_of_all, height=TITLE + down * row - GAP + MARGIN)
    canvas.text(MARGIN, 0, title, width=width_of_all, size=12)
    boxes: dict[Key, Box] = {}
    for number, each in enumerate(shown):
        at_row, at_column = divmod(number, across)
        x, y = MARGIN + at_column * column, TITLE + at_row * row
        box = Box(x=x, y=y, height=height, width=width, scale=scale)
        canvas.frame(box)
        canvas.tile(box, each.pixels)
        for place, line in enumerate(each.lines):
            canvas.text(x, box.bottom + 2 + place * LINE, line, width=column - GAP)
        boxes[(number,)] = box
    return Picture(canvas.pixels, boxes, None)
