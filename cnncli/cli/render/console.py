"""The consoles, and what goes straight to them: errors and notices."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from cnncli.errors import CnncliError, Interrupted, Terminated

_PIPED_WIDTH = 200
"""Off a terminal nothing is cut: no layer table is wider than this."""


def out() -> Console:
    """Where results go."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)


def messages() -> Console:
    """Where messages and progress go."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)


def show_error(error: CnncliError) -> None:
    """Print what is wrong and what to do about it on stderr."""
    console = messages()
    asked_for = isinstance(error, Interrupted | Terminated)
    console.print(("" if asked_for else "[bold red]error:[/] ") + escape(error.message), soft_wrap=True)
    if error.remedy:
        console.print(Text(error.remedy, style="cyan"), soft_wrap=True)


def show_notice(text: str) -> None:
    """Print what a reader should know, but did not ask for, on stderr."""
    messages().print(Text(text), soft_wrap=True)
