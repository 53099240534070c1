"""How the program reports an error: a message and a remedy on stderr, and the exit code."""

import sys
import traceback

from cnncli.errors import CnncliError, DiskError
from cnncli.files import is_disk_full


def as_user_error(error: Exception) -> CnncliError:
    """The error as it is shown to users: a full disk is a DiskError wherever it happened, any other is a bug."""
    if isinstance(error, CnncliError):
        return error
    if is_disk_full(error):
        return DiskError(f"the disk is full: {error}", remedy="free some space")
    return CnncliError(
        f"internal error: {type(error).__name__}: {error}",
        remedy="this is a bug in cnncli; run the command again with --debug and report what it prints",
    )


def report(error: Exception) -> int:
    """Print an error and return its exit code; with `--debug` a bug is raised again."""
    from cnncli.cli.render.console import show_error

    shown = as_user_error(error)
    if "--debug" in sys.argv:
        if type(shown) is CnncliError:
            raise error
        traceback.print_exception(shown)
    show_error(shown)
    return shown.exit_code
