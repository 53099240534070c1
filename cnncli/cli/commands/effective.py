"""`--effective`: what the centre unit of a layer really listens to, trained and untrained."""

import json
from pathlib import Path

import typer

from cnncli.cli.render.effective import show_sides
from cnncli.errors import DiskError, UsageError
from cnncli.inspector import find_config


def show_effective(
    target: str, images: int, *, layer: str | None, picture: Path | None, data_dir: Path, as_json: bool
) -> None:
    """Print the sides of the squares that hold most of the effective field, and draw it into a file if one is wanted.

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
    import torch
    from PIL import Image

    from cnncli.experiment.effective import effective_field
    from cnncli.experiment.setup import prepare
    from cnncli.training.run_directory import RunDirectory

    run = RunDirectory.open(Path(target))
    config = find_config(target, assignments=(), data_dir=data_dir)
    experiment = prepare(
        config, data_dir=data_dir, device=torch.device("cpu"), notify=lambda message: typer.echo(message, err=True)
    )
    found = effective_field(experiment, run, images=images, layer=layer)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        show_sides(found.as_json())
    if picture is not None:
        try:
            Image.fromarray(found.picture).save(picture, format="PNG")
        except OSError as error:
            raise DiskError(f"{picture} cannot be written: {error.strerror}") from error
        typer.echo(f"wrote {picture}", err=True)
