"""`cnncli show`: pictures of what a run has learned. The commands are built from the list of views."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.app import PanelGroup, command_group
from cnncli.cli.commands.options import DebugOption, JsonOption, command_of
from cnncli.cli.completion import complete, runs
from cnncli.errors import UsageError, did_you_mean, nearest
from cnncli.options import DATA_DIR, DataDirOption, RunArgument
from cnncli.views import VIEWS
from cnncli.views.view import FileFormat, View, draw_all, save

if TYPE_CHECKING:
    from cnncli.run import Run
    from cnncli.views.view import Picture

ScaleOption = Annotated[
    int,
    typer.Option("--scale", metavar="N", min=1, max=10, help="Enlarge the files; text and lines stay sharp."),
]
FormatOption = Annotated[FileFormat, typer.Option("--format", case_sensitive=False, help="Format of the files.")]
TerminalOption = Annotated[bool, typer.Option("--terminal", help="Also draw the pictures in the terminal.")]


class _ViewOrRun(PanelGroup):
    """`cnncli show RUN` is `cnncli show all RUN`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # click's own
        """Put `all` in front of a run."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            view = next((each for each in args[1:] if each in self.commands), None)
            if view is not None:
                raise UsageError(f"the view comes before the run: cnncli show {view} {args[0]}")
            run_follows = len(args) > 1 and not args[1].startswith("-")
            if not Path(args[0]).exists() and (run_follows or nearest(args[0], self.commands)):
                raise UsageError(f"there is no view {args[0]}{did_you_mean(args[0], self.commands)}")
            args = ["all", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: typer.Context, incomplete: str) -> list[Any]:  # type: ignore[override]  # likewise
        """The views, and the runs."""
        return [*super().shell_complete(ctx, incomplete), *complete(runs, ctx, incomplete)]


app = command_group(_ViewOrRun, epilog="Start with: cnncli show RUN")


@app.callback()
def _show() -> None:
    """Draw what a run has learned, as PNG or SVG files and for TensorBoard.

    Examples:

      cnncli show runs/lenet5-20260131-120000

      cnncli show kernels runs/lenet5-20260131-120000 --layer conv2

      cnncli show feature-maps runs/lenet5-20260131-120000 my.png --terminal
    """


@app.command("all")
def show_all(
    run: RunArgument,
    scale: ScaleOption = 1,
    file_format: FormatOption = "png",
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Every view, with its default options.

    Examples:

      cnncli show runs/lenet5-20260131-120000
    """
    _draw(
        run,
        lambda opened: draw_all(opened, VIEWS),
        scale=scale,
        file_format=file_format,
        terminal=terminal,
        as_json=as_json,
        data_dir=data_dir,
    )


def _command(view: type[View]) -> Callable[..., None]:
    names = {field.name for field in fields(view)}

    def show(*, run: Path, debug: bool, **options: Any) -> None:  # noqa: ANN401  typer checks them
        own = {name: options.pop(name) for name in names}
        _draw(run, view(**own).pictures, **options)

    return command_of(show, view, like=show_all)


for _view in VIEWS:
    app.command(_view.name)(_command(_view))


def _draw(
    path: Path,
    draw: Callable[[Run], Iterable[Picture]],
    *,
    scale: int,
    file_format: FileFormat,
    terminal: bool,
    as_json: bool,
    data_dir: Path,
) -> None:
    """Open a run, save the pictures that `draw` yields, and print the path of each file, or a JSON object.

    Raises:
        RunError, DataError: the run or its data cannot be used.
        UsageError: an argument does not fit the run.
        DiskError: the run cannot be written to.
    """
    if as_json and terminal:
        raise UsageError("--json and --terminal both write to stdout", remedy="use only one of them")
    from cnncli.cli.render.views import show_picture, with_progress
    from cnncli.run import load_run

    run = load_run(path, data_dir=data_dir)
    for picture, file in with_progress(save(run, draw(run), scale=scale, file_format=file_format)):
        if as_json:
            typer.echo(json.dumps(_record(picture, file, step=run.step), allow_nan=False))
        else:
            show_picture(picture, file, draw=terminal)


def _record(picture: Picture, file: Path, *, step: int) -> dict[str, Any]:
    """A picture in JSON, which has no NaN and no infinity: numbers that are not finite are null."""
    return {
        "tag": picture.tag,
        "title": picture.title,
        "file": str(file),
        "step": step,
        "numbers": {name: number if isfinite(number) else None for name, number in picture.numbers.items()},
        **picture.data,
        "lines": list(picture.lines),
    }
