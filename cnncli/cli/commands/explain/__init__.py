"""`cnncli explain`: the lecture, live; a command for each topic."""

import typer

from cnncli.cli.app import PanelGroup
from cnncli.cli.commands.explain import learning, lesson, networks, numbers, trained

app = typer.Typer(
    cls=PanelGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: cnncli explain correlation",
)

NUMBERS, NETWORKS = "With numbers", "In networks"

app.command("correlation", rich_help_panel=NUMBERS)(numbers.correlation)
app.command("convolution", rich_help_panel=NUMBERS)(numbers.convolution)
app.command("kernel", rich_help_panel=NUMBERS)(numbers.kernel)
app.command("channels", rich_help_panel=NUMBERS)(numbers.channels)
app.command("1x1", rich_help_panel=NUMBERS)(numbers.one_by_one)
app.command("padding", rich_help_panel=NUMBERS)(numbers.padding)
app.command("stride", rich_help_panel=NUMBERS)(numbers.stride)
app.command("dilation", rich_help_panel=NUMBERS)(numbers.dilation)
app.command("pooling", rich_help_panel=NUMBERS)(numbers.pooling)
app.command("learn-kernel", rich_help_panel=NUMBERS)(learning.learn_kernel)
app.command("backward", rich_help_panel=NUMBERS)(learning.backward)
app.command("receptive-field", rich_help_panel=NETWORKS)(networks.receptive_field)
app.command("architecture", rich_help_panel=NETWORKS)(networks.architecture)
app.command("feature-maps", rich_help_panel=NETWORKS)(trained.feature_maps)
app.command("unit", rich_help_panel=NETWORKS)(trained.unit)
app.command("all")(lesson.everything)


@app.callback()
def _explain() -> None:
    """Show the arithmetic of convolutional networks, number by number.

    Examples:

      cnncli explain correlation

      cnncli explain pooling --step
    """
