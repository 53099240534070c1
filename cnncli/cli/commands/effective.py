"""`--effective`: what the centre unit of a layer really listens to, trained and untrained."""

import json
from pathlib import Path

import typer

from cnncli.cli.render.console import show_notice
from cnncli.cli.render.effective import show_sides
from cnncli.errors import UsageError


def show_effective(
    target: str, images: int, *, layer: str | None, picture: Path | None, data_dir: Path, as_json: bool
) -> None:
    """Print the sides of the squares that hold most of the effective field, and hang its picture into the run.

    The picture also goes to `picture`, if that is given.

    Raises:
        UsageError: the target is not a run.
        RunError, DataError: the run has no weights yet, or its data is not there.
        DiskError: the picture cannot be written.
    """
    if not Path(target).is_dir():
        raise UsageError(
            f"--effective needs the directory of a run, and {target} is none",
            remedy="train first, then name the run: cnncli inspect runs/lenet5-20260102-030405 --effective 100",
        )
    from cnncli.gallery.effective import drawn, measured
    from cnncli.gallery.exhibit import Gallery
    from cnncli.pictures.image import write_png
    from cnncli.trained import open_run

    run = open_run(Path(target), data_dir=data_dir, notify=show_notice)
    found = measured(run, layer, images=images)
    exhibit = drawn(run, found)
    for _, path in Gallery(run).hang([exhibit]):
        show_notice(f"wrote {path}")
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        show_sides(found.as_json())
    if picture is not None:
        write_png(picture, exhibit.pixels)
        show_notice(f"wrote {picture}")
