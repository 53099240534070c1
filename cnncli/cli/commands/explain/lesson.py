"""The whole lecture, topic after topic."""

from cnncli.cli.commands.explain.options import StepOption
from cnncli.cli.commands.options import DebugOption
from cnncli.cli.render.lesson import show_pages


def everything(step: StepOption = False, debug: DebugOption = False) -> None:
    """Every topic in the order of the lecture.

    Examples:

      cnncli explain all --step
    """
    from cnncli.lessons.lesson import pages

    show_pages(pages(), step=step)
