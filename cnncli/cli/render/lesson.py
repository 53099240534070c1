"""A page of the lecture: in a terminal with colors and a pause before each step, elsewhere 80 columns of plain text."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import typer
from rich.console import Console
from rich.text import Text

from cnncli.cli.render.console import out
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
_PROMPT = "[Enter] next, b back, q quit "
_ERASE = "\r\x1b[K"
_KEYS: Mapping[str, Literal["next", "back", "quit"]] = {
    **dict.fromkeys(("\r", "\n", " ", "\x1b[C"), "next"),  # the last one is the right arrow
    **dict.fromkeys(("b", "B", "\x1b[D"), "back"),
    **dict.fromkeys(("q", "Q"), "quit"),
}


def show_pages(pages: Iterable[Page], *, step: bool) -> None:
    """Print pages, each as soon as it is computed.

    Args:
        pages: in their order.
        step: wait for a key before every step, if there is a terminal.
    """
    on_terminal = sys.stdout.isatty() and sys.stdin.isatty()
    console = out(piped_width=PLAIN_WIDTH)
    medium = Medium.of(console, most=_MAX_WIDTH)
    if step and on_terminal:
        _step_through(_parts_of_pages(pages, medium), console)
        return
    for i, page in enumerate(pages):
        if i:
            console.print()
        for line in page_lines(page, medium):
            console.print(line, soft_wrap=True)


@dataclass(frozen=True)
class _Part:
    """The lines of a page up to its next step; `page` counts the pages."""

    page: int
    lines: Sequence[Text]


def _parts_of_pages(pages: Iterable[Page], medium: Medium) -> Iterator[_Part]:
    for number, page in enumerate(pages):
        for lines in _page_parts(page, medium):
            yield _Part(number, lines)


def _step_through(parts: Iterator[_Part], console: Console) -> None:
    """Print part after part, each at a key: Enter or space for the next, `b` for the one before, `q` to quit.

    To go back, the screen is cleared, and the page is printed again up to the part before.
    """
    shown: list[_Part] = []
    place = -1
    while True:
        if place + 1 == len(shown):
            following = next(parts, None)
            if following is None:
                return
            shown.append(following)
        place += 1
        if place:
            match _ask():
                case "quit":
                    return
                case "back":
                    place = max(0, place - 2)
                    page = shown[place].page
                    console.clear()
                    for part in shown[: place + 1]:
                        if part.page == page:
                            _print(part.lines, console)
                    continue
            if shown[place].page != shown[place - 1].page:
                console.print()
        _print(shown[place].lines, console)


def _print(lines: Iterable[Text], console: Console) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _ask() -> Literal["next", "back", "quit"]:
    """Wait for a key, and erase the prompt. The end of the input quits."""
    sys.stderr.write(_PROMPT)
    sys.stderr.flush()
    try:
        while True:
            typed = typer.getchar()  # several characters if they were typed ahead, or if one key sends them
            for key in [typed] if typed.startswith("\x1b") else typed:
                if key in _KEYS:
                    return _KEYS[key]
    except EOFError:
        return "quit"
    finally:
        sys.stderr.write(_ERASE)
        sys.stderr.flush()


def page_lines(page: Page, medium: Medium) -> Iterator[Text]:
    """The lines of a page."""
    for lines in _page_parts(page, medium):
        yield from lines


def _page_parts(page: Page, medium: Medium) -> Iterator[list[Text]]:
    """The lines of a page, in parts of which all but the first begin with a step."""
    lines = [Text(page.title, style="bold"), Text("=" * len(page.title), style="bold")]
    before: Block | None = None
    for block in page.blocks:
        if isinstance(block, Step):
            yield lines
            lines = []
        lines += [*_gap(before, block), *_block_lines(block, medium)]
        before = block
    yield lines


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
