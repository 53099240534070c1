"""Lines on stdout and stderr that need no styles."""

import typer

from cnncli.printable import printable


def print_line(text: object, *, err: bool = False, newline: bool = True) -> None:
    """Print a path or other text, with control characters from outside escaped."""
    typer.echo(printable(str(text)), err=err, nl=newline)
