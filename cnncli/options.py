"""Arguments and options that several commands, lessons or views share, annotated as typer reads them."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CFG", help="A YAML config, the name of a bundled one such as lenet5, or - for stdin.")
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
RUNS_DIR = Path("runs")
"""The default of `OutOption`, `RunsDirOption` and `RunsArgument`."""
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", envvar="CNNCLI_OUT", help="The folder for run directories.")
]
RunsDirOption = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", envvar="CNNCLI_OUT", help="The folder of run directories.")
]
RunsArgument = Annotated[
    Path, typer.Argument(metavar="RUNS", envvar="CNNCLI_OUT", help="A folder of runs, or one run directory.")
]

MAX_THREADS = 1024
"""More threads than any machine has cores; the system refuses to start tens of thousands, which ends the process."""
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=MAX_THREADS,
        metavar="N",
        envvar="CNNCLI_THREADS",
        help="CPU threads. Default: one for a tiny network, else all cores.",
    ),
]

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def device_problem(name: str) -> str:
    """What is wrong with the name of a device; empty if it is one. Whether the device exists is not checked."""
    if _DEVICE.fullmatch(name):
        return ""
    meant = "; for an NVIDIA or AMD GPU use cuda, for an Apple GPU mps" if name.lower() == "gpu" else ""
    return f"{name} is not one of auto, cpu, cuda, cuda:1, mps{meant}"


def _check_device(name: str) -> str:
    name = name.lower()
    if problem := device_problem(name):
        raise typer.BadParameter(problem)
    return name


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        envvar="CNNCLI_DEVICE",
        callback=_check_device,
        help="Where to compute: auto, cpu, cuda, mps, or one GPU of several such as cuda:1.",
    ),
]
DEVICE = "auto"
"""The default of `DeviceOption`: a GPU if there is one."""
InvertOption = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option(
        "--invert",
        case_sensitive=False,
        help="Invert image files; auto: those with another background than the data set.",
    ),
]
FitOption = Annotated[
    Literal["auto", "none"],
    typer.Option(
        "--fit",
        case_sensitive=False,
        help="Fit image files to the input. auto: keep proportions, crop and center as in the data set; none: stretch.",
    ),
]


def preparation_options(*, invert: str, fit: str) -> str:
    """`InvertOption` and `FitOption` as they are written on a command line; empty for their defaults."""
    given = (("--invert", invert), ("--fit", fit))
    return " ".join(f"{option} {value}" for option, value in given if value != "auto")
