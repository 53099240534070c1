"""`cnncli show features`: what a run's layers make of an image."""

from cnncli.cli.commands.options import DATA_DIR, DataDirOption, DebugOption, InvertOption, JsonOption
from cnncli.cli.commands.show.hang import hang
from cnncli.cli.commands.show.options import ImagesArgument, LayersOption, RunArgument, TerminalOption


def features(
    run: RunArgument,
    images: ImagesArgument = [],  # noqa: B006  typer reads the default, nothing changes it
    layers: LayersOption = [],  # noqa: B006  see above
    invert: InvertOption = False,
    terminal: TerminalOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """The feature maps of each convolution and pool for an image, beside it.

    Without an IMAGE it is the first test image.

    Examples:

      cnncli show features runs/lenet5-20260131-120000 0 7

      cnncli show features runs/lenet5-20260131-120000 my.png --invert --layer conv2 --terminal
    """
    from cnncli.views import feature_maps as gallery

    hang(
        run,
        lambda opened: gallery.features(opened, images or gallery.DEFAULT_IMAGES, layers=layers, invert=invert),
        data_dir=data_dir,
        terminal=terminal,
        as_json=as_json,
    )
