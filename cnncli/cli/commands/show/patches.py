"""`cnncli show patches`: what excites each filter most."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import FiltersOption, LayersOption, RunArgument, TerminalOption

CountOption = Annotated[int, typer.Option("--count", min=1, max=100, metavar="K", help="Patches for each filter.")]
PerImageOption = Annotated[
    int, typer.Option("--per-image", min=1, metavar="K", help="How many of them may come from one image.")
]


def patches(
    run: RunArgument,
    layers: LayersOption = [],  # noqa: B006  typer reads the default, nothing changes it
    filters: FiltersOption = [],  # noqa: B006  see above
    count: CountOption = 9,
    per_image: PerImageOption = 1,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The patches of test images that excite each filter most, cut at the receptive field of the unit.

    Examples:

      cnncli show patches runs/lenet5-20260131-120000

      cnncli show patches runs/lenet5-20260131-120000 --layer conv2 --filter 3 --terminal

      cnncli show patches runs/lenet5-20260131-120000 --layer logits1
    """
    from cnncli.views import patches as gallery

    hang(
        run,
        lambda opened: gallery.patches(opened, layers=layers, filters=filters, count=count, per_image=per_image),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
