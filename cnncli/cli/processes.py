"""A single output for the processes started by `torchrun`: every message is printed once.

torchrun ends all processes as soon as one has failed, so the other processes wait until the error has been printed.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cli.messages import as_user_error, report
from cnncli.errors import DivergedError, UsageError

if TYPE_CHECKING:
    from cnncli.training.process_group import ProcessGroup

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
_TIMEOUT = 10.0
"""Seconds for another process to print an error, or to leave."""


class AlreadyReported(Exception):  # noqa: N818  not an error itself
    """An error that this process or another one has printed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def in_process_group() -> bool:
    """Whether `torchrun` has started this process as one of several."""
    return all(name in os.environ for name in _TORCHRUN) and os.environ["WORLD_SIZE"] != "1"


@contextmanager
def one_output_per_machine() -> Iterator[None]:
    """Only the first process of a machine prints, so an error that all processes meet is printed once.

    Raises:
        AlreadyReported: in the silent processes, for any error.
    """
    if not in_process_group() or os.environ["LOCAL_RANK"] == "0" or "--debug" in sys.argv:
        yield
        return
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        try:
            yield
        except SystemExit as exited:
            if exited.code == UsageError.exit_code:  # typer refuses the arguments
                time.sleep(_TIMEOUT)
            raise
        except AlreadyReported:
            raise
        except Exception as error:
            time.sleep(_TIMEOUT)
            raise AlreadyReported(as_user_error(error).exit_code) from error


@contextmanager
def process_group() -> Iterator["ProcessGroup"]:
    """The processes that train together. An error inside is printed by the first process that meets one.

    Raises:
        AlreadyReported: in all of them, with the exit code of that error.
    """
    from cnncli.training.process_group import ALONE, ProcessGroup

    if not in_process_group():
        yield ALONE
        return
    group = ProcessGroup.of_torchrun(_TIMEOUT)
    # After an error a process does not close the group, which would wait for exchanges in progress, perhaps with a
    # process that has ended. The end of the process closes its connections, and the others notice.
    try:
        yield group
        group.close()
    except KeyboardInterrupt:
        group.record_failure("interrupted", 130)
        group.mark_printed()
        raise
    except Exception as error:
        if isinstance(error, DivergedError) and not group.is_first:
            group.wait_until_printed()  # all diverge at the same step, and process 0 knows about the checkpoints
        shown = as_user_error(error)
        first = group.record_failure(shown.message, shown.exit_code)
        if first.rank == group.shard.rank:
            try:
                with redirect_stderr(sys.__stderr__):
                    report(error)
            finally:
                group.mark_printed()
        else:
            group.wait_until_printed()
        raise AlreadyReported(first.exit_code) from error
