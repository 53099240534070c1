"""`cnncli help`: the help of a command."""

from typing import Annotated, Any

import typer

from cnncli.cli.app import LazyCommand
from cnncli.cli.commands.options import DebugOption
from cnncli.errors import UsageError, did_you_mean

CommandsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="COMMAND", help="A command, and a command of it, such as show kernels.")
]


def help(context: typer.Context, commands: CommandsArgument = None, debug: DebugOption = False) -> None:
    """Print the help of the program or of a command, as --help does.

    Examples:

      cnncli help train

      cnncli help show kernels
    """
    root = context.find_root()
    command: Any = root.command
    for position, name in enumerate(commands or ()):
        choices = getattr(command, "commands", {})
        if name not in choices:
            words = " ".join(["cnncli", *(commands or ())[:position]])
            if not choices:
                raise UsageError(f"{words} has no commands, so no {name}", remedy=f"{words} --help")
            raise UsageError(f"{words} has no command {name}{did_you_mean(name, choices)}")
        command = choices[name].load() if isinstance(choices[name], LazyCommand) else choices[name]
    root.command.main([*(commands or ()), "--help"], prog_name=root.info_name)
