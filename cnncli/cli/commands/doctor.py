"""`cnncli doctor`: check the installation."""

import json

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption
from cnncli.doctor import examine
from cnncli.options import DATA_DIR, RUNS_DIR, DataDirOption, RunsDirOption


def doctor(
    data_dir: DataDirOption = DATA_DIR,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check the installation: versions, devices, data sets, disks and optional extras.

    Each problem is listed with its remedy, and the exit code is that of the first one. Nothing is changed.

    Examples:

      cnncli doctor

      cnncli doctor --data-dir /srv/datasets --json
    """
    diagnosis = examine(data_dir=data_dir, runs_dir=runs_dir)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_json(), indent=2))
    else:
        from cnncli.cli.render.doctor import show_diagnosis

        show_diagnosis(diagnosis)
    if diagnosis.problems:
        raise typer.Exit(diagnosis.problems[0].exit_code)
