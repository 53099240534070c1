"""`cnncli unit`: the receptive fields of single units."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cnncli.cli.commands.options import (
    DebugOption,
    InputOption,
    JsonOption,
    KwargsOption,
    ModuleOption,
    TargetArgument,
    check_output,
    find_target,
    parse_position,
)
from cnncli.cli.render.console import show_notice
from cnncli.inspection.table import inspect_graph
from cnncli.inspection.units import nested_receptive_fields
from cnncli.options import DATA_DIR, DataDirOption, SetOption

PictureOption = Annotated[
    Path | None, typer.Option("--picture", metavar="PNG", help="Also draw the receptive fields into a file.")
]


def unit(
    target: TargetArgument,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="Name of a layer, as cnncli inspect prints it.")],
    units: Annotated[list[str], typer.Argument(metavar="ROW,COLUMN...", help="Units of the layer, counted from 0.")],
    shape: InputOption = None,
    kwargs: KwargsOption = None,
    part: ModuleOption = "",
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    picture: PictureOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Print the receptive field of a unit, with those of earlier layers nested inside.

    Examples:

      cnncli unit lenet5 conv2 2,5

      cnncli unit lenet5 conv2 0,0 9,9 --picture receptive-field.png

      cnncli unit torchvision:resnet18 layer2.0.conv1 5,5 --json
    """
    check_output(picture, ".png", option="--picture")
    positions = [parse_position(text) for text in units]
    graph = find_target(target, shape=shape, kwargs=kwargs, part=part, assignments=assignments, data_dir=data_dir)
    table = inspect_graph(graph)
    nested = [nested_receptive_fields(table, layer, position) for position in positions]
    if as_json:
        typer.echo(json.dumps([fields[0].as_json() for fields in nested], indent=2))
    else:
        from cnncli.cli.render.units import show_nested, show_unit

        for fields in nested:
            show_unit(fields[0])
            show_nested(table.input_shape[1:], fields)
    if picture is not None:
        from cnncli.drawing.receptive_field import write_receptive_fields

        write_receptive_fields(picture, table.input_shape[1:], nested)
        show_notice(f"wrote {picture}")
