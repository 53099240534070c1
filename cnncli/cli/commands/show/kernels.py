"""`cnncli show kernels`: what a run's convolutions have learned."""

from typing import Annotated, Literal

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import LayersOption, RunArgument, TerminalOption

ScaleOption = Annotated[
    Literal["layer", "kernel", "run"],
    typer.Option(help="What shares one color scale: a layer, each kernel (filter) its own, or the whole run."),
]
SortOption = Annotated[
    Literal["norm"] | None,
    typer.Option(help="Filters of the largest L2 norm first, under their own numbers."),
]


def kernels(
    run: RunArgument,
    layers: LayersOption = [],  # noqa: B006  typer reads the default, nothing changes it
    scale: ScaleOption = "layer",
    sort: SortOption = None,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The kernels of each convolution: blue is negative, white zero, red positive.

    Examples:

      cnncli show kernels runs/lenet5-20260131-120000

      cnncli show kernels runs/lenet5-20260131-120000 --layer conv2 --sort norm --terminal

      cnncli show kernels runs/lenet5-20260131-120000 --scale run
    """
    from cnncli.views import kernels as gallery

    hang(
        run,
        lambda opened: gallery.kernels(opened, layers=layers, scale=scale, by_norm=sort is not None),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
