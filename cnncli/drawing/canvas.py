"""A white canvas for text, lines and enlarged tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnncli.drawing.color import Color, Pixels

BACKGROUND: Color = (255, 255, 255)
FRAME: Color = (120, 120, 120)
INK: Color = (24, 24, 24)
MARK: Color = (0, 170, 60)
"""Color of marked tiles; on neither color scale."""
TEXT_SIZE = 10
"""Size of labels, px; smaller ones are not legible in a TensorBoard card."""
SPACE = 3
"""Space between words, px; the font's own space vanishes at this size, because glyphs are placed at whole pixels."""

Anchor: TypeAlias = Literal["start", "middle", "end"]


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
        self._image = Image.new("RGB", (width, height), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    @property
    def width(self) -> int:
        """Width of the canvas, px."""
        return self._image.width

    def text(self, x: int, y: int, text: str, *, width: int, size: int = TEXT_SIZE) -> None:
        """Write a line from its upper left corner, shortened with an ellipsis to `width` pixels."""
        if text_width(text, size) > width:
            while text and text_width(text + "…", size) > width:
                text = text[:-1]
            text += "…"
        for word in text.split():
            self._draw.text((x, y), word, fill=INK, font=_font(size))
            x += text_width(word, size) + SPACE

    def centered(self, x: int, y: int, text: str) -> None:
        """Write with the middle of the first line's upper edge at x, y."""
        self._draw.text((x, y), text, fill=INK, font=_font(TEXT_SIZE), anchor="ma")

    def right_aligned(self, x: int, y: int, text: str) -> None:
        """Write so that the text ends at x, with its middle at height y."""
        self._draw.text((x, y), text, fill=INK, font=_font(TEXT_SIZE), anchor="rm")

    def middle(self, x: float, y: float, text: str, *, ink: Color = INK) -> None:
        """Write with the middle of the text at x, y."""
        self._draw.text((x, y), text, fill=ink, font=_font(TEXT_SIZE), anchor="mm")

    def anchored(self, x: float, y: float, text: str, *, anchor: Anchor, size: int = TEXT_SIZE) -> None:
        """Write with the start, the middle or the end of the text at x, and its middle at height y."""
        letter = {"start": "l", "middle": "m", "end": "r"}[anchor]
        self._draw.text((x, y), text, fill=INK, font=_font(size), anchor=f"{letter}m")

    def rectangle(self, x: int, y: int, *, width: int, height: int, color: Color) -> None:
        """Fill a rectangle from its upper left pixel; nothing if it has no width or height."""
        if width > 0 and height > 0:
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)

    def line(self, start: tuple[int, int], end: tuple[int, int], *, color: Color = FRAME) -> None:
        """A line of one pixel between two points (x, y)."""
        self._draw.line((*start, *end), fill=color)

    def polyline(self, points: Sequence[tuple[float, float]], *, color: Color, width: int) -> None:
        """Straight lines of `width` pixels through points (x, y)."""
        self._draw.line(list(points), fill=color, width=width, joint="curve")

    def polygon(self, points: Sequence[tuple[float, float]], *, color: Color) -> None:
        """Fill the area between corners (x, y)."""
        self._draw.polygon(list(points), fill=color)

    def dot(self, x: int, y: int, *, radius: int, color: Color, ring: Color | None = None) -> None:
        """A disc around x, y, with a ring of one pixel if it has a color."""
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color, outline=ring)

    def frame(self, box: Box, color: Color = FRAME, *, width: int = 1) -> None:
        """A line around a tile, `width` pixels wide."""
        outer = (box.x - width, box.y - width, box.right + width - 1, box.bottom + width - 1)
        self._draw.rectangle(outer, outline=color, width=width)

    def bar(self, box: Box, color: Color) -> None:
        """A line of two pixels on the left of a tile, one pixel away from it."""
        self._draw.rectangle((box.x - 4, box.y, box.x - 3, box.bottom - 1), fill=color)

    def tile(self, box: Box, pixels: Pixels) -> None:
        """Draw a tile (h, w, 3), every pixel repeated `box.scale` times along both axes."""
        assert pixels.shape == (box.height, box.width, 3), f"{pixels.shape} into {box}"
        enlarged = pixels.repeat(box.scale, axis=0).repeat(box.scale, axis=1)
        self._image.paste(Image.fromarray(enlarged), (box.x, box.y))

    @property
    def pixels(self) -> Pixels:
        """The canvas as it is now: uint8 (H, W, 3)."""
        return np.array(self._image)


def ink_on(color: Color) -> Color:
    """Black or white, whichever is legible on a color."""
    red, green, blue = color
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else BACKGROUND


def text_width(text: str, size: int = TEXT_SIZE) -> int:
    """Width of a line of text, px."""
    words = text.split()
    return sum(round(_font(size).getlength(word)) + SPACE for word in words) - SPACE * bool(words)


@cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)
