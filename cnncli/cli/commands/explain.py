"""`cnncli explain`: the lecture in the terminal; one command for each topic, built from the list of topics."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cnncli.cli.app import command_group
from cnncli.cli.commands.options import DebugOption, command_of
from cnncli.cli.render.lesson import show_pages
from cnncli.lessons import LECTURE, TOPICS
from cnncli.lessons.topic import Topic

StepOption = Annotated[
    bool, typer.Option("--step", help="Wait before every step: Enter for the next, b for the one before, q to quit.")
]

app = command_group(epilog="Start with: cnncli explain correlation")


@app.callback()
def _explain() -> None:
    """Show the arithmetic of convolutional networks, number by number.

    Examples:

      cnncli explain correlation

      cnncli explain pooling --step
    """


def _command(topic: type[Topic]) -> Callable[..., None]:
    def explain(*, step: bool, debug: bool, **options: Any) -> None:  # noqa: ANN401  typer checks them
        show_pages([topic(**options).page()], step=step)

    return command_of(explain, topic, like=explain_all)


@app.command("all")
def explain_all(step: StepOption = False, debug: DebugOption = False) -> None:
    """Every topic in the order of the lecture.

    Examples:

      cnncli explain all --step
    """
    show_pages((topic().page() for topic in LECTURE), step=step)


for _topic in TOPICS:
    app.command(_topic.name, rich_help_panel=_topic.group)(_command(_topic))
