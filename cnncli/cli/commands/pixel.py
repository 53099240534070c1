"""`cnncli pixel`: the units that see a pixel."""

import json
from typing import Annotated

import typer

from cnncli.cli.commands.options import (
    DebugOption,
    InputOption,
    JsonOption,
    KwargsOption,
    ModuleOption,
    TargetArgument,
    find_target,
    parse_position,
)
from cnncli.inspection.table import inspect_graph
from cnncli.inspection.units import dependent_units, layer_receptive_fields
from cnncli.options import DATA_DIR, DataDirOption, SetOption


def pixel(
    target: TargetArgument,
    position: Annotated[str, typer.Argument(metavar="ROW,COLUMN", help="A pixel of the input, counted from 0.")],
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Show only this layer.")] = None,
    shape: InputOption = None,
    kwargs: KwargsOption = None,
    part: ModuleOption = "",
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Print which units of each layer see a pixel of the input.

    Examples:

      cnncli pixel lenet5 10,0

      cnncli pixel lenet5 3,3 --layer conv2 --json
    """
    place = parse_position(position)
    graph = find_target(target, shape=shape, kwargs=kwargs, part=part, assignments=assignments, data_dir=data_dir)
    table = inspect_graph(graph)
    layers = dependent_units(table, place)
    if layer is not None:
        layer_receptive_fields(table, layer)  # an unknown layer is an error
        layers = [each for each in layers if each.layer == layer]
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in layers], indent=2))
    else:
        from cnncli.cli.render.units import show_dependent_units

        show_dependent_units(place, layers)
