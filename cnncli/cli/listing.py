"""A program that lists its commands without importing them, and imports the one that is run."""

import gc
import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cnncli.cli.collector import collect_from_now_on


class ListedCommand(TyperCommand):
    """A command known by name, summary and panel; its module is imported once it is to be run, completed or explained.

    The module is `cnncli.cli.commands.NAME`. It holds a function of that name, or a Typer `app` of its own commands.
    """

    def load(self) -> Any:  # noqa: ANN401  typer does not export the class of its commands
        """The command as its module defines it."""
        module = importlib.import_module(f"cnncli.cli.commands.{self.name}")
        program = getattr(module, "app", None)
        if program is None:
            program = typer.Typer(add_completion=False, rich_markup_mode=None)
            program.command(self.name)(getattr(module, str(self.name)))
        return typer.main.get_command(program)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401  likewise, its contexts
        """What click asks for first, whatever it wants of a command."""
        context = self.load().make_context(*arguments, **settings)
        if not gc.isenabled():  # see `cnncli.__main__`
            collect_from_now_on()
        return context


class PanelGroup(TyperGroup):
    """A group whose help lists its commands under the headings of their panels, in the order they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  likewise
        """Write a section for each panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            summary = command.get_short_help_str(limit=1_000)  # wrapped below, not cut here
            panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append((name, summary))
        width = max(len(name) for name in self.commands)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])
