"""Numbers that are written `3x224x224` or `2,5` on the command line."""

from typing import Annotated

import typer

from cnncli.errors import UsageError

InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="CxHxW", help="Shape of one input, such as 3x224x224; a config knows its own."),
]


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """`3x224x224` as numbers.

    Raises:
        UsageError: it is not written so.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) < 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--input {text} is not a shape", remedy="give channels and sizes: --input 3x224x224")
    return tuple(map(int, parts))


def parse_place(text: str, option: str) -> tuple[int, ...]:
    """`2,5` as numbers.

    Raises:
        UsageError: it is not written so.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"{option} {text} is not a place", remedy=f"give row and column: {option} 2,5")
    return tuple(int(part) for part in parts)
