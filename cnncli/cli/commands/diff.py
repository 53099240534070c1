"""`cnncli diff`: two networks layer by layer."""

import json
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from cnncli.capture.target import find_graph
from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, InputOption, JsonOption, parse_shape
from cnncli.inspection.table import inspect_graph

_TARGET = "a config, a run directory, torchvision:NAME, package.module:Factory or path/file.py:Factory"


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=f"The first network: {_TARGET}.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The second network, likewise.")],
    shape: InputOption = None,
    data_dir: DataDirOption = DATA_DIR,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what differs between two networks: layers, shapes, parameters, MACs, fields.

    Examples:

      cnncli diff lenet5 my.yaml

      cnncli diff torchvision:resnet18 torchvision:resnet34 --input 3x224x224
    """
    input_shape = parse_shape(shape)
    with redirect_stdout(sys.stderr):  # what the code of a model prints is no result
        first, second = (
            inspect_graph(find_graph(target, input_shape=input_shape, kwargs={}, data_dir=data_dir))
            for target in (before, after)
        )
    if as_json:
        from cnncli.inspection.differences import comparison_as_json

        typer.echo(json.dumps(comparison_as_json(first, second), indent=2))
    else:
        from cnncli.cli.render.table import show_comparison

        show_comparison(first, second)
