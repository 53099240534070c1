"""`cnncli report`: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, RunArgument

OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write; report.html in the run, if not given.")
]


def report(
    run: RunArgument, out: OutOption = None, data_dir: DataDirOption = DATA_DIR, debug: DebugOption = False
) -> None:
    """Write a run as one HTML file: layers, receptive fields, curves, pictures, mistakes, config.

    The file needs no network and no other file: open it in a browser, send it, keep it. Prints its path.

    Examples:

      cnncli report runs/lenet5-20260131-120000

      cnncli report runs/lenet5-20260131-120000 --out lenet5.html
    """
    from cnncli.report.report import write_report

    typer.echo(write_report(run, out=out, data_dir=data_dir))
