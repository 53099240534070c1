"""`cnncli show kernels`: what a run's convolutions have learned."""

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import LayersOption, RunArgument, TerminalOption


def kernels(
    run: RunArgument,
    layers: LayersOption = [],  # noqa: B006  typer reads the default, nothing changes it
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The kernels of each convolution.

    Examples:

      cnncli show kernels runs/lenet5-20260131-120000

      cnncli show kernels runs/lenet5-20260131-120000 --layer conv2 --terminal
    """
    from cnncli.gallery import kernels as gallery

    hang(
        run,
        lambda opened: gallery.kernels(opened, layers=layers),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
