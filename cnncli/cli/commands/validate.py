"""`cnncli validate`: check configs and report all their problems."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption
from cnncli.cli.output import print_line
from cnncli.cli.render.console import show_error, show_notice
from cnncli.config.config import STDIN, read_config
from cnncli.errors import CnncliError
from cnncli.inspection.table import inspect_network
from cnncli.inspection.training_memory import training_memory
from cnncli.machine import machine_memory
from cnncli.options import DATA_DIR, DataDirOption, SetOption


def validate(
    configs: Annotated[
        list[str], typer.Argument(metavar="CFG", help="YAML configs, names of bundled ones, or - for stdin.")
    ],
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Check configs and report every problem with its line.

    Examples:

      cnncli validate my.yaml

      cnncli validate configs/*.yaml
    """
    exit_code = 0
    for name in configs:
        try:
            config = read_config(name, data_dir=data_dir, assignments=assignments)
        except CnncliError as error:
            show_error(error)
            exit_code = error.exit_code
            continue
        table = inspect_network(config.network, config.name)
        shown = config.document.name if name == STDIN else name
        print_line(f"{shown}: ok, {len(table)} layers, {table.params:,} parameters, {table.macs:,} MACs")
        needed = training_memory(config.network, config.train, images=config.train.batch_size)
        if problem := needed.exceeds(machine_memory()):
            show_notice(f"{shown}: {problem}")
    raise typer.Exit(exit_code)
