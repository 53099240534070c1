"""`cnncli show RUN`: every kind of picture, with its defaults."""

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import RunArgument, TerminalOption


def everything(
    run: RunArgument,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Every kind of picture, with its defaults.

    Examples:

      cnncli show runs/lenet5-20260131-120000
    """
    from cnncli.views.everything import everything as gallery

    hang(
        run,
        gallery,
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
