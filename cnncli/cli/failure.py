"""How the program ends when something went wrong: what it prints, and the exit code that says it too."""

import sys
import traceback

from cnncli.errors import CnncliError, DiskError
from cnncli.files import is_disk_full


def as_user_error(error: Exception) -> CnncliError:
    """An error as a user is told of it: a full disk whoever met it, and our own bugs as such."""
    if isinstance(error, CnncliError):
        return error
    if is_disk_full(error):
        return DiskError(f"the disk is full: {error}", remedy="free some space")
    return CnncliError(
        f"cnncli itself failed: {type(error).__name__}: {error}",
        remedy="this is a bug; run the command again with --debug and report what it prints",
    )


def report(error: Exception) -> int:
    """Say what went wrong, and return the exit code that says it too; with `--debug` a bug is raised again."""
    from cnncli.cli.render.console import show_error

    told = as_user_error(error)
    if "--debug" in sys.argv:
        if type(told) is CnncliError:
            raise error
        traceback.print_exception(told)
    show_error(told)
    return told.exit_code
