"""The consoles for results and messages; errors and notices.

Text from outside cannot steer the terminal: whatever a console prints has its control characters escaped.
"""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from cnncli.errors import CnncliError, Stopped
from cnncli.printable import printable

_PIPED_WIDTH = 200
"""Width if the output is not a terminal; no layer table is wider."""


class SafeConsole(Console):
    """A console whose text is printable; only rich's own styles and controls reach the terminal as such."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console.render`, through which all text goes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def out(*, piped_width: int | None = None) -> Console:
    """The console for results; `piped_width` characters wide (default 200) if the output is not a terminal."""
    return SafeConsole(width=None if sys.stdout.isatty() else piped_width or _PIPED_WIDTH, highlight=False, emoji=False)


def messages() -> Console:
    """The console for messages and progress, on stderr."""
    width = None if sys.stderr.isatty() else _PIPED_WIDTH
    return SafeConsole(stderr=True, width=width, highlight=False, emoji=False)


def show_error(error: CnncliError) -> None:
    """Print an error and its remedy on stderr."""
    console = messages()
    requested = isinstance(error, Stopped)
    heading = ("", "") if requested else ("error:", "bold red")
    space = "" if requested else " "
    console.print(Text.assemble(heading, space, printable(error.message)), soft_wrap=True)
    if error.remedy:
        console.print(Text(printable(error.remedy), style="cyan"), soft_wrap=True)


def show_notice(text: str) -> None:
    """Print a message on stderr."""
    messages().print(Text(printable(text)), soft_wrap=True)
