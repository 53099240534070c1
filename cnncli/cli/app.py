"""The `cnncli` program: its commands, and what happens to their errors."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cnncli import __version__
from cnncli.cli.failure import report
from cnncli.cli.notices import print_notice, show_log
from cnncli.cli.processes import SaidAlready, heard_once


def collect_from_now_on() -> None:
    """Turn the collector on; it will not look at what is there already."""
    gc.freeze()
    gc.enable()


@contextmanager
def torch_uncollected() -> Iterator[None]:
    """Import torch, and what is built on it, with the collector off; where torch is there already, nothing changes."""
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        collect_from_now_on()


class ListedCommand(TyperCommand):
    """A command known by name, summary and panel; its module is imported once it is to be run, completed or explained.

    The module is `cnncli.cli.commands.NAME`. It holds a function of that name, or a Typer `app` of its own commands.
    """

    def load(self) -> Any:  # noqa: ANN401  typer does not export the class of its commands
        """The command as its module defines it."""
        module = importlib.import_module(f"cnncli.cli.commands.{self.name}")
        program = getattr(module, "app", None)
        if program is None:
            program = typer.Typer(add_completion=False, rich_markup_mode=None)
            program.command(self.name)(getattr(module, str(self.name)))
        return typer.main.get_command(program)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401  likewise, its contexts
        """What click asks for first, whatever it wants of a command."""
        context = self.load().make_context(*arguments, **settings)
        if not gc.isenabled():  # see `cnncli.__main__`
            collect_from_now_on()
        return context


class PanelGroup(TyperGroup):
    """A group whose help lists its commands under the headings of their panels, in the order they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  likewise
        """Write a section for each panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            summary = command.get_short_help_str(limit=1_000)  # wrapped below, not cut here
            panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append((name, summary))
        width = max(len(name) for name in self.commands)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])


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
        "validate": "Check configs and report every problem with its line.",
        "inspect": "Print the shape, cost and receptive field of every layer, with hints.",
        "unit": "Print the receptive field of a unit, with those of the layers before it inside.",
        "pixel": "Print which units of each layer see a pixel of the input.",
        "diff": "Compare two networks: layers, shapes, parameters, MACs, receptive fields.",
        "schema": "Print the JSON Schema of configs, for completion and checks in editors.",
    },
    "Train": {
        "train": "Train a network and write its kernels and feature maps to TensorBoard event files.",
    },
    "See": {
        "show": "Draw what a run has learned: into its folder show, as PNG files and for TensorBoard.",
        "tensorboard": "Start TensorBoard over runs, with every logged step, and print an address for each view.",
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
        with heard_once(), show_log(print_notice):
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
