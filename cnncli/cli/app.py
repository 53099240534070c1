"""The `cnncli` program: its commands, and what happens to their errors."""

import errno
import sys
import traceback
from typing import Annotated

import typer

from cnncli import __version__
from cnncli.cli.commands import diff, explain, init, inspect, report, schema, show, train, validate
from cnncli.cli.render.console import show_error
from cnncli.errors import CnncliError, DiskError

app = typer.Typer(
    name="cnncli",
    help="See what a convolutional network computes, sees and learns.",
    epilog="Start with: cnncli train quickstart",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DESIGN, TRAIN, SEE = "Design", "Train", "See"

app.command("init", rich_help_panel=DESIGN)(init.init)
app.command("validate", rich_help_panel=DESIGN)(validate.validate)
app.command("inspect", rich_help_panel=DESIGN)(inspect.inspect)
app.command("diff", rich_help_panel=DESIGN)(diff.diff)
app.command("schema", rich_help_panel=DESIGN)(schema.schema)
app.command("train", rich_help_panel=TRAIN)(train.train)
app.add_typer(show.app, name="show", rich_help_panel=SEE)
app.command("report", rich_help_panel=SEE)(report.report)
app.add_typer(explain.app, name="explain", rich_help_panel=SEE)


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
        app()
    except CnncliError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        show_error(error)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        # Whoever read the output has closed it (`| head`), which typer takes for a failure.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(0)
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = DiskError(f"nothing more can be written: {error.strerror}", remedy="free some space")
            show_error(full)
            sys.exit(full.exit_code)
        if "--debug" in sys.argv:
            raise
        bug = CnncliError(
            f"cnncli itself failed: {type(error).__name__}: {error}",
            remedy="this is a bug; run the command again with --debug and report what it prints",
        )
        show_error(bug)
        sys.exit(bug.exit_code)
