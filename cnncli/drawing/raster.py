"""Shapes as pixels, at any whole enlargement: text and lines are drawn at that size, not enlarged afterwards."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.fonts import font, runs, text_length
from cnncli.drawing.shapes import Disc, Line, Mosaic, Outline, Point, Polygon, Rectangle, Shape, Text
from cnncli.drawing.text import space, text_width


def rasterize(shapes: Sequence[Shape], *, width: int, height: int, background: Color, scale: int) -> Pixels:
    """Draw shapes, later ones over earlier ones: uint8 (height * scale, width * scale, 3)."""
    image = Image.new("RGB", (width * scale, height * scale), background)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        match shape:
            case Text():
                _text(image, shape, scale)
            case Rectangle():
                box = _corners(shape.x, shape.y, shape.width, shape.height, scale)
                draw.rectangle(box, fill=shape.color)
            case Outline():
                box = _corners(shape.x, shape.y, shape.width, shape.height, scale)
                draw.rectangle(box, outline=shape.color, width=shape.thickness * scale)
            case Line():
                joint = "curve" if len(shape.points) > 2 else None
                thickness = max(1, round(shape.width * scale))
                draw.line(_scaled(shape.points, scale), fill=shape.color, width=thickness, joint=joint)
            case Polygon():
                draw.polygon(_scaled(shape.points, scale), fill=shape.color)
            case Disc():
                x, y, radius = shape.x * scale, shape.y * scale, shape.radius * scale
                draw.ellipse(
                    (x - radius, y - radius, x + radius, y + radius), fill=shape.color, outline=shape.ring, width=scale
                )
            case Mosaic():
                enlarged = shape.pixels.repeat(shape.scale * scale, axis=0).repeat(shape.scale * scale, axis=1)
                image.paste(Image.fromarray(enlarged), (shape.x * scale, shape.y * scale))
    return np.array(image)


def _corners(x: float, y: float, width: float, height: float, scale: int) -> tuple[float, float, float, float]:
    """The first and the last pixel of a rectangle."""
    return (x * scale, y * scale, (x + width) * scale - 1, (y + height) * scale - 1)


def _scaled(points: Sequence[Point], scale: int) -> list[Point]:
    return [(x * scale, y * scale) for x, y in points]


def _text(image: Image.Image, text: Text, scale: int) -> None:
    """Words one by one: each starts where it does in the drawing that is not enlarged."""
    width = text_width(text.text, text.size)
    if text.upward:
        mask = Image.new("L", ((width + 2) * scale, 2 * text.size * scale))
        _words(mask, text, 0.0, text.size, 255, "lm", scale)
        turned = mask.transpose(Image.Transpose.ROTATE_90)
        x, y = round((text.x - text.size) * scale), round(text.y * scale) - turned.height
        image.paste(text.color, (x, y), turned)
        return
    start = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    _words(image, text, start, text.y, text.color, "lm" if text.centered else "la", scale)


def _words(image: Image.Image, text: Text, x: float, y: float, fill: Color | int, anchor: str, scale: int) -> None:
    for word in text.text.split():
        left, top = math.floor(x * scale), math.floor(y * scale)
        drawn = _word(word, text.size * scale, anchor, x * scale - left, y * scale - top)
        if drawn is not None:
            mask, column, row = drawn
            image.paste(fill, (left + column, top + row), mask)
        x += text_width(word, text.size) + space(text.size)


@lru_cache(maxsize=4096)
def _word(word: str, size: int, anchor: str, x: float, y: float) -> tuple[Image.Image, int, int] | None:
    """A word that is anchored at x and y, each from 0 to 1; None if nothing of it is seen.

    The pictures of a training have the same words again and again, and drawing them takes most of the time. Parts in
    other fonts stand on the base line of Pillow's.

    Returns:
        A mask of the letters, and the column and the row of its upper left pixel.
    """
    margin = 2 * size  # of letters that reach beyond the anchor
    width = math.ceil(text_length(word, size))
    image = Image.new("L", (width + 2 * margin, 2 * margin + size))
    draw = ImageDraw.Draw(image)
    own = font(size)
    parts = runs(word)
    at = (margin + x, margin + y)
    if all(file is None for file, _ in parts) or isinstance(own, ImageFont.ImageFont):
        draw.text(at, "".join(part for _, part in parts), fill=255, font=own, anchor=anchor)
    else:
        ascent, descent = own.getmetrics()
        left, base = at[0], at[1] + (ascent if anchor == "la" else (ascent - descent) / 2)
        for file, part in parts:
            used = font(size, file)
            draw.text((left, base), part, fill=255, font=used, anchor="ls")
            left += used.getlength(part)
    box = image.getbbox()
    return None if box is None else (image.crop(box), box[0] - margin, box[1] - margin)
