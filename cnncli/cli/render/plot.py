"""Curves in the terminal: dots of Braille characters where there are colors, letters elsewhere; and sparklines."""

from collections.abc import Sequence
from itertools import pairwise

from cnncli.drawing.chart import Chart, segments
from cnncli.inspection.formatting import Line

STYLES = ("cyan", "yellow", "magenta", "green", "blue", "red")
"""The colors of curves."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_DIGITS = "0123456789"
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of the dots of a Braille character, four rows of two."""
_SEVERAL = "*"
_HEIGHT = 10
_MAX_WIDTH = 100


def curve_style(number: int) -> str:
    """The style of the n-th curve, from 0."""
    return STYLES[number % len(STYLES)]


def sparkline(values: Sequence[float | None], *, width: int, encoding: str) -> str:
    """Values as one character each, from the lowest to the highest of them: blocks, or digits in other encodings.

    Args:
        values: None is a blank.
        width: characters, at most; of more values, each character shows the last one of its share.
        encoding: of the output.
    """
    count = min(width, len(values))
    shown = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    levels = _BLOCKS if _can_encode(_BLOCKS, encoding) else _DIGITS
    low, span = min(known), max(known) - min(known)
    return "".join(
        " " if value is None else levels[round((value - low) / span * (len(levels) - 1)) if span else -1]
        for value in shown
    )


def bar(length: int, *, encoding: str) -> str:
    """A bar of as many characters: blocks, or `#` in encodings without them."""
    return ("█" if _can_encode("█", encoding) else "#") * length


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plot_lines(chart: Chart, *, width: int, colors: bool, encoding: str) -> list[Line]:
    """The lines of a plot: title, curves with both axes, legend.

    Args:
        chart: what is drawn.
        width: characters in a line.
        colors: whether styles tell curves apart.
        encoding: of the output.
    """
    ticks = chart.ticks(5)
    step = ticks[1] - ticks[0]
    labels = {round((_HEIGHT - 1) * (ticks[-1] - tick) / (ticks[-1] - ticks[0])): tick for tick in ticks}
    margin = max(len(chart.format(tick, step=step)) for tick in ticks)
    columns = max(10, min(width, _MAX_WIDTH) - margin - 2)
    told_apart = len(chart.curves) <= (len(STYLES) if colors else 1)
    braille = told_apart and _can_encode(chr(_BRAILLE), encoding)
    rows = _braille_rows(chart, ticks, columns) if braille else _letter_rows(chart, ticks, columns)
    axis = "|+-" if not _can_encode("│┤─", encoding) else "│┤─"
    lines: list[Line] = [[(chart.title, "bold")]]
    for number, row in enumerate(rows):
        text = chart.format(labels[number], step=step) if number in labels else ""
        lines.append([(f"{text:>{margin}} {axis[1] if text else axis[0]}", "dim"), *row])
    lines.append([(" " * (margin + 1) + axis[2] * (columns + 1), "dim")])
    lines.append([(" " * (margin + 2) + _x_axis(chart, columns), "dim")])
    return [*lines, *_legend(chart, margin + 1, width=width, sign=None if not braille else "━")]


def _legend(chart: Chart, indent: int, *, width: int, sign: str | None) -> list[Line]:
    """The labels of several curves, on as many lines as they need.

    Args:
        chart: the curves.
        indent: blanks in front of each line.
        width: characters in a line.
        sign: the sample of a line in the color of the curve; None for the letters of the curves.
    """
    if len(chart.curves) == 1:
        return []
    entries = [(sign or curve.mark, curve_style(i), curve.label) for i, curve in enumerate(chart.curves)]
    if sign is None:
        entries.append((_SEVERAL, "", "several"))
    lines: list[Line] = []
    used = width
    for mark, style, label in entries:
        if used + len(label) + 4 > width:
            lines.append([(" " * indent, "")])
            used = indent
        lines[-1] += [(f" {mark} ", style), (f"{label} ", "")]
        used += len(label) + 4
    return lines


def _positions(chart: Chart, ticks: Sequence[float], wide: int, high: int) -> list[set[tuple[int, int]]]:
    """The cells (row, column) of a grid that each curve passes through."""
    found = []
    for curve in chart.curves:
        cells: set[tuple[int, int]] = set()
        for part in segments(curve.values):
            points = [
                (
                    (epoch - 1) / max(1, chart.epochs - 1) * (wide - 1) if chart.epochs > 1 else wide / 2,
                    (ticks[-1] - value) / (ticks[-1] - ticks[0]) * (high - 1),
                )
                for epoch, value in part
            ]
            cells |= {(round(y), round(x)) for x, y in points}
            for (x0, y0), (x1, y1) in pairwise(points):
                steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
                cells |= {
                    (round(y0 + (y1 - y0) * i / steps), round(x0 + (x1 - x0) * i / steps)) for i in range(steps + 1)
                }
        found.append(cells)
    return found


def _braille_rows(chart: Chart, ticks: Sequence[float], columns: int) -> list[Line]:
    """Each row as spans; a character has the color of the last curve that passes through it."""
    bits = [[0] * columns for _ in range(_HEIGHT)]
    owner = [[-1] * columns for _ in range(_HEIGHT)]
    for number, cells in enumerate(_positions(chart, ticks, 2 * columns, 4 * _HEIGHT)):
        for y, x in cells:
            bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            owner[y // 4][x // 2] = number
    return [
        [(chr(_BRAILLE + bit) if bit else " ", curve_style(who) if bit else "") for bit, who in zip(*row, strict=True)]
        for row in zip(bits, owner, strict=True)
    ]


def _letter_rows(chart: Chart, ticks: Sequence[float], columns: int) -> list[Line]:
    cells: dict[tuple[int, int], str] = {}
    for curve, positions in zip(chart.curves, _positions(chart, ticks, columns, _HEIGHT), strict=True):
        for position in positions:
            cells[position] = _SEVERAL if position in cells else curve.mark
    return [[("".join(cells.get((y, x), " ") for x in range(columns)), "")] for y in range(_HEIGHT)]


def _x_axis(chart: Chart, columns: int) -> str:
    """The labels of the axis, each below its position."""
    text = [" "] * columns
    free_from, epochs = 0, chart.epochs
    for epoch, number in chart.x_ticks(max(2, columns // 8)):
        label = f"{chart.x_title} {number}" if epoch == 1 else number
        middle = (epoch - 1) / (epochs - 1) * (columns - 1) if epochs > 1 else columns / 2
        start = max(0, min(columns - len(label), round(middle) - (len(label) - 1) // 2))
        if epochs > 1 and epoch == 1:
            start = 0
        if start >= free_from:
            text[start : start + len(label)] = label
            free_from = start + len(label) + 1
    return "".join(text).rstrip()
