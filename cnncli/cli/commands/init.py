"""`cnncli init`: write a config to start from."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.cli.output import print_line
from cnncli.errors import UsageError
from cnncli.files import disk_errors_explained

_STDOUT = "-"


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="NAME.yaml is written; - writes to stdout.")] = _STDOUT,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DATA",
            help="Your own images: a folder with one folder of images per class, a .csv, .parquet or .npz file, or a "
            "folder of Parquet or IDX files. "
            "Size, channels, classes and network fit them.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    debug: DebugOption = False,
) -> None:
    """Write a commented config to start from.

    Examples:

      cnncli init mynet && cnncli train mynet.yaml

      cnncli init - | cnncli inspect -

      cnncli init pets --from photos/pets
    """
    if source is None:
        starter = files("cnncli.cli").joinpath("starter.yaml").read_text(encoding="utf-8")
    else:
        from cnncli.data.starter import look_at, starter_config  # imports torch and Pillow

        starter = starter_config(look_at(source))
    if name == _STDOUT:
        typer.echo(starter, nl=False)
        return
    if Path(name).name in ("", "..") or name.endswith(("/", "\\")):
        raise UsageError(f"{name!r} names no file", remedy=f"name one: cnncli init {Path(name, 'mynet')}")
    path = Path(name if name.endswith(".yaml") else f"{name}.yaml")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists", remedy="choose another name, or overwrite it with --force")
    with disk_errors_explained(path, option="NAME"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(starter, encoding="utf-8")
    print_line(f"wrote {path}")
    print_line(f"next: cnncli inspect {path}\n      cnncli train {path}")
