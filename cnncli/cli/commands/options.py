"""Arguments and options that several commands have, said once."""

from pathlib import Path
from typing import Annotated

import typer

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
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

DATA_DIR = Path("data")
