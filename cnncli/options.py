"""Arguments and options that several commands, lessons or views share, annotated as typer reads them."""

from pathlib import Path
from typing import Annotated, Literal

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
InvertOption = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option("--invert", help="Invert image files; auto: those with another background than the data set."),
]
FitOption = Annotated[
    Literal["auto", "none"],
    typer.Option(
        "--fit",
        help="Fit image files to the input. auto: keep proportions, crop and center as in the data set; none: stretch.",
    ),
]


def preparation_options(*, invert: str, fit: str) -> str:
    """`InvertOption` and `FitOption` as they are written on a command line; empty for their defaults."""
    given = (("--invert", invert), ("--fit", fit))
    return " ".join(f"{option} {value}" for option, value in given if value != "auto")
