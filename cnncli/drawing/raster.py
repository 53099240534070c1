"""Shapes as pixels, at any whole enlargement: text and lines are drawn at that size, not enlarged afterwards."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.fonts import font, runs
from cnncli.drawing.shapes import Disc, Line, Mosaic, Outline, Point, Polygon, Rectangle, Shape, Text
from cnncli.drawing.text import space, text_width


def rasterize(shapes: Sequence[Shape], *, width: int, height: int, background: Color, scale: int) -> Pixels:
    """Draw shapes, later ones over earlier ones: uint8 (height * scale, width * scale, 3)."""
    image = Image.new("RGB", (width * scale, height * scale), background)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        match shape:
            case Text():
                _text(image, draw, shape, scale)
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


def _text(image: Image.Image, draw: ImageDraw.ImageDraw, text: Text, scale: int) -> None:
    """Words one by one: each starts where it does in the drawing that is not enlarged."""
    width = text_width(text.text, text.size)
    if text.upward:
        mask = Image.new("L", ((width + 2) * scale, 2 * text.size * scale))
        _words(ImageDraw.Draw(mask), text, 0.0, text.size, 255, "lm", scale)
        turned = mask.transpose(Image.Transpose.ROTATE_90)
        x, y = round((text.x - text.size) * scale), round(text.y * scale) - turned.height
        image.paste(text.color, (x, y), turned)
        return
    start = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    _words(draw, text, start, text.y, text.color, "lm" if text.centered else "la", scale)


def _words(
    draw: ImageDraw.ImageDraw, text: Text, x: float, y: float, fill: Color | int, anchor: str, scale: int
) -> None:
    for word in text.text.split():
        _word(draw, (x * scale, y * scale), word, fill, anchor, text.size * scale)
        x += text_width(word, text.size) + space(text.size)


def _word(draw: ImageDraw.ImageDraw, at: Point, word: str, fill: Color | int, anchor: str, size: int) -> None:
    """A word; parts in other fonts stand on the base line of Pillow's."""
    own = font(size)
    parts = runs(word)
    if all(file is None for file, _ in parts) or isinstance(own, ImageFont.ImageFont):
        draw.text(at, "".join(part for _, part in parts), fill=fill, font=own, anchor=anchor)
        return
    ascent, descent = own.getmetrics()
    x, y = at[0], at[1] + (ascent if anchor == "la" else (ascent - descent) / 2)
    for file, part in parts:
        used = font(size, file)
        draw.text((x, y), part, fill=fill, font=used, anchor="ls")
        x += used.getlength(part)
