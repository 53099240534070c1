"""Categories, such as curves and classes, as colors and markers.

The first seven colors are those of Okabe and Ito, "Color Universal Design" (2008), and the other three differ from them
as much: people with any kind of color vision can tell them apart. Categories also differ by their markers.
"""

from collections.abc import Sequence

from cnncli.drawing.canvas import Canvas
from cnncli.drawing.color import Color

COLORS: Sequence[Color] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
    (153, 0, 255),
    (102, 34, 0),
    (0, 0, 17),
)
_MARKERS: Sequence[Sequence[tuple[float, float]]] = (
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),  # square
    ((0, -1.4), (1.3, 1), (-1.3, 1)),  # triangle
    ((0, -1.5), (1.5, 0), (0, 1.5), (-1.5, 0)),  # diamond
    ((0, 1.4), (1.3, -1), (-1.3, -1)),  # triangle that points down
    ((-0.5, -1.5), (0.5, -1.5), (0.5, -0.5), (1.5, -0.5), (1.5, 0.5), (0.5, 0.5),
     (0.5, 1.5), (-0.5, 1.5), (-0.5, 0.5), (-1.5, 0.5), (-1.5, -0.5), (-0.5, -0.5)),  # plus
)  # fmt: skip
"""The corners of each kind of marker, in units of its size."""

COUNT = len(COLORS) * len(_MARKERS)
"""Categories that differ; later ones look like the first ones again."""


def color_of(number: int) -> Color:
    """The color of a category."""
    return COLORS[number % len(COLORS)]


def draw_marker(canvas: Canvas, number: int, x: float, y: float, *, size: float) -> None:
    """The marker of a category around x, y, about twice `size` wide."""
    corners = _MARKERS[(number + number // len(COLORS)) % len(_MARKERS)]
    canvas.polygon([(x + dx * size, y + dy * size) for dx, dy in corners], color=color_of(number))
