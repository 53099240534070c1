"""Arguments and options that several commands have, said once."""

from pathlib import Path
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


ConfigArgument = Annotated[
    str, typer.Argument(metavar="CFG", help="A YAML config, or the name of a bundled one such as lenet5.")
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field for this run, e.g. train.epochs=3. Repeatable."),
]
DataDirOption = Annotated[
    Path,
    typer.Option("--data-dir", envvar="CNNCLI_DATA", help="Where data sets are, and where downloads go."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
InvertOption = Annotated[
    bool, typer.Option("--invert", help="Turn black to white in picture files, as for ink on paper.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

DATA_DIR = Path("data")
