"""`cnncli show confusion`: which classes are taken for which."""

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import RunArgument, TerminalOption


def confusion(
    run: RunArgument,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The confusion matrix over the test images: which classes are taken for which, and the accuracy of each.

    Examples:

      cnncli show confusion runs/lenet5-20260131-120000
    """
    from cnncli.views.confusion import confusion as gallery

    hang(run, gallery, data_dir=data_dir, terminal=terminal, as_json=as_json)
