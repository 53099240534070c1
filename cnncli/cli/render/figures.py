"""Grids, pictures and maps as lines of a terminal, in colour or in plain characters."""

from rich.text import Text

from cnncli.cli.render.cells import (
    FAINT,
    GAP,
    beside,
    half_block_lines,
    scale_pixels,
    shade_lines,
    thinning,
    thinning_note,
    width_of,
)
from cnncli.cli.render.medium import Medium
from cnncli.explain.page import Figures, Grid, LetterMap, Picture, Sign
from cnncli.pictures.colour import Scale

MARKED, TITLE = "bold black on cyan", "italic"
_LETTERS = ("cyan", "yellow", "green", "magenta", "blue", "red")


def draw_figures(figures: Figures, medium: Medium) -> list[Text]:
    """Figures side by side as far as they fit, the others below."""
    drawn = [[Text(part.text)] if isinstance(part, Sign) else draw_figure(part, medium) for part in figures.parts]
    rows: list[list[list[Text]]] = [[]]
    used = 0
    for part, lines in zip(figures.parts, drawn, strict=True):
        width = width_of(lines) + GAP
        # A sign that would end a row begins the next one.
        if rows[-1] and used + width - GAP > medium.width - (4 if isinstance(part, Sign) else 0):
            rows.append([])
            used = 0
        rows[-1].append(lines)
        used += width
    return [line for i, row in enumerate(rows) for line in ([Text()] if i else []) + beside(row)]


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
    step = thinning(picture.values.shape[1], room if medium.colours else room // 2)
    values = picture.values[::step, ::step]
    rising = Scale(low=float(values.min()), high=float(values.max()), signed=False)
    scale = Scale.symmetric(values) if picture.signed else rising
    lines = half_block_lines(scale_pixels(values, scale, medium)) if medium.colours else shade_lines(values, scale)
    if picture.rows is not None and picture.columns is not None:
        lines = _box_marked(lines, picture.rows, picture.columns, step, tall=not medium.colours)
    if step > 1:
        lines.append(thinning_note(step))
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
