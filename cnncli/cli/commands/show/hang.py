"""What every kind of picture does with its exhibits: write them, name the files, draw them if asked."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cnncli.cli.render.console import show_notice

if TYPE_CHECKING:
    from cnncli.gallery.exhibit import Exhibit
    from cnncli.trained import TrainedRun


def hang(
    run: Path,
    make: "Callable[[TrainedRun], Iterable[Exhibit]]",
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
    from cnncli.cli.render.exhibits import show_exhibit
    from cnncli.gallery.exhibit import Gallery
    from cnncli.trained import open_run

    opened = open_run(run, data_dir=data_dir, notify=show_notice)
    for exhibit, path in Gallery(opened).hang(make(opened)):
        if as_json:
            record = {"tag": exhibit.tag, "title": exhibit.title, "file": str(path), "numbers": dict(exhibit.numbers)}
            typer.echo(json.dumps(record))
        else:
            show_exhibit(exhibit, path, drawn=terminal)
