"""Grids, pictures and maps as lines of a terminal, in colour or in plain characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.style import Style
from rich.text import Text

from cnncli.explain.page import Figures, Grid, LetterMap, Picture, Sign, Values
from cnncli.pictures.colour import Pixels, Scale, sequential

FAINT, MARKED, TITLE = "dim", "bold black on cyan", "italic"
_LETTERS = ("cyan", "yellow", "green", "magenta", "blue", "red")

_GROUND = ". "
"""The lowest of the shades, and the middle of the signed ones: faint, and still there to show where a picture ends."""
_RISING = (_GROUND, *(2 * each for each in ".:-=+*#%@"))
_SIGNED = {-2: "==", -1: "--", 0: _GROUND, 1: "++", 2: "##"}
_GAP = 3


@dataclass(frozen=True)
class Medium:
    """What is drawn on: how wide it is, and whether it has colours (and characters beyond ASCII)."""

    width: int
    colours: bool


def draw_figures(figures: Figures, medium: Medium) -> list[Text]:
    """Figures side by side as far as they fit, the others below."""
    drawn = [[Text(part.text)] if isinstance(part, Sign) else draw_figure(part, medium) for part in figures.parts]
    rows: list[list[list[Text]]] = [[]]
    used = 0
    for part, lines in zip(figures.parts, drawn, strict=True):
        width = _width(lines) + _GAP
        # A sign that would end a row begins the next one.
        if rows[-1] and used + width - _GAP > medium.width - (4 if isinstance(part, Sign) else 0):
            rows.append([])
            used = 0
        rows[-1].append(lines)
        used += width
    return [line for i, row in enumerate(rows) for line in ([Text()] if i else []) + _beside(row)]


def draw_figure(part: Grid | Picture | LetterMap, medium: Medium) -> list[Text]:
    """One figure under its title."""
    match part:
        case Grid():
            lines = _grid(part)
        case LetterMap():
            lines = [_letters(row) for row in part.rows]
        case Picture():
            lines = _picture(part, medium)
    return ([Text(part.title, style=TITLE)] if part.title else []) + lines


def _beside(columns: Sequence[list[Text]]) -> list[Text]:
    """Columns of lines side by side; signs (a single line) at the height of the middle of the shortest column."""
    height = max(map(len, columns))
    middle = min((len(column) for column in columns if len(column) > 1), default=1) // 2
    lines = [Text() for _ in range(height)]
    for i, column in enumerate(columns):
        width = _width(column)
        above = middle if len(column) == 1 else 0
        for y, line in enumerate(lines):
            cell = column[y - above] if 0 <= y - above < len(column) else Text()
            if i:
                line.append(" " * _GAP)
            line.append_text(cell)
            line.append(" " * (width - cell.cell_len))
    for line in lines:
        line.rstrip()
    return lines


def _width(lines: Sequence[Text]) -> int:
    return max((line.cell_len for line in lines), default=0)


def _grid(grid: Grid) -> list[Text]:
    """Right-aligned columns; marked cells in square brackets, so that they stand out without colour too."""
    width = max(len(cell) for row in grid.cells for cell in row)
    lines = []
    for i, row in enumerate(grid.cells):
        line = Text()
        for j, cell in enumerate(row):
            if (i, j) in grid.marked:
                line.append(f"[{cell:>{width}}]", style=MARKED)
                continue
            # Without marks anywhere the columns may stand closer.
            left, right = (" ", " ") if grid.marked else (" " if j else "", "")
            line.append(f"{left}{cell:>{width}}{right}", style=FAINT if (i, j) in grid.faint else "")
        lines.append(line)
    return lines


def _letters(row: str) -> Text:
    line = Text()
    for letter in row:
        style = FAINT if letter == "." else _LETTERS[int(letter, 36) % len(_LETTERS)]
        line.append(f"{letter} ", style=style)
    return line


def _picture(picture: Picture, medium: Medium) -> list[Text]:
    """Shades, with a mark above every column and before every row of the box, if there is one."""
    boxed = picture.rows is not None and picture.columns is not None
    room = medium.width - (2 if boxed else 0)
    step = math.ceil(picture.values.shape[1] / (room if medium.colours else room // 2))
    values = picture.values[::step, ::step]
    low, high = float(values.min()), float(values.max())
    if medium.colours:
        scale = Scale.symmetric(values) if picture.signed else None
        pixels = sequential(values, low, high) if scale is None else scale.colours(values)
        lines = half_block_lines(pixels)
    else:
        lines = [Text(_shades(row, low, high, signed=picture.signed)) for row in values]
    if picture.rows is not None and picture.columns is not None:
        lines = _box_marked(lines, picture.rows, picture.columns, step, tall=not medium.colours)
    if step > 1:
        lines.append(Text(f"(one pixel in {step} is shown)", style=FAINT))
    return lines


def _box_marked(
    lines: list[Text], rows: tuple[int, int], columns: tuple[int, int], step: int, *, tall: bool
) -> list[Text]:
    """`v` above the columns and `>` before the rows of a box; `tall`: a line is one row of pixels, two characters."""
    wide, high = (2, 1) if tall else (1, 2)
    first, last = (each // step for each in columns)
    above = Text("  " + " " * (first * wide) + "v" * ((last - first + 1) * wide), style="bold cyan")
    within = range(rows[0] // step // high, rows[1] // step // high + 1)
    return [above, *(Text.assemble(("> " if y in within else "  ", "bold cyan"), line) for y, line in enumerate(lines))]


def half_block_lines(pixels: Pixels) -> list[Text]:
    """A picture (H, W, 3) in colour, two rows of pixels to a line."""
    return [_half_blocks(upper, lower) for upper, lower in _pairs(pixels)]


def _pairs(pixels: Pixels) -> list[tuple[Pixels, Pixels | None]]:
    """Rows of pixels two by two; the last may be alone."""
    return [(pixels[y], pixels[y + 1] if y + 1 < len(pixels) else None) for y in range(0, len(pixels), 2)]


def _half_blocks(upper: Pixels, lower: Pixels | None) -> Text:
    """Two rows of pixels in one line: the upper half of each character in front, the lower behind."""
    line = Text()
    for x, colour in enumerate(upper):
        behind = None if lower is None else _hex(lower[x])
        line.append("\u2580", style=Style(color=_hex(colour), bgcolor=behind))
    return line


def _hex(colour: Pixels) -> str:
    red, green, blue = (int(each) for each in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _shades(row: Values, low: float, high: float, *, signed: bool) -> str:
    """A row of pixels, two characters each, because characters are about twice as high as wide."""
    if signed:
        largest = max(abs(low), abs(high)) or 1.0
        levels = np.sign(row) * np.ceil(np.abs(row) / largest * 3 - 1).clip(0, 2)
        return "".join(_SIGNED[int(level)] for level in levels)
    positions = (row - low) / ((high - low) or 1.0) * (len(_RISING) - 1)
    return "".join(_RISING[round(float(position))] for position in positions)
