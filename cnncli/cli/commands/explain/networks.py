"""Topics about whole networks, which only need their description and so no torch."""

from cnncli.cli.commands.explain.options import AtOption, LayerOption, StepOption, place
from cnncli.cli.commands.options import DATA_DIR, ConfigArgument, DataDirOption, DebugOption, SetOption
from cnncli.cli.render.lesson import show_pages
from cnncli.config.config import read_config


def receptive_field(
    config: ConfigArgument = "lenet5",
    layer: LayerOption = None,
    at: AtOption = None,
    assignments: SetOption = [],  # noqa: B006  typer reads the default, nothing changes it
    data_dir: DataDirOption = DATA_DIR,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """Which pixels a unit sees, grown layer by layer and drawn on the input.

    Examples:

      cnncli explain receptive-field dilated --layer conv3 --at 0,0
    """
    from cnncli.lessons import receptive_field as topic

    read = read_config(config, data_dir=data_dir, assignments=assignments)
    show_pages([topic.receptive_field(read, config, layer, place(at))], step=step)


def architecture(
    config: ConfigArgument = "lenet5",
    assignments: SetOption = [],  # noqa: B006  likewise
    data_dir: DataDirOption = DATA_DIR,
    step: StepOption = False,
    debug: DebugOption = False,
) -> None:
    """Why channels grow while maps shrink, and where parameters and work sit.

    Examples:

      cnncli explain architecture resnet-mnist
    """
    from cnncli.lessons import architecture as topic

    read = read_config(config, data_dir=data_dir, assignments=assignments)
    show_pages([topic.architecture(read, config)], step=step)
