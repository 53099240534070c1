"""The `cnncli` program: the list of commands, and the handling of errors."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cnncli import __version__
from cnncli.cli.imports import garbage_collector_off
from cnncli.cli.messages import print_notice, report, show_log, without_pydantic
from cnncli.cli.processes import AlreadyReported, one_output_per_machine
from cnncli.errors import UsageError
from cnncli.printable import printable


class LazyCommand(TyperCommand):
    """A command with a name, a summary and a panel; its module is imported when it is run, completed or explained.

    The module is `cnncli.cli.commands.NAME`. It has a function of that name, or a Typer `app` with subcommands.
    """

    def load(self) -> Any:  # noqa: ANN401  typer does not export the class of its commands
        """The command that the module defines."""
        with garbage_collector_off():
            module = importlib.import_module(f"cnncli.cli.commands.{self.name}")
        program = getattr(module, "app", None)
        if program is None:
            program = typer.Typer(add_completion=False, rich_markup_mode=None)
            program.command(self.name)(getattr(module, str(self.name)))
        return typer.main.get_command(program)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401  likewise, its contexts
        """Called by click before anything else that it does with a command.

        Raises:
            UsageError: the command has no such option, but its config has such a field.
        """
        command = self.load()
        if settings.get("resilient_parsing"):  # a shell asks for completions
            return self._context_for_completion(command, *arguments, **settings)
        try:
            return command.make_context(*arguments, **settings)
        except Exception as error:
            option = getattr(error, "option_name", None)  # typer does not export the class of this error
            options = [each for parameter in command.params for each in parameter.opts]
            if option is not None and option not in options and "--set" in options:
                _suggest_field(option, exactly=bool(getattr(error, "possibilities", ())))
            raise

    def _context_for_completion(self, command: Any, name: str, words: list[str], **settings: Any) -> Any:  # noqa: ANN401  likewise
        """The context of the complete words, without an option at the end, whose value is still to come."""
        from cnncli.cli.completion import add_completion

        add_completion(command)
        if words and words[-1].startswith("-"):
            words = words[:-1]
        return command.make_context(name, words, **settings)


def _suggest_field(option: str, *, exactly: bool) -> None:
    """Raise a UsageError if an option such as `--batch-size` is the name, or almost, of a field of configs."""
    from cnncli.config.config import field_named

    field = field_named(option.lstrip("-").replace("-", "_"), exactly=exactly)
    if field:
        raise UsageError(
            f"no such option: {option}", remedy=f"it is a field of the config, which --set changes: --set {field}=VALUE"
        )


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Change the message of an error about arguments, which typer prints itself: no control characters, no pydantic."""
    try:
        yield
    except Exception as error:
        if isinstance(error, typer.BadParameter):
            error.message = without_pydantic(error.message)
        if isinstance(message := getattr(error, "message", None), str):
            error.message = printable(message)  # type: ignore[attr-defined]  # typer does not export the class
        raise


class PanelGroup(TyperGroup):
    """A group whose help lists its commands by panel, in the order in which they were added."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401  typer does not export the class of its contexts
        """Called for the arguments of the group itself."""
        with _printable_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  likewise
        """Called by click to parse the arguments of a command of the group, and to run it."""
        with _printable_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  likewise
        """Write a section of the help for each panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            summary = command.get_short_help_str(limit=1_000)  # not truncated: it is wrapped below
            panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append((name, summary))
        width = max(len(name) for name in self.commands)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])


def command_group(cls: type[PanelGroup] = PanelGroup, **settings: Any) -> typer.Typer:  # noqa: ANN401  typer checks them
    """A command whose arguments start with the name of another; without arguments it prints its help."""
    settings.setdefault("add_completion", False)  # the options that install it belong to the program
    return typer.Typer(
        cls=cls,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich's help pages take twice as long as the rest of the program
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


app = command_group(
    name="cnncli",
    help="See what a convolutional network computes, sees and learns.",
    epilog="Start with: cnncli train quickstart",
    add_completion=True,
)

COMMANDS = {
    "Design": {
        "init": "Write a commented config to start from.",
        "validate": "Check configs and report every problem with its line.",
        "inspect": "Print the shape, cost and receptive field of every layer, with hints.",
        "unit": "Print the receptive field of a unit, with those of earlier layers nested inside.",
        "pixel": "Print which units of each layer see a pixel of the input.",
        "diff": "Compare two networks: layers, shapes, parameters, MACs, receptive fields.",
        "schema": "Print the JSON Schema of configs, for completion and checks in editors.",
    },
    "Train": {
        "data": "Summarize a data set: images of each class and split, size, mean and standard deviation, duplicates.",
        "audit": "Find labels that look wrong, and duplicates, in a data set.",
        "train": "Train a network and write its kernels and feature maps to TensorBoard event files.",
        "sweep": "Train a config many times with other values of its fields, and find the best.",
    },
    "Use": {
        "predict": "Predict the classes of your own images.",
        "export": "Write a trained network as ONNX, torch.export or safetensors, and check the file.",
    },
    "See": {
        "eval": "Evaluate a run: accuracy with its interval, loss, calibration error, and the scores of each class.",
        "show": "Draw what a run has learned, as PNG or SVG files and for TensorBoard.",
        "tensorboard": "Start TensorBoard on a folder of runs, with every logged step, and print links to its cards.",
        "runs": "List, show, compare, verify and delete runs.",
        "play": "Write the playground of a run: draw an image, and every layer of the network follows.",
        "report": "Write the report of a run: a self-contained HTML file.",
        "explain": "Show the arithmetic of convolutional networks, number by number.",
    },
    "Help": {
        "doctor": "Check the installation: versions, devices, data sets, disks and optional extras.",
        "help": "Print the help of the program or of a command.",
    },
}
"""Summaries of the commands by panel of the help; each command is a module, see `LazyCommand`."""


def _placeholder() -> None:
    """The function that typer requires for a command; `LazyCommand` never calls it."""
    raise AssertionError


for _panel, _commands in COMMANDS.items():
    for _name, _summary in _commands.items():
        app.command(_name, cls=LazyCommand, help=_summary, rich_help_panel=_panel)(_placeholder)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnncli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program."""


def _complete() -> None:
    """Answer a shell that asks for completions, and exit. An error is no answer: it must not appear in the shell."""
    try:
        app(prog_name="cnncli")
    except Exception:
        sys.exit(1)


def main() -> None:
    """Run the program and exit; `cnncli.errors` lists the exit codes."""
    try:
        if os.environ.get("_CNNCLI_COMPLETE"):
            _complete()
        with one_output_per_machine(), show_log(print_notice):
            app(prog_name="cnncli")  # also for `python -m cnncli`, for which completion would be installed otherwise
    except SystemExit as exited:
        if isinstance(exited.__context__, BrokenPipeError):  # the reader closed the output (`| head`): no failure
            sys.exit(0)
        raise
    except AlreadyReported as reported:
        sys.exit(reported.exit_code)
    except Exception as error:
        sys.exit(report(error))
