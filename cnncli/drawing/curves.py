"""Curves over epochs."""

from collections.abc import Sequence
from math import ceil

from cnncli.drawing.canvas import Canvas
from cnncli.drawing.categories import color_of, draw_marker
from cnncli.drawing.chart import Chart, segments
from cnncli.drawing.color import Color
from cnncli.drawing.text import fit_name

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
SCALE = 2
"""Pixels of a PNG for each pixel of the layout, for screens of high resolution."""


def draw_curves(charts: Sequence[Chart]) -> Canvas:
    """Charts below each other, with one legend.

    Args:
        charts: with the same curves in the same order, of other values.
    """
    canvas = Canvas(width=WIDTH, height=_height(charts))
    top = 0
    for chart in charts:
        _draw_chart(canvas, chart, top)
        top += _TOP + _PLOT_HEIGHT + _BELOW
    for i, curve in enumerate(charts[0].curves):
        y = top + (i + 0.5) * _ROW
        canvas.polyline([(_LEFT, y), (_LEFT + 32, y)], color=color_of(i), width=2)
        draw_marker(canvas, i, _LEFT + 16, y, size=_MARKER_SIZE)
        canvas.anchored(_LEFT + 42, y, fit_name(curve.label, WIDTH - _LEFT - 50, _TEXT), anchor="start", size=_TEXT)
    return canvas


def _height(charts: Sequence[Chart]) -> int:
    return len(charts) * (_TOP + _PLOT_HEIGHT + _BELOW) + len(charts[0].curves) * _ROW + _ROW


def _draw_chart(canvas: Canvas, chart: Chart, top: float) -> None:
    """The title, axes and curves of a chart whose upper edge is at height `top`."""
    ticks = chart.ticks(6)
    low, high = ticks[0], ticks[-1]
    upper, lower = top + _TOP, top + _TOP + _PLOT_HEIGHT
    left, right = _LEFT, WIDTH - _RIGHT

    def x_of(epoch: float) -> float:
        return left + (right - left) * ((epoch - 1) / (chart.epochs - 1) if chart.epochs > 1 else 0.5)

    def y_of(value: float) -> float:
        return lower - (lower - upper) * (value - low) / (high - low)

    canvas.anchored(left, top + _TOP / 2, chart.title, anchor="start", size=_TITLE)
    for tick in ticks:
        canvas.polyline([(left, y_of(tick)), (right, y_of(tick))], color=_GRID, width=1)
        label = chart.format(tick, step=ticks[1] - ticks[0])
        canvas.anchored(left - 8, y_of(tick), label, anchor="end", size=_TEXT)
    canvas.polyline([(left, lower), (right, lower)], color=_AXIS, width=1)
    for epoch, label in chart.x_ticks(10):
        canvas.polyline([(x_of(epoch), lower), (x_of(epoch), lower + 4)], color=_AXIS, width=1)
        canvas.anchored(x_of(epoch), lower + 13, label, anchor="middle", size=_TEXT)
    canvas.anchored((left + right) / 2, lower + 31, chart.x_title, anchor="middle", size=_TEXT)
    for i, curve in enumerate(chart.curves):
        for part in segments(curve.values):
            if len(part) > 1:
                points = [(x_of(epoch), y_of(value)) for epoch, value in part]
                canvas.polyline(points, color=color_of(i), width=2)
    for i, curve in enumerate(chart.curves):
        every = max(1, ceil(len(curve.values) / _MOST_MARKERS))
        # Not all at the same epochs, so that markers of equal curves do not cover each other.
        offset = i * every // len(chart.curves)
        for part in segments(curve.values):
            for epoch, value in part:
                if epoch % every == offset % every or len(part) == 1:
                    draw_marker(canvas, i, x_of(epoch), y_of(value), size=_MARKER_SIZE)
