"""`cnncli diff`: the differences between two networks, layer by layer."""

import json
from typing import Annotated

import typer

from cnncli.cli.commands.options import DebugOption, InputOption, JsonOption, find_target
from cnncli.config.config import STDIN
from cnncli.errors import UsageError
from cnncli.inspection.table import inspect_graph
from cnncli.options import DATA_DIR, DataDirOption

_TARGET = "a config, - for stdin, a run directory, torchvision:NAME, package.module:Factory or path/file.py:Factory"


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=f"The first network: {_TARGET}.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The second network, in the same form.")],
    shape: InputOption = None,
    data_dir: DataDirOption = DATA_DIR,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare two networks: layers, shapes, parameters, MACs, receptive fields.

    Examples:

      cnncli diff lenet5 my.yaml

      cnncli diff torchvision:resnet18 torchvision:resnet34 --input 3x224x224

      git show HEAD~1:my.yaml | cnncli diff - my.yaml
    """
    if before == after == STDIN:
        raise UsageError("only one of the two networks can be read from stdin", remedy="give the path of the other one")
    first, second = (inspect_graph(find_target(target, shape=shape, data_dir=data_dir)) for target in (before, after))
    if as_json:
        from cnncli.inspection.differences import comparison_as_json

        typer.echo(json.dumps(comparison_as_json(first, second), indent=2))
    else:
        from cnncli.cli.render.table import show_comparison

        show_comparison(first, second)
