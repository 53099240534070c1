"""Arguments and options that several commands, lessons or views share, annotated as typer reads them."""

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CFG", help="A YAML config, or the name of a bundled one such as lenet5.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Override a config field, such as train.epochs=3. Repeatable."),
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="CNNCLI_DATA", help="Directory of data sets and downloads.")
]
DATA_DIR = Path("data")
"""The default of `DataDirOption`."""
InvertOption = Annotated[bool, typer.Option("--invert", help="Invert an image file, for dark ink on light paper.")]
