"""`cnncli diff`: the differences between two networks, layer by layer."""

import json
from typing import Annotated

import typer

from cnncli.capture.target import is_code
from cnncli.cli.commands.options import DebugOption, InputOption, JsonOption, find_target
from cnncli.config.config import STDIN
from cnncli.errors import UsageError
from cnncli.inspection.table import inspect_graph
from cnncli.options import DATA_DIR, DataDirOption

_TARGET = (
    "a config, - for stdin, a run directory, a file of ONNX, TorchScript or torch.export, torchvision:NAME, timm:NAME, "
    "package.module:Factory or path/file.py:Factory"
)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=f"The first network: {_TARGET}.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The second network, in the same form.")],
    shape: InputOption = None,
    kwargs: Annotated[
        list[str],
        typer.Option(
            "--kwargs",
            metavar="JSON",
            help="""Arguments of the factory, such as '{"num_classes": 10}', of both models; if twice, of A and B.""",
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare two networks: layers, shapes, parameters, MACs, receptive fields.

    Examples:

      cnncli diff lenet5 my.yaml

      cnncli diff torchvision:resnet18 torchvision:resnet34 --input 3x224x224

      cnncli diff nets.py:Net nets.py:Net --input 1x28x28 --kwargs '{"width": 16}' --kwargs '{"width": 32}'

      cnncli diff runs/lenet5-20260131-120000 lenet5.onnx

      git show HEAD~1:my.yaml | cnncli diff - my.yaml
    """
    if before == after == STDIN:
        raise UsageError("only one of the two networks can be read from stdin", remedy="give the path of the other one")
    first, second = (
        inspect_graph(find_target(target, shape=shape, kwargs=arguments, data_dir=data_dir))
        for target, arguments in zip((before, after), _kwargs_of_each(kwargs, before, after), strict=True)
    )
    if as_json:
        from cnncli.inspection.differences import comparison_as_json

        typer.echo(json.dumps(comparison_as_json(first, second), indent=2))
    else:
        from cnncli.cli.render.table import show_comparison

        show_comparison(first, second)


def _kwargs_of_each(given: list[str], before: str, after: str) -> tuple[str | None, str | None]:
    """The arguments of A and of B: the same for both if they are given once, but only for models in code."""
    match given:
        case []:
            return None, None
        case [both] if is_code(before) or is_code(after):
            return both if is_code(before) else None, both if is_code(after) else None
        case [both]:
            return both, both  # reported as an error of the first
        case [first, second]:
            return first, second
    raise UsageError(f"--kwargs is given {len(given)} times", remedy="give it once for both, or twice, for A and for B")
