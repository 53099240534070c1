"""A page of the lecture on the terminal: 80 columns of plain text off it, colors and a pause at each step on it."""

import sys
import textwrap
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from cnncli.cli.render.medium import PLAIN_WIDTH, Medium
from cnncli.cli.render.tiles import (
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
from cnncli.drawing.color import Scale
from cnncli.lessons.page import (
    Block,
    Figures,
    Formula,
    Grid,
    Heading,
    Heatmap,
    LetterMap,
    Operator,
    Page,
    Paragraph,
    Step,
    Table,
    TryNext,
)

MARKED, TITLE = "bold black on cyan", "italic"
_LETTERS = ("cyan", "yellow", "green", "magenta", "blue", "red")


def draw_figures(figures: Figures, medium: Medium) -> list[Text]:
    """Figures side by side as far as they fit, the others below."""
    drawn = [[Text(part.text)] if isinstance(part, Operator) else draw_figure(part, medium) for part in figures.parts]
    rows: list[list[list[Text]]] = [[]]
    used = 0
    for part, lines in zip(figures.parts, drawn, strict=True):
        width = width_of(lines) + GAP
        # A sign that would end a row begins the next one.
        if rows[-1] and used + width - GAP > medium.width - (4 if isinstance(part, Operator) else 0):
            rows.append([])
            used = 0
        rows[-1].append(lines)
        used += width
    return [line for i, row in enumerate(rows) for line in ([Text()] if i else []) + beside(row)]


def draw_figure(part: Grid | Heatmap | LetterMap, medium: Medium) -> list[Text]:
    """One figure under its title."""
    match part:
        case Grid():
            lines = _grid(part)
        case LetterMap():
            lines = [_letters(row) for row in part.rows]
        case Heatmap():
            lines = _picture(part, medium)
    return ([Text(part.title, style=TITLE)] if part.title else []) + lines


def _grid(grid: Grid) -> list[Text]:
    """Right-aligned columns; marked cells in square brackets, so that they stand out without color too."""
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


def _picture(picture: Heatmap, medium: Medium) -> list[Text]:
    """Shades, with a mark above every column and before every row of the box, if there is one."""
    boxed = picture.rows is not None and picture.columns is not None
    room = medium.width - (2 if boxed else 0)
    step = thinning(picture.values.shape[1], room if medium.colors else room // 2)
    values = picture.values[::step, ::step]
    rising = Scale(low=float(values.min()), high=float(values.max()), signed=False)
    scale = Scale.symmetric(values) if picture.signed else rising
    lines = half_block_lines(scale_pixels(values, scale, medium)) if medium.colors else shade_lines(values, scale)
    if picture.rows is not None and picture.columns is not None:
        lines = _box_marked(lines, picture.rows, picture.columns, step, tall=not medium.colors)
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


_MOST_WIDTH = 100
"""Longer lines are hard to read."""
_INDENT = 2
_LEAST_NAME = 12
_CONTINUED = " \\"
_UP_AND_ERASE = "\x1b[1A\r\x1b[K"


def show_pages(pages: Iterable[Page], *, step: bool) -> None:
    """Print pages, each as soon as it is there.

    Args:
        pages: in their order.
        step: wait for Enter before every step; off a terminal nobody can press it, and nothing waits.
    """
    on_terminal = sys.stdout.isatty() and sys.stdin.isatty()
    console, medium = _console()
    pause = _wait if step and on_terminal else None
    for i, page in enumerate(pages):
        if i:
            console.print()
            if pause:
                pause()
        for line in page_lines(page, medium, pause):
            console.print(line, soft_wrap=True)


def _console() -> tuple[Console, Medium]:
    """The console for results, and what can be drawn on it."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    return console, Medium.of(console, most=_MOST_WIDTH)


def _wait() -> None:
    """Wait for Enter, and take the request for it away again; the end of input counts as Enter."""
    sys.stderr.write("[Enter] ")
    sys.stderr.flush()
    sys.stderr.write(_UP_AND_ERASE if sys.stdin.readline() else "\n")
    sys.stderr.flush()


def page_lines(page: Page, medium: Medium, pause: Callable[[], None] | None) -> Iterable[Text]:
    """The lines of a page, one by one, so that a pause falls between those before and those after it."""
    yield Text(page.title, style="bold")
    yield Text("=" * len(page.title), style="bold")
    before: Block | None = None
    for block in page.blocks:
        if isinstance(block, Step) and pause:
            pause()
        yield from _gap(before, block)
        yield from block_lines(block, medium)
        before = block


def _gap(before: Block | None, block: Block) -> list[Text]:
    """An empty line between blocks, but none between formulas that follow from one another."""
    return [] if isinstance(before, Formula) and isinstance(block, Formula) else [Text()]


def block_lines(block: Block, medium: Medium) -> list[Text]:
    """The lines of one block."""
    match block:
        case Paragraph():
            return [Text(line) for line in textwrap.wrap(block.text, medium.width, break_on_hyphens=False)]
        case Heading():
            return [Text(block.text, style="bold cyan"), Text("-" * len(block.text), style="cyan")]
        case Formula():
            return [Text(line, style="bold yellow") for line in _wrapped(block.text, medium.width)]
        case Figures():
            inner = Medium(medium.width - _INDENT, medium.colors)
            return [_indented(line) for line in draw_figures(block, inner)]
        case Table():
            return _table(block, medium.width)
        case TryNext():
            return [
                Text("try next:", style=TITLE),
                *(line for each in block.commands for line in _command(each, medium)),
            ]
        case Step():
            pairs = zip((None, *block.blocks), block.blocks, strict=False)
            lines = [line for before, each in pairs for line in (*_gap(before, each), *block_lines(each, medium))]
            return [Text(block.title, style="bold"), *lines[1:]]


def _command(words: str, medium: Medium) -> list[Text]:
    """A command on one line, or on several as a shell reads them."""
    command = f"cnncli {words}"
    fits = _INDENT + len(command) <= medium.width
    lines = _wrapped(command, medium.width - (0 if fits else len(_CONTINUED)))
    return [Text(line + (_CONTINUED if i < len(lines) - 1 else ""), style="green") for i, line in enumerate(lines)]


def _wrapped(text: str, width: int) -> list[str]:
    """Indented lines, what goes on below indented further."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * _INDENT,
        subsequent_indent=" " * 2 * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _indented(line: Text) -> Text:
    return Text.assemble(" " * _INDENT, line) if line.cell_len else line


def _table(table: Table, width: int) -> list[Text]:
    """Words to the left and numbers to the right, two spaces apart; closer, and long names cut, where room is short."""
    rows = [table.headings, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.headings))]
    gap = 2 if _INDENT + sum(widths) + 2 * (len(widths) - 1) <= width else 1
    widths[0] = min(widths[0], max(_LEAST_NAME, width - _INDENT - sum(widths[1:]) - gap * (len(widths) - 1)))
    lines = []
    for name, *others in rows:
        cells = [_cut(name, widths[0])]
        for i, cell in enumerate(others, 1):
            cells.append(cell.ljust(widths[i]) if i in table.text_columns else cell.rjust(widths[i]))
        lines.append(" " * _INDENT + (" " * gap).join(cells).rstrip())
    return [Text(line, style="" if i else "bold") for i, line in enumerate(lines)]


def _cut(name: str, width: int) -> str:
    """A name without its beginning where it is too long: `..path3.conv2` of `inception1.branch1.path3.conv2`."""
    return name.ljust(width) if len(name) <= width else ".." + name[2 - width :]
