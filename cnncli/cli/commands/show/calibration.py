"""`cnncli show calibration`: whether a run is as sure as it is right."""

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import RunArgument, TerminalOption


def calibration(
    run: RunArgument,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The reliability diagram over the test images: how sure the network is, against how often it is right.

    Also prints the expected and the maximum calibration error (ECE and MCE, Guo et al. 2017), over 15 bins.

    Examples:

      cnncli show calibration runs/lenet5-20260131-120000
    """
    from cnncli.views.calibration import calibration_view as gallery

    hang(run, gallery, data_dir=data_dir, terminal=terminal, as_json=as_json)
