"""`cnncli show maximize`: images made to excite filters and classes."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import FiltersOption, LayersOption, RunArgument, TerminalOption

StepsOption = Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Steps of gradient ascent.")]


def maximize(
    run: RunArgument,
    layers: LayersOption = [],  # noqa: B006  typer reads the default, nothing changes it
    filters: FiltersOption = [],  # noqa: B006  see above
    steps: StepsOption = 128,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Images made to excite each filter and each class as much as possible, beside the best real ones.

    Examples:

      cnncli show maximize runs/lenet5-20260131-120000

      cnncli show maximize runs/lenet5-20260131-120000 --layer logits1 --filter 3 --steps 500
    """
    from cnncli.views import activation_maximization as gallery

    hang(
        run,
        lambda opened: gallery.maximized(opened, layers=layers, filters=filters, steps=steps),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
