"""The consoles for results and messages; errors and notices."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from cnncli.errors import CnncliError, Stopped

_PIPED_WIDTH = 200
"""Width if the output is not a terminal; no layer table is wider."""


def out() -> Console:
    """The console for results."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)


def messages() -> Console:
    """The console for messages and progress, on stderr."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)


def show_error(error: CnncliError) -> None:
    """Print an error and its remedy on stderr."""
    console = messages()
    requested = isinstance(error, Stopped)
    console.print(("" if requested else "[bold red]error:[/] ") + escape(error.message), soft_wrap=True)
    if error.remedy:
        console.print(Text(error.remedy, style="cyan"), soft_wrap=True)


def show_notice(text: str) -> None:
    """Print a message on stderr."""
    messages().print(Text(text), soft_wrap=True)
