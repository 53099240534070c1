"""The `cnncli` program: its commands, and what happens to their errors."""

import sys
from typing import Annotated

import typer

from cnncli import __version__
from cnncli.cli.failure import report
from cnncli.cli.listing import ListedCommand, PanelGroup
from cnncli.cli.processes import SaidAlready, heard_once

app = typer.Typer(
    name="cnncli",
    cls=PanelGroup,
    help="See what a convolutional network computes, sees and learns.",
    epilog="Start with: cnncli train quickstart",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help pages take twice the time of the rest of the program
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = {
    "Design": {
        "init": "Write a commented config to start from.",
        "validate": "Check configs and report everything that is wrong with them, each with its line.",
        "inspect": "Print what shape each layer has, what it costs, which pixels it can see, and what that means.",
        "diff": "Print what differs between two networks: layers, shapes, parameters, MACs, fields.",
        "schema": "Print the JSON Schema of configs, for completion and checks in editors.",
    },
    "Train": {
        "train": "Train a network and write its kernels and feature maps to TensorBoard event files.",
    },
    "See": {
        "show": "Draw what a run has learned: into its folder show, as PNG files and for TensorBoard.",
        "board": "Start TensorBoard over runs, with every step they have logged, and print where to find what.",
        "report": "Write a run as one HTML file: layers, receptive fields, curves, pictures, mistakes, config.",
        "explain": "Show the arithmetic of convolutional networks, number by number.",
    },
}
"""The commands under the headings of the help; each is a module of `cnncli.cli.commands` (see `ListedCommand`)."""


def _unreachable() -> None:
    """What typer wants of a command, and what `ListedCommand` never comes to."""
    raise AssertionError


for _panel, _commands in COMMANDS.items():
    for _name, _summary in _commands.items():
        app.command(_name, cls=ListedCommand, help=_summary, rich_help_panel=_panel)(_unreachable)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnncli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the program; its exit code tells what went wrong (see `cnncli.errors`)."""
    try:
        with heard_once():
            app()
    except SystemExit as ended:
        # Whoever read the output has closed it (`| head`), which typer takes for a failure.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(0)
        raise
    except SaidAlready as said:
        sys.exit(said.exit_code)
    except Exception as error:
        sys.exit(report(error))
