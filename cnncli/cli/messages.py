"""Messages on stderr: an error with its remedy and exit code, and what the package logs, as notices."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cnncli.errors import CnncliError, DiskError, UsageError
from cnncli.files import is_disk_full

_UNUSABLE_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
_MAX_SHOWN = 100


def as_user_error(error: Exception) -> CnncliError:
    """The error as it is shown to users, wherever it happened; what is not about a disk or a path is a bug.

    A full disk is a DiskError, and so is a path without permission; a path that no file can have is a UsageError.
    """
    if isinstance(error, CnncliError):
        return error
    if is_disk_full(error):
        return DiskError(f"the disk is full: {error}", remedy="free some space")
    if isinstance(error, OSError) and error.filename is not None:
        if error.errno in _UNUSABLE_PATH:
            return UsageError(f"{shorten_path(error.filename)}: {error.strerror}", remedy="give another path")
        if error.errno in _FORBIDDEN:
            return DiskError(f"{error.filename}: {error.strerror}", remedy="check its permissions and its disk")
    return CnncliError(
        f"internal error: {type(error).__name__}: {error}",
        remedy="this is a bug in cnncli; run it again with --debug, and report what it and cnncli doctor print",
    )


def shorten_path(path: str | bytes | os.PathLike[str]) -> str:
    """A path of at most a hundred characters: its start and its end."""
    text = os.fsdecode(path)
    half = _MAX_SHOWN // 2
    return text if len(text) <= _MAX_SHOWN else f"{text[:half]}...{text[-half:]}"


def report(error: Exception) -> int:
    """Print an error and return its exit code; with `--debug` a bug is raised again."""
    from cnncli.cli.render.console import show_error

    shown = as_user_error(error)
    if "--debug" in sys.argv:
        if type(shown) is CnncliError:
            raise error
        traceback.print_exception(shown)
    with suppress(OSError):  # nobody can read it; the exit code says it too
        show_error(shown)
    return shown.exit_code


def without_pydantic(message: str) -> str:
    """What typer says about the value of an option, without words that it takes from pydantic."""
    message = message.removeprefix("Value error, ")
    if message.startswith("Input should be "):
        message = message.replace("Input should be", "must be", 1).partition(", unable to parse")[0]
    return message


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


@contextmanager
def show_log(show: Callable[[str], None]) -> Iterator[None]:
    """Pass the messages of the logger `cnncli` to `show`, and to nothing that showed them before."""
    logger = logging.getLogger("cnncli")
    handlers, level = logger.handlers, logger.level
    logger.handlers = [_Handler(show)]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


def print_notice(text: str) -> None:
    """Print a notice on stderr; rich is imported for the first one."""
    from cnncli.cli.render.console import show_notice

    show_notice(text)
