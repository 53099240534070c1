"""Curves over epochs, drawn as PNG pixels or as SVG from one list of shapes.

The colors are those of Okabe and Ito, "Color Universal Design" (2008), which people with any kind of color vision can
tell apart. Curves also differ by their markers, so that they can be told apart without color.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias
from xml.etree import ElementTree

from cnncli.drawing.canvas import INK, Anchor, Canvas
from cnncli.drawing.chart import Chart, epoch_ticks, segments
from cnncli.drawing.color import Color, Pixels

COLORS: Sequence[Color] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
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
_GRID: Color = (225, 225, 225)
_AXIS: Color = (120, 120, 120)

WIDTH = 720
"""Width of a picture, px."""
_LEFT, _RIGHT, _TOP, _PLOT_HEIGHT, _BELOW = 58, 20, 34, 220, 46
"""Space around the axes of a chart, and their height, px."""
_ROW = 20
"""Height of a line of the legend, px."""
_TEXT, _TITLE = 12, 14
"""Sizes of the text, px."""
_MARKER_SIZE = 4
_MOST_MARKERS = 8
"""Markers on a curve, at most."""
_SCALE = 2
"""Pixels of the PNG for each pixel of the layout, for screens of high resolution."""


Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class _Line:
    points: Sequence[Point]
    color: Color
    width: float


@dataclass(frozen=True)
class _Polygon:
    points: Sequence[Point]
    color: Color


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    size: int = _TEXT


_Shape: TypeAlias = _Line | _Polygon | _Text


def draw_curves(charts: Sequence[Chart]) -> Pixels:
    """Charts below each other, with one legend, as uint8 (H, W, 3).

    Args:
        charts: with the same curves in the same order, of other values.
    """
    canvas = Canvas(width=WIDTH * _SCALE, height=_height(charts) * _SCALE)
    for shape in _shapes(charts):
        match shape:
            case _Line():
                canvas.polyline(_scaled(shape.points), color=shape.color, width=round(shape.width * _SCALE))
            case _Polygon():
                canvas.polygon(_scaled(shape.points), color=shape.color)
            case _Text():
                x, y = _scaled([(shape.x, shape.y)])[0]
                canvas.anchored(x, y, shape.text, anchor=shape.anchor, size=shape.size * _SCALE)
    return canvas.pixels


def curves_as_svg(charts: Sequence[Chart]) -> str:
    """The same picture as an SVG document; see `draw_curves`."""
    height = _height(charts)
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(WIDTH),
            "height": str(height),
            "viewBox": f"0 0 {WIDTH} {height}",
            "font-family": "system-ui, sans-serif",
            "role": "img",
        },
    )
    ElementTree.SubElement(svg, "title").text = "; ".join(chart.title for chart in charts)
    ElementTree.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    for shape in _shapes(charts):
        match shape:
            case _Line():
                style = {"fill": "none", "stroke": _hex(shape.color), "stroke-width": f"{shape.width:g}"}
                ElementTree.SubElement(svg, "polyline", {"points": _points(shape.points), **style})
            case _Polygon():
                ElementTree.SubElement(svg, "polygon", {"points": _points(shape.points), "fill": _hex(shape.color)})
            case _Text():
                attributes = {"x": f"{shape.x:g}", "y": f"{shape.y:g}", "text-anchor": shape.anchor}
                attributes |= {"dominant-baseline": "middle", "font-size": str(shape.size), "fill": _hex(INK)}
                ElementTree.SubElement(svg, "text", attributes).text = _xml_text(shape.text)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _height(charts: Sequence[Chart]) -> int:
    return len(charts) * (_TOP + _PLOT_HEIGHT + _BELOW) + len(charts[0].curves) * _ROW + _ROW


def _shapes(charts: Sequence[Chart]) -> Iterator[_Shape]:
    top = 0
    for chart in charts:
        yield from _chart_shapes(chart, top)
        top += _TOP + _PLOT_HEIGHT + _BELOW
    for i, curve in enumerate(charts[0].curves):
        y = top + (i + 0.5) * _ROW
        yield _Line([(_LEFT, y), (_LEFT + 32, y)], _color(i), 2)
        yield _marker(i, _LEFT + 16, y)
        yield _Text(_LEFT + 42, y, curve.label)


def _chart_shapes(chart: Chart, top: float) -> Iterator[_Shape]:
    """The title, axes and curves of a chart whose upper edge is at height `top`."""
    ticks = chart.ticks(6)
    low, high = ticks[0], ticks[-1]
    upper, lower = top + _TOP, top + _TOP + _PLOT_HEIGHT
    left, right = _LEFT, WIDTH - _RIGHT

    def x_of(epoch: float) -> float:
        return left + (right - left) * ((epoch - 1) / (chart.epochs - 1) if chart.epochs > 1 else 0.5)

    def y_of(value: float) -> float:
        return lower - (lower - upper) * (value - low) / (high - low)

    yield _Text(left, top + _TOP / 2, chart.title, size=_TITLE)
    for tick in ticks:
        yield _Line([(left, y_of(tick)), (right, y_of(tick))], _GRID, 1)
        yield _Text(left - 8, y_of(tick), chart.format(tick, step=ticks[1] - ticks[0]), "end")
    yield _Line([(left, lower), (right, lower)], _AXIS, 1)
    for epoch in epoch_ticks(chart.epochs, 10):
        yield _Line([(x_of(epoch), lower), (x_of(epoch), lower + 4)], _AXIS, 1)
        yield _Text(x_of(epoch), lower + 13, str(epoch), "middle")
    yield _Text((left + right) / 2, lower + 31, "epoch", "middle")
    for i, curve in enumerate(chart.curves):
        for part in segments(curve.values):
            if len(part) > 1:
                yield _Line([(x_of(epoch), y_of(value)) for epoch, value in part], _color(i), 2)
    for i, curve in enumerate(chart.curves):
        every = max(1, ceil(len(curve.values) / _MOST_MARKERS))
        # Not all at the same epochs, so that markers of equal curves do not cover each other.
        offset = i * every // len(chart.curves)
        for part in segments(curve.values):
            for epoch, value in part:
                if epoch % every == offset % every or len(part) == 1:
                    yield _marker(i, x_of(epoch), y_of(value))


def _marker(number: int, x: float, y: float) -> _Polygon:
    corners = _MARKERS[number % len(_MARKERS)]
    return _Polygon([(x + dx * _MARKER_SIZE, y + dy * _MARKER_SIZE) for dx, dy in corners], _color(number))


def _color(number: int) -> Color:
    return COLORS[number % len(COLORS)]


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _xml_text(text: str) -> str:
    """Text without the control characters that XML does not allow."""
    return "".join(each if each.isprintable() else "?" for each in text)
