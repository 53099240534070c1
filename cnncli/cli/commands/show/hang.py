"""What every kind of picture does with its exhibits: write them, name the files, draw them if asked."""

import json
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.run import Run
    from cnncli.views.view import Exhibit


def hang(
    run: Path,
    make: "Callable[[Run], Iterable[Exhibit]]",
    *,
    data_dir: Path,
    terminal: bool,
    as_json: bool,
) -> None:
    """Open a run, hang what `make` makes of it, and print the path of each PNG, or one JSON object for each.

    Raises:
        RunError, DataError: the run or its data cannot be used.
        UsageError: what was asked for is not there.
        DiskError: nothing can be written into the run.
    """
    if as_json and terminal:
        raise UsageError("--json and --terminal both write to stdout", remedy="leave one of them out")
    from cnncli.cli.render.views import show_exhibit, waiting_for
    from cnncli.run import load_run
    from cnncli.views.view import Gallery

    opened = load_run(run, data_dir=data_dir)
    for exhibit, path in waiting_for(Gallery(opened).hang(make(opened))):
        if as_json:
            typer.echo(json.dumps(_record(exhibit, path, opened), allow_nan=False))
        else:
            show_exhibit(exhibit, path, drawn=terminal)


def _record(exhibit: "Exhibit", path: Path, run: "Run") -> dict[str, Any]:
    """An exhibit in JSON, which knows no NaN and no infinity: numbers that are not finite are null."""
    return {
        "tag": exhibit.tag,
        "title": exhibit.title,
        "file": str(path),
        "step": run.step,
        "numbers": {name: number if isfinite(number) else None for name, number in exhibit.numbers.items()},
        "lines": list(exhibit.lines),
    }
