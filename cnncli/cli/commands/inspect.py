"""`cnncli inspect`: shapes, costs and receptive fields, without running anything."""

import json

import typer

from cnncli.analysis.graph import graph_of
from cnncli.analysis.rows import inspect_graph
from cnncli.cli.commands.options import DATA_DIR, ConfigArgument, DataDirOption, DebugOption, JsonOption, SetOption
from cnncli.cli.render.layers import show_layers
from cnncli.spec.config import read_config


def inspect(
    config: ConfigArgument,
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what shape each layer has, what it costs and which input pixels it can see.

    Examples:

      cnncli inspect lenet5

      cnncli inspect my.yaml --set data.size=64

      cnncli inspect resnet-mnist --json | jq .totals
    """
    read = read_config(config, data_dir=data_dir, assignments=assignments)
    inspection = inspect_graph(graph_of(read.network, read.name))
    if as_json:
        typer.echo(json.dumps(inspection.as_json(), indent=2))
    else:
        show_layers(inspection)
