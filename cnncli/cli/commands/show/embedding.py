"""`cnncli show embedding`: where a layer puts images."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import RunArgument, TerminalOption

CountOption = Annotated[
    int, typer.Option("--count", min=2, metavar="N", help="Test images, spread evenly over all of them.")
]
LayerOption = Annotated[
    str | None, typer.Option("--layer", metavar="NAME", help="This layer, not the last one before the logits.")
]


def embedding(
    run: RunArgument,
    count: CountOption = 2000,
    layer: LayerOption = None,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Test images as points in the space of a layer's outputs: for TensorBoard's projector, and as a picture.

    Without --layer it is what the last layer reads. The picture shows the two principal components.

    Examples:

      cnncli show embedding runs/lenet5-20260131-120000

      cnncli show embedding runs/lenet5-20260131-120000 --layer linear1 --count 500
    """
    from cnncli.views import embedding as gallery

    hang(
        run,
        lambda opened: gallery.embedding(opened, count=count, layer=layer),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
