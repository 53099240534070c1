"""A page of the lecture on the terminal: 80 columns of plain text off it, colours and a pause at each step on it."""

import sys
import textwrap
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from cnncli.cli.render.figures import TITLE, draw_figures
from cnncli.cli.render.medium import PLAIN_WIDTH, Medium
from cnncli.explain.page import Block, Figures, Formula, Heading, Page, Prose, Step, Table, TryNext

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
        case Prose():
            return [Text(line) for line in textwrap.wrap(block.text, medium.width, break_on_hyphens=False)]
        case Heading():
            return [Text(block.text, style="bold cyan"), Text("-" * len(block.text), style="cyan")]
        case Formula():
            return [Text(line, style="bold yellow") for line in _wrapped(block.text, medium.width)]
        case Figures():
            inner = Medium(medium.width - _INDENT, medium.colours)
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
            cells.append(cell.ljust(widths[i]) if i in table.words else cell.rjust(widths[i]))
        lines.append(" " * _INDENT + (" " * gap).join(cells).rstrip())
    return [Text(line, style="" if i else "bold") for i, line in enumerate(lines)]


def _cut(name: str, width: int) -> str:
    """A name without its beginning where it is too long: `..path3.conv2` of `inception1.branch1.path3.conv2`."""
    return name.ljust(width) if len(name) <= width else ".." + name[2 - width :]
