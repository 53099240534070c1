"""`cnncli show`: pictures of what a run has learned; a command for each kind, and all of them without one."""

from pathlib import Path

import typer

from cnncli.cli.app import PanelGroup
from cnncli.cli.commands.show import (
    calibration,
    confusion,
    effective,
    embedding,
    everything,
    features,
    kernels,
    maximize,
    misclassified,
    patches,
    saliency,
)
from cnncli.errors import UsageError, nearest


class _KindOrRun(PanelGroup):
    """`cnncli show RUN` is `cnncli show all RUN`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # click's own
        """Put `all` in front where the first word is neither a kind, misspelled or not, nor an option."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            kind = next((each for each in args[1:] if each in self.commands), None)
            if kind is not None:
                raise UsageError(f"the kind comes first: cnncli show {kind} {args[0]}")
            if Path(args[0]).exists() or not nearest(args[0], self.commands):
                args = ["all", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_KindOrRun,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: cnncli show RUN",
)

app.command("all")(everything.everything)
app.command("kernels")(kernels.kernels)
app.command("features")(features.features)
app.command("confusion")(confusion.confusion)
app.command("misclassified")(misclassified.misclassified)
app.command("calibration")(calibration.calibration)
app.command("embedding")(embedding.embedding)
app.command("effective")(effective.effective)
app.command("patches")(patches.patches)
app.command("saliency")(saliency.saliency)
app.command("maximize")(maximize.maximize)


@app.callback()
def _show() -> None:
    """Draw what a run has learned: into its folder show, as PNG files and for TensorBoard.

    Examples:

      cnncli show runs/lenet5-20260131-120000

      cnncli show kernels runs/lenet5-20260131-120000 --layer conv2

      cnncli show features runs/lenet5-20260131-120000 my.png --terminal
    """
