"""`cnncli report`: the report of a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption, check_output
from cnncli.cli.output import print_line
from cnncli.options import DATA_DIR, DataDirOption, RunArgument

OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write. Default: report.html in the run.")
]


def report(
    run: RunArgument, out: OutOption = None, data_dir: DataDirOption = DATA_DIR, debug: DebugOption = False
) -> None:
    """Write the report of a run: a self-contained HTML file.

    It contains the layer table, the network computed for test images, exact receptive fields, training curves, what
    activates each filter, saliency, the confusion matrix with its images, calibration, and the config. It needs no
    internet and no other file. The command prints the path of the file.

    Examples:

      cnncli report runs/lenet5-20260131-120000

      cnncli report runs/lenet5-20260131-120000 --out lenet5.html
    """
    from cnncli.report.report import write_report

    check_output(out, ".html", ".htm")
    print_line(write_report(run, out=out, data_dir=data_dir))
