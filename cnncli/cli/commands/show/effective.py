"""`cnncli show effective`: what a unit really listens to."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import LayersOption, RunArgument, TerminalOption

ImagesOption = Annotated[int, typer.Option("--images", min=1, metavar="N", help="Test images to average over.")]


def effective(
    run: RunArgument,
    layers: LayersOption = [],  # noqa: B006  typer reads the default, nothing changes it
    images: ImagesOption = 100,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The effective receptive field: how much the center unit of a layer listens to each pixel, trained and untrained.

    Without --layer it is that of the last layer with positions.

    Examples:

      cnncli show effective runs/lenet5-20260131-120000

      cnncli show effective runs/lenet5-20260131-120000 --layer conv1 --layer conv2 --images 500
    """
    from cnncli.views import effective_receptive_field as gallery

    hang(
        run,
        lambda opened: gallery.effective(opened, layers=layers, images=images),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
