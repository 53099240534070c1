"""`cnncli explain`: the lecture, live; one command for each topic, built from the list of topics."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cnncli.cli.app import PanelGroup
from cnncli.cli.commands.options import DebugOption, parameters_of
from cnncli.cli.render.lesson import show_pages
from cnncli.lessons import LECTURE, TOPICS
from cnncli.lessons.topic import Topic

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


def _command(topic: type[Topic]) -> Callable[..., None]:
    """A command whose options are the fields of a topic, and whose help is its docstring."""

    def explain(*, step: bool, debug: bool, **options: Any) -> None:  # noqa: ANN401  typer checks them
        show_pages([topic(**options).page()], step=step)

    common = inspect.signature(explain_all).parameters.values()
    explain.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by typer
        [*parameters_of(topic), *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in common)]
    )
    explain.__doc__ = topic.__doc__
    return explain


@app.command("all")
def explain_all(step: StepOption = False, debug: DebugOption = False) -> None:
    """Every topic in the order of the lecture.

    Examples:

      cnncli explain all --step
    """
    show_pages((topic().page() for topic in LECTURE), step=step)


for _topic in TOPICS:
    app.command(_topic.name, rich_help_panel=_topic.group)(_command(_topic))
