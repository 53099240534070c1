"""`cnncli show misclassified`: the test images that a run gets wrong."""

from typing import Annotated

import typer

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import RunArgument, TerminalOption

CountOption = Annotated[int, typer.Option("--count", min=1, metavar="N", help="Images to show, at most.")]


def misclassified(
    run: RunArgument,
    count: CountOption = 24,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Test images that the network gets wrong, those first of which it was surest.

    Examples:

      cnncli show misclassified runs/lenet5-20260131-120000

      cnncli show misclassified runs/lenet5-20260131-120000 --count 100
    """
    from cnncli.views import mistakes as gallery

    hang(
        run,
        lambda opened: gallery.misclassified(opened, count=count),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
