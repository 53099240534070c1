"""A white canvas for text, lines and enlarged tiles; drawn as pixels or as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.raster import rasterize
from cnncli.drawing.shapes import Anchor, Disc, Line, Mosaic, Outline, Point, Polygon, Rectangle, Shape, Text
from cnncli.drawing.svg import as_svg
from cnncli.drawing.text import TEXT_SIZE, Words, fit

BACKGROUND: Color = (255, 255, 255)
FRAME: Color = (120, 120, 120)
INK: Color = (24, 24, 24)
MARK: Color = (0, 170, 60)
"""Color of marked tiles; on neither color scale."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """The position of a tile: its first pixel, its size before enlargement, and the factor of enlargement."""

    x: int
    y: int
    height: int
    width: int
    scale: int

    @property
    def right(self) -> int:
        """x of the first pixel beyond the tile."""
        return self.x + self.width * self.scale

    @property
    def bottom(self) -> int:
        """y of the first pixel beyond the tile."""
        return self.y + self.height * self.scale

    def part(self, rows: tuple[int, int], columns: tuple[int, int]) -> "Box":
        """The box of some rows and columns, first and last."""
        return Box(
            x=self.x + columns[0] * self.scale,
            y=self.y + rows[0] * self.scale,
            height=rows[1] - rows[0] + 1,
            width=columns[1] - columns[0] + 1,
            scale=self.scale,
        )


class Canvas:
    """Text, lines, frames and tiles; later ones cover earlier ones."""

    def __init__(self, *, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._shapes: list[Shape] = []

    def text(self, x: int, y: int, text: Words, *, width: int, size: int = TEXT_SIZE) -> None:
        """Write a line from its upper left corner, shortened to `width` pixels; see `text.fit`."""
        self._shapes.append(Text(x=x, y=y, text=fit(text, width, size), size=size, color=INK))

    def centered(self, x: float, y: float, text: str, *, size: int = TEXT_SIZE) -> None:
        """Write with the middle of the line's upper edge at x, y."""
        self._shapes.append(Text(x=x, y=y, text=text, size=size, color=INK, anchor="middle"))

    def right_aligned(self, x: float, y: float, text: str, *, size: int = TEXT_SIZE) -> None:
        """Write so that the text ends at x, with its middle at height y."""
        self.anchored(x, y, text, anchor="end", size=size)

    def middle(self, x: float, y: float, text: str, *, ink: Color = INK, size: int = TEXT_SIZE) -> None:
        """Write with the middle of the text at x, y."""
        self._shapes.append(Text(x=x, y=y, text=text, size=size, color=ink, anchor="middle", centered=True))

    def anchored(self, x: float, y: float, text: str, *, anchor: Anchor, size: int = TEXT_SIZE) -> None:
        """Write with the start, the middle or the end of the text at x, and its middle at height y."""
        self._shapes.append(Text(x=x, y=y, text=text, size=size, color=INK, anchor=anchor, centered=True))

    def upward(self, x: float, y: float, text: str, *, size: int = TEXT_SIZE) -> None:
        """Write from bottom to top, from height y, with the middle of the letters' height at x."""
        self._shapes.append(Text(x=x, y=y, text=text, size=size, color=INK, upward=True))

    def rectangle(self, x: float, y: float, *, width: float, height: float, color: Color) -> None:
        """Fill a rectangle from its upper left pixel; nothing if it has no width or height."""
        if width > 0 and height > 0:
            self._shapes.append(Rectangle(x=x, y=y, width=width, height=height, color=color))

    def line(self, start: Point, end: Point, *, color: Color = FRAME) -> None:
        """A line of one pixel between two points (x, y)."""
        self._shapes.append(Line([start, end], color, 1))

    def polyline(self, points: Sequence[Point], *, color: Color, width: float) -> None:
        """Straight lines of `width` pixels through points (x, y)."""
        self._shapes.append(Line(list(points), color, width))

    def polygon(self, points: Sequence[Point], *, color: Color) -> None:
        """Fill the area between corners (x, y)."""
        self._shapes.append(Polygon(list(points), color))

    def dot(self, x: float, y: float, *, radius: float, color: Color, ring: Color | None = None) -> None:
        """A disc around x, y, with a ring of one pixel if it has a color."""
        self._shapes.append(Disc(x=x, y=y, radius=radius, color=color, ring=ring))

    def frame(self, box: Box, color: Color = FRAME, *, width: int = 1) -> None:
        """A line around a tile, `width` pixels wide."""
        outer = {"width": box.right - box.x + 2 * width, "height": box.bottom - box.y + 2 * width}
        self._shapes.append(Outline(x=box.x - width, y=box.y - width, **outer, thickness=width, color=color))

    def bar(self, box: Box, color: Color) -> None:
        """A line of two pixels on the left of a tile, one pixel away from it."""
        self.rectangle(box.x - 4, box.y, width=2, height=box.bottom - box.y, color=color)

    def tile(self, box: Box, pixels: Pixels) -> None:
        """Draw a tile (h, w, 3), every pixel repeated `box.scale` times along both axes."""
        assert pixels.shape == (box.height, box.width, 3), f"{pixels.shape} into {box}"
        self._shapes.append(Mosaic(x=box.x, y=box.y, pixels=pixels, scale=box.scale))

    @property
    def pixels(self) -> Pixels:
        """The canvas as it is now: uint8 (H, W, 3)."""
        return self.enlarged(1)

    def enlarged(self, scale: int) -> Pixels:
        """The canvas with `scale` pixels for each of its own: uint8 (H * scale, W * scale, 3)."""
        return rasterize(self._shapes, width=self.width, height=self.height, background=BACKGROUND, scale=scale)

    def svg(self, *, title: str, scale: int = 1) -> str:
        """The canvas as an SVG document; see `svg.as_svg`."""
        size = {"width": self.width, "height": self.height, "scale": scale}
        return as_svg(self._shapes, background=BACKGROUND, title=title, **size)


def ink_on(color: Color) -> Color:
    """Black or white, whichever is legible on a color."""
    red, green, blue = color
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else BACKGROUND
