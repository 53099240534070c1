"""The errors a user can meet, each with the exit code of the command that met it.

CnncliError          1   and cnncli's own bugs
├── ServerError      1   TensorBoard could not be started, or ended by itself
├── UsageError       2   an argument that means nothing
├── ConfigError      3   the YAML file, or what it describes, is wrong
├── DataError        4   images or labels are missing or damaged
├── RunError         5   a checkpoint or a run directory cannot be used
├── DivergedError    6   training produced a number that is not finite
├── DiskError        7   nothing more can be written
├── DeviceError      8   the device, or its memory, is not there
├── Interrupted    130   Ctrl-C, after a checkpoint
└── Terminated     143   SIGTERM, after a checkpoint

Our own bugs are `assert`s and ordinary exceptions, never one of these.
"""

from typing import ClassVar


class CnncliError(Exception):
    """Something a user can put right.

    Args:
        message: what is wrong and where.
        remedy: what to do about it, one line or several.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ServerError(CnncliError):
    """TensorBoard could not be started, or ended by itself."""


class UsageError(CnncliError):
    """An argument that means nothing here."""

    exit_code = 2


class ConfigError(CnncliError):
    """A config that cannot be read, or that describes no network."""

    exit_code = 3


class DataError(CnncliError):
    """Images or labels that are missing, damaged or of the wrong kind."""

    exit_code = 4


class RunError(CnncliError):
    """A checkpoint or run directory that is missing, damaged, or belongs to something else."""

    exit_code = 5


class DivergedError(CnncliError):
    """Training met a loss or gradient that is not finite."""

    exit_code = 6


class DiskError(CnncliError):
    """Nothing more can be written where the output goes."""

    exit_code = 7


class DeviceError(CnncliError):
    """A device that is not there, or whose memory is exhausted."""

    exit_code = 8


class Interrupted(CnncliError):  # noqa: N818  nothing went wrong: the user asked for it
    """Ctrl-C ended the work, after a checkpoint."""

    exit_code = 130


class Terminated(CnncliError):  # noqa: N818  likewise
    """SIGTERM ended the work, after a checkpoint."""

    exit_code = 143
