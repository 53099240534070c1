"""Shapes as an SVG document: text as text, cells as rectangles, images as embedded PNG files.

Browsers have other fonts than Pillow. Each line of text is given the width that it was measured with, so that it is
neither cut off nor runs into its neighbor. The document loads nothing.
"""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageFont

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.fonts import font
from cnncli.drawing.shapes import Disc, Line, Mosaic, Outline, Point, Polygon, Rectangle, Shape, Text
from cnncli.drawing.text import text_width
from cnncli.printable import printable

MOST_CELLS = 144
"""A mosaic of up to this many cells is drawn as rectangles, a larger one as an image."""


def as_svg(shapes: Sequence[Shape], *, width: int, height: int, background: Color, title: str, scale: int = 1) -> str:
    """Draw shapes, later ones over earlier ones.

    Args:
        shapes: in px.
        width, height: of the drawing.
        background: its color.
        title: what a screen reader says.
        scale: the document is shown at this multiple of its size in px.
    """
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(width * scale),
            "height": str(height * scale),
            "viewBox": f"0 0 {width} {height}",
            "font-family": "Helvetica, Arial, system-ui, sans-serif",
            "role": "img",
        },
    )
    ElementTree.SubElement(svg, "title").text = _xml_text(title)
    ElementTree.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": _hex(background)})
    for shape in shapes:
        _draw(svg, shape)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _draw(svg: ElementTree.Element, shape: Shape) -> None:
    match shape:
        case Text():
            _text(svg, shape)
        case Rectangle():
            _rect(svg, shape.x, shape.y, shape.width, shape.height, shape.color)
        case Outline():
            inset = shape.thickness / 2
            attributes = _place(
                shape.x + inset, shape.y + inset, shape.width - shape.thickness, shape.height - shape.thickness
            )
            stroke = {"fill": "none", "stroke": _hex(shape.color), "stroke-width": str(shape.thickness)}
            ElementTree.SubElement(svg, "rect", attributes | stroke)
        case Line():
            stroke = {"fill": "none", "stroke": _hex(shape.color), "stroke-width": f"{shape.width:g}"}
            ElementTree.SubElement(svg, "polyline", {"points": _points(shape.points), **stroke})
        case Polygon():
            ElementTree.SubElement(svg, "polygon", {"points": _points(shape.points), "fill": _hex(shape.color)})
        case Disc():
            attributes = {"cx": _number(shape.x), "cy": _number(shape.y), "r": _number(shape.radius)}
            attributes |= {"fill": _hex(shape.color)}
            if shape.ring is not None:
                attributes |= {"stroke": _hex(shape.ring)}
            ElementTree.SubElement(svg, "circle", attributes)
        case Mosaic():
            _mosaic(svg, shape)


def _text(svg: ElementTree.Element, text: Text) -> None:
    content = _xml_text(" ".join(text.text.split()))
    if not content:
        return
    ascent, descent = _metrics(text.size)
    baseline = ascent - (ascent + descent) / 2 if text.centered or text.upward else ascent
    attributes = {"x": _number(text.x), "y": _number(text.y + baseline), "font-size": str(text.size)}
    if text.upward:
        attributes |= {"x": "0", "y": _number(baseline)}
        attributes |= {"transform": f"translate({_number(text.x)} {_number(text.y)}) rotate(-90)"}
    attributes |= {"fill": _hex(text.color)}
    if text.anchor != "start":
        attributes |= {"text-anchor": text.anchor}
    if content.isascii():  # the measured font lacks many other letters
        attributes |= {"textLength": str(text_width(text.text, text.size)), "lengthAdjust": "spacingAndGlyphs"}
    ElementTree.SubElement(svg, "text", attributes).text = content


def _metrics(size: int) -> tuple[float, float]:
    measured = font(size)
    return measured.getmetrics() if isinstance(measured, ImageFont.FreeTypeFont) else (0.8 * size, 0.2 * size)


def _mosaic(svg: ElementTree.Element, mosaic: Mosaic) -> None:
    height, width = mosaic.pixels.shape[:2]
    if height * width <= MOST_CELLS:
        group = ElementTree.SubElement(svg, "g", {"shape-rendering": "crispEdges"})
        for row in range(height):
            changes = (mosaic.pixels[row, 1:] != mosaic.pixels[row, :-1]).any(axis=1)
            for start, end in pairwise([0, *(1 + np.flatnonzero(changes)).tolist(), width]):
                red, green, blue = mosaic.pixels[row, start].tolist()
                x, y = mosaic.x + start * mosaic.scale, mosaic.y + row * mosaic.scale
                _rect(group, x, y, (end - start) * mosaic.scale, mosaic.scale, (red, green, blue))
        return
    attributes = _place(mosaic.x, mosaic.y, width * mosaic.scale, height * mosaic.scale)
    # Enlarged as in the drawing, because not every program keeps pixels sharp.
    enlarged = mosaic.pixels.repeat(mosaic.scale, axis=0).repeat(mosaic.scale, axis=1)
    attributes |= {"href": f"data:image/png;base64,{_png(enlarged)}", "image-rendering": "pixelated"}
    ElementTree.SubElement(svg, "image", attributes)


def _png(pixels: Pixels) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode("ascii")


def _rect(parent: ElementTree.Element, x: float, y: float, width: float, height: float, color: Color) -> None:
    ElementTree.SubElement(parent, "rect", _place(x, y, width, height) | {"fill": _hex(color)})


def _place(x: float, y: float, width: float, height: float) -> dict[str, str]:
    return {"x": _number(x), "y": _number(y), "width": _number(width), "height": _number(height)}


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _xml_text(text: str) -> str:
    """Text without the characters that XML does not allow."""
    return "".join(each if each.isprintable() else "?" for each in printable(text))
