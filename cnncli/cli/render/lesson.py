"""A page of the lecture: in a terminal with colors and a pause before each step, elsewhere 80 columns of plain text."""

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.text import Text

from cnncli.cli.render.tiles import (
    FAINT,
    GAP,
    PLAIN_WIDTH,
    Medium,
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
    Page,
    Paragraph,
    Step,
    Table,
    TryNext,
)

_MARKED, _TITLE = "bold black on cyan", "italic"
_LETTER_COLORS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_MAX_WIDTH = 100
"""Longer lines are hard to read."""
_INDENT = 2
_MIN_NAME = 12
"""Characters that the first column of a table keeps where there is little room."""
_CONTINUED = " \\"
_UP_AND_ERASE = "\x1b[1A\r\x1b[K"


def show_pages(pages: Iterable[Page], *, step: bool) -> None:
    """Print pages, each as soon as it is computed.

    Args:
        pages: in their order.
        step: wait for Enter before every step, if there is a terminal.
    """
    on_terminal = sys.stdout.isatty() and sys.stdin.isatty()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    medium = Medium.of(console, most=_MAX_WIDTH)
    pause = _wait if step and on_terminal else None
    for i, page in enumerate(pages):
        if i:
            console.print()
            if pause:
                pause()
        for line in page_lines(page, medium, pause):
            console.print(line, soft_wrap=True)


def _wait() -> None:
    """Wait for Enter, or for the end of the input, and erase the prompt."""
    sys.stderr.write("[Enter] ")
    sys.stderr.flush()
    sys.stderr.write(_UP_AND_ERASE if sys.stdin.readline() else "\n")
    sys.stderr.flush()


def page_lines(page: Page, medium: Medium, pause: Callable[[], None] | None = None) -> Iterator[Text]:
    """The lines of a page; `pause` is called before each step, after the lines before it have been taken."""
    yield Text(page.title, style="bold")
    yield Text("=" * len(page.title), style="bold")
    before: Block | None = None
    for block in page.blocks:
        if isinstance(block, Step) and pause:
            pause()
        yield from _gap(before, block)
        yield from _block_lines(block, medium)
        before = block


def _gap(before: Block | None, block: Block) -> list[Text]:
    """An empty line between blocks, except between consecutive formulas."""
    return [] if isinstance(before, Formula) and isinstance(block, Formula) else [Text()]


def _block_lines(block: Block, medium: Medium) -> list[Text]:
    match block:
        case Paragraph():
            return [Text(line) for line in textwrap.wrap(block.text, medium.width, break_on_hyphens=False)]
        case Heading():
            return [Text(block.text, style="bold cyan"), Text("-" * len(block.text), style="cyan")]
        case Formula():
            return [Text(line, style="bold yellow") for line in _wrapped(block.text, medium.width)]
        case Figures():
            lines = _figures(block, Medium(medium.width - _INDENT, medium.colors))
            return [Text.assemble(" " * _INDENT, line) if line.cell_len else line for line in lines]
        case Table():
            return _table(block, medium.width)
        case TryNext():
            commands = [line for command in block.commands for line in _command(f"cnncli {command}", medium.width)]
            return [Text("try next:", style=_TITLE), *commands]
        case Step():
            pairs = zip((None, *block.blocks), block.blocks, strict=False)
            lines = [line for before, each in pairs for line in (*_gap(before, each), *_block_lines(each, medium))]
            return [Text(block.title, style="bold"), *lines[1:]]


def _wrapped(text: str, width: int) -> list[str]:
    """Indented lines; continuation lines are indented further."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * _INDENT,
        subsequent_indent=" " * 2 * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _command(command: str, width: int) -> list[Text]:
    """A command on one line, or on several with the shell's continuation character."""
    fits = _INDENT + len(command) <= width
    *continued, last = _wrapped(command, width - (0 if fits else len(_CONTINUED)))
    return [Text(line, style="green") for line in (*(each + _CONTINUED for each in continued), last)]


def _table(table: Table, width: int) -> list[Text]:
    """Text to the left, numbers to the right; in a narrow terminal, columns are closer and long names are cut."""
    rows = [table.headings, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.headings))]
    gap = 2 if _INDENT + sum(widths) + 2 * (len(widths) - 1) <= width else 1
    widths[0] = min(widths[0], max(_MIN_NAME, width - _INDENT - sum(widths[1:]) - gap * (len(widths) - 1)))
    lines = []
    for name, *others in rows:
        # `..path3.conv2` for `inception1.branch1.path3.conv2`
        cells = [name.ljust(widths[0]) if len(name) <= widths[0] else ".." + name[2 - widths[0] :]]
        for i, cell in enumerate(others, 1):
            cells.append(cell.ljust(widths[i]) if i in table.text_columns else cell.rjust(widths[i]))
        lines.append(" " * _INDENT + (" " * gap).join(cells).rstrip())
    return [Text(line, style="" if i else "bold") for i, line in enumerate(lines)]


def _figures(figures: Figures, medium: Medium) -> list[Text]:
    """Figures side by side; those that do not fit are below."""
    rows: list[list[list[Text]]] = [[]]
    used = 0
    for part in figures.parts:
        lines = [Text(part)] if isinstance(part, str) else _figure(part, medium)
        width = width_of(lines) + GAP
        # An operator that would end a row begins the next one.
        if rows[-1] and used + width - GAP > medium.width - (4 if isinstance(part, str) else 0):
            rows.append([])
            used = 0
        rows[-1].append(lines)
        used += width
    return [line for i, row in enumerate(rows) for line in ([Text()] if i else []) + beside(row)]


def _figure(figure: Grid | Heatmap | LetterMap, medium: Medium) -> list[Text]:
    """A figure under its title."""
    match figure:
        case Grid():
            lines = _grid(figure)
        case LetterMap():
            lines = [_letters(row) for row in figure.rows]
        case Heatmap():
            lines = _heatmap(figure, medium)
    return ([Text(figure.title, style=_TITLE)] if figure.title else []) + lines


def _grid(grid: Grid) -> list[Text]:
    """Right-aligned columns; marked cells are in brackets, so that they also stand out without color."""
    width = max(len(cell) for row in grid.cells for cell in row)
    lines = []
    for i, row in enumerate(grid.cells):
        line = Text()
        for j, cell in enumerate(row):
            if (i, j) in grid.marked:
                line.append(f"[{cell:>{width}}]", style=_MARKED)
                continue
            # A grid without marks needs no room for brackets.
            left, right = (" ", " ") if grid.marked else (" " if j else "", "")
            line.append(f"{left}{cell:>{width}}{right}", style=FAINT if (i, j) in grid.faint else "")
        lines.append(line)
    return lines


def _letters(row: str) -> Text:
    line = Text()
    for letter in row:
        style = FAINT if letter == "." else _LETTER_COLORS[int(letter, 36) % len(_LETTER_COLORS)]
        line.append(f"{letter} ", style=style)
    return line


def _heatmap(heatmap: Heatmap, medium: Medium) -> list[Text]:
    """Shades; a box is marked by `v` above its columns and `>` before its rows."""
    rows, columns = heatmap.rows, heatmap.columns
    room = medium.width - (0 if rows is None or columns is None else 2)
    step = thinning(heatmap.values.shape[1], room if medium.colors else room // 2)
    values = heatmap.values[::step, ::step]
    rising = Scale(low=float(values.min()), high=float(values.max()), signed=False)
    scale = Scale.symmetric(values) if heatmap.signed else rising
    lines = half_block_lines(scale_pixels(values, scale, medium)) if medium.colors else shade_lines(values, scale)
    if rows is not None and columns is not None:
        # In color, a character is one pixel wide and two high; without, a pixel is two characters wide.
        wide, high = (1, 2) if medium.colors else (2, 1)
        left, right = (each // step for each in columns)
        above = Text("  " + " " * (left * wide) + "v" * ((right - left + 1) * wide), style="bold cyan")
        within = range(rows[0] // step // high, rows[1] // step // high + 1)
        lines = [Text.assemble(("> " if y in within else "  ", "bold cyan"), line) for y, line in enumerate(lines)]
        lines.insert(0, above)
    if step > 1:
        lines.append(thinning_note(step))
    return lines
