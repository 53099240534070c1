"""Points in the plane, coloured by class.

Letters for shapes: N points, K classes.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cnncli.pictures.canvas import FRAME, INK, Box, Canvas, text_width
from cnncli.pictures.colour import Colour, Pixels
from cnncli.pictures.layout import HEIGHT, WIDTH

TEN: Sequence[Colour] = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (240, 130, 200), (125, 125, 125), (200, 200, 40), (40, 200, 220),
)  # fmt: skip
"""Colours that can be told apart: the ten of Tableau, the last four of them further from each other."""

ENLARGED = 2
"""A card of TensorBoard, twice on both axes: shrunk to it, letters of twice the size can still be read."""
TEXT, TITLE, LINE = 20, 22, 24
MARGIN = 8
RADIUS = 3
LONGEST_LABEL = 130

Values = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def scatter_picture(
    points: Values, labels: Labels, ringed: npt.NDArray[np.bool_], classes: Sequence[str], *, title: str, caption: str
) -> Pixels:
    """A dot for each point, both axes on one scale, with a legend on the right.

    Args:
        points: (N, 2), right and up.
        labels: int64 (N,), positions in `classes`.
        ringed: (N,), points that get a dark ring and lie above the others.
        classes: K names.
        title: shortened where it does not fit, as is the caption.
        caption: below it.
    """
    colours = class_colours(len(classes))
    width, height = ENLARGED * WIDTH, ENLARGED * HEIGHT
    canvas = Canvas(width=width, height=height)
    canvas.text(MARGIN, 0, title, width=width - MARGIN, size=TITLE)
    canvas.text(MARGIN, TITLE + 4, caption, width=width - MARGIN, size=TEXT)
    top = TITLE + TEXT + 4 + MARGIN
    legend = _draw_legend(canvas, classes, colours, top=top)
    box = Box(x=MARGIN, y=top, height=height - top - MARGIN, width=legend - 2 * MARGIN, scale=1)
    canvas.frame(box)
    places = placed(points, box)
    for number in np.argsort(ringed, kind="stable").tolist():
        x, y = places[number]
        ring = INK if ringed[number] else None
        canvas.dot(x, y, radius=RADIUS, colour=colours[labels[number]], ring=ring)
    return canvas.pixels


def placed(points: Values, box: Box) -> list[tuple[int, int]]:
    """Where points (N, 2) lie in a box, px (x, y): all of them inside, on one scale, y upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([box.width, box.height]) - 2 * (RADIUS + 1)
    spread = np.where(high > low, high - low, 1.0)
    scale = float((room / spread).min())
    middle = np.array([box.x + box.width / 2, box.y + box.height / 2])
    offset = (points - (low + high) / 2) * scale * np.array([1, -1])
    return [(round(x), round(y)) for x, y in (middle + offset).tolist()]


def class_colours(count: int) -> Sequence[Colour]:
    """Colours for that many classes: the ten above, or, for more, around the wheel of hues, light and dark in turn."""
    if count <= len(TEN):
        return TEN[:count]
    wheel = []
    for number in range(count):
        value = (0.95, 0.6)[number % 2]
        red, green, blue = (round(255 * each) for each in colorsys.hsv_to_rgb(number / count, 0.85, value))
        wheel.append((red, green, blue))
    return wheel


def _draw_legend(canvas: Canvas, classes: Sequence[str], colours: Sequence[Colour], *, top: int) -> int:
    """Name the classes on the right, in one column or several; those without room are counted. Returns its left x."""
    rows = (ENLARGED * HEIGHT - top - MARGIN) // LINE
    column = min(max(text_width(name, TEXT) for name in classes), LONGEST_LABEL) + 3 * MARGIN
    columns = min(-(-len(classes) // rows), max(1, ENLARGED * WIDTH // 2 // column))
    left = ENLARGED * WIDTH - columns * column - MARGIN
    shown = len(classes) if len(classes) <= rows * columns else rows * columns - 1
    for number in range(shown):
        x, y = left + number // rows * column, top + number % rows * LINE
        canvas.dot(x + 5, y + LINE // 2, radius=5, colour=colours[number], ring=FRAME)
        canvas.text(x + 2 * MARGIN, y, classes[number], width=column - 2 * MARGIN, size=TEXT)
    if shown < len(classes):
        x = left + (columns - 1) * column
        canvas.text(x, top + (rows - 1) * LINE, f"and {len(classes) - shown} more", width=column, size=TEXT)
    return left
