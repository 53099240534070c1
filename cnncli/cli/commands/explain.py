"""`cnncli explain`: the lecture, live; one command for each topic, built from the list of topics."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cnncli.cli.app import PanelGroup
from cnncli.cli.commands.options import DebugOption
from cnncli.cli.render.lesson import show_pages
from cnncli.lessons.lecture import TOPICS, Topic, lecture

StepOption = Annotated[bool, typer.Option("--step", help="Wait for Enter before every step.")]

app = typer.Typer(
    cls=PanelGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: cnncli explain correlation",
)


@app.callback()
def _explain() -> None:
    """Show the arithmetic of convolutional networks, number by number.

    Examples:

      cnncli explain correlation

      cnncli explain pooling --step
    """


def _command(topic: Topic) -> Callable[..., None]:
    """A function with the parameters and the docstring of a topic, and `--step` and `--debug`."""

    def command(*, step: bool, debug: bool, **options: Any) -> None:  # noqa: ANN401  typer checks them
        show_pages([topic.page(**options)], step=step)

    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("step", StepOption), ("debug", DebugOption))
    ]
    own = inspect.signature(topic.page).parameters.values()
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]  # typer reads it
    command.__doc__ = topic.page.__doc__
    return command


for _topic in TOPICS:
    app.command(_topic.name, rich_help_panel=_topic.group)(_command(_topic))


@app.command("all")
def everything(step: StepOption = False, debug: DebugOption = False) -> None:
    """Every topic in the order of the lecture.

    Examples:

      cnncli explain all --step
    """
    show_pages(lecture(), step=step)
