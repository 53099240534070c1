"""`cnncli play`: a trained network alive in one HTML file."""

import webbrowser
from pathlib import Path
from typing import Annotated, Literal

import typer

from cnncli.cli.commands.options import DebugOption, check_output
from cnncli.cli.output import print_line
from cnncli.options import DATA_DIR, DataDirOption, RunArgument

OtherArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN2", help="A second run: one image, two networks.", show_default=False)
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write. Default: play.html in the run.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the file in the browser.")]
LanguageOption = Annotated[
    Literal["en", "zh"],
    typer.Option("--lang", case_sensitive=False, help="The language of the page, which also has a switch."),
]
TourOption = Annotated[
    Path | None, typer.Option("--tour", metavar="FILE", help="A YAML file with a tour of your own for the page.")
]


def play(
    run: RunArgument,
    other: OtherArgument = None,
    out: OutOption = None,
    open: OpenOption = False,
    lang: LanguageOption = "en",
    tour: TourOption = None,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Write the playground of a run: draw an image, and every layer of the network follows.

    It is a self-contained HTML file with the network, its weights and some test images; the browser computes the
    network. It needs no server and no other file. The command prints the path of the file.

    Examples:

      cnncli play runs/lenet5-20260131-120000 --open

      cnncli play runs/lenet5-20260131-120000 runs/quickstart-20260131-130000 --out two.html
    """
    from cnncli.report.playground import write_playground

    runs = [run] if other is None else [run, other]
    check_output(out, ".html", ".htm")
    path = write_playground(runs, out=out, data_dir=data_dir, language=lang, tour=tour)
    print_line(path)
    if open:
        webbrowser.open(path.resolve().as_uri())
