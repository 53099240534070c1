"""The errors that a user can encounter, each with its exit code, and suggestions for misspelled names.

CnncliError          1   and bugs of cnncli itself
├── ServerError      1   TensorBoard did not start, or stopped
├── UsageError       2   an invalid argument
├── ConfigError      3   an invalid config, or one that describes no network
├── DataError        4   images or labels are missing or damaged
├── RunError         5   a checkpoint or run directory cannot be used
├── DivergedError    6   a loss or gradient is not finite
├── DiskError        7   a file cannot be written
├── DeviceError      8   the device is missing or out of memory
└── Stopped    128 + N   signal N, after a checkpoint: 129 SIGHUP, 130 SIGINT, 131 SIGQUIT, 141 SIGPIPE, 143 SIGTERM

Bugs of cnncli are `assert`s and ordinary exceptions, never one of these.
"""

from collections.abc import Iterable, Sequence


class CnncliError(Exception):
    """An error that the user can fix.

    Args:
        message: what is wrong and where.
        remedy: how to fix it, one line or several.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ServerError(CnncliError):
    """TensorBoard did not start, or stopped."""


class UsageError(CnncliError):
    """An invalid argument."""

    exit_code = 2


class ConfigError(CnncliError):
    """A config that cannot be read, or that describes no network."""

    exit_code = 3


class DataError(CnncliError):
    """Images or labels that are missing, damaged or of the wrong type."""

    exit_code = 4


class RunError(CnncliError):
    """A checkpoint or run directory that is missing, damaged, or does not match."""

    exit_code = 5


class DivergedError(CnncliError):
    """A loss or gradient that is not finite."""

    exit_code = 6


class DiskError(CnncliError):
    """A file that cannot be written."""

    exit_code = 7


class DeviceError(CnncliError):
    """A device that is missing or out of memory."""

    exit_code = 8


class Stopped(CnncliError):  # noqa: N818  nothing went wrong: the user asked for it
    """Stopped on request, after a checkpoint.

    Args:
        message, remedy: see `CnncliError`.
        number: of the signal, 2 for Ctrl-C. The exit code is that of shells for a process that a signal has ended.
    """

    def __init__(self, message: str, *, number: int, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = 128 + number


_MAX_LISTED = 40


def shorten(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and the number of the others, for a message."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: `. Did you mean conv?`, else the choices if there are few."""
    choices = list(choices)
    near = nearest(word, choices)
    if near:
        return f". Did you mean {near}?"
    return f". Choose one of: {', '.join(choices)}" if 0 < len(choices) <= _MAX_LISTED else ""


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The choice most similar to a word, ignoring case; empty if none is similar, by `difflib`'s ratio from 0 to 1."""
    from difflib import get_close_matches

    lower = {choice.lower(): choice for choice in choices}
    return next((lower[near] for near in get_close_matches(word.lower(), lower, n=1, cutoff=cutoff)), "")
