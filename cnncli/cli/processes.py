"""Several processes that speak with one voice: what `torchrun` starts prints every message once.

`torchrun` ends all processes as soon as one has failed. So those that are silent wait until the other one has spoken.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cli.failure import as_user_error, report
from cnncli.errors import DivergedError, UsageError

if TYPE_CHECKING:
    from cnncli.training.distributed import Processes

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
_PATIENCE = 10.0
"""Seconds that another process is given to print an error, or to leave."""


class SaidAlready(Exception):  # noqa: N818  nothing to tell: one of the processes has
    """An error that has been printed, by this process or another one."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def are_several() -> bool:
    """Whether `torchrun` has started this process as one of several."""
    return all(name in os.environ for name in _TORCHRUN) and os.environ["WORLD_SIZE"] != "1"


def is_silent() -> bool:
    """Whether another process of this machine speaks for this one as well."""
    return are_several() and os.environ["LOCAL_RANK"] != "0" and "--debug" not in sys.argv


@contextmanager
def heard_once() -> Iterator[None]:
    """What every process of a machine finds wrong, before they know of each other, is printed by one of them.

    Raises:
        SaidAlready: in the silent ones, for any error.
    """
    if not is_silent():
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield
        except SystemExit as ended:
            if ended.code == UsageError.exit_code:  # typer has found it
                time.sleep(_PATIENCE)
            raise
        except SaidAlready:
            raise
        except Exception as error:
            time.sleep(_PATIENCE)
            raise SaidAlready(as_user_error(error).exit_code) from error


@contextmanager
def one_voice() -> Iterator["Processes"]:
    """The processes that this one belongs to. An error inside is printed by the first that meets one.

    Raises:
        SaidAlready: in all of them, with the exit code of that error.
    """
    from cnncli.training.distributed import Processes

    group = Processes(_PATIENCE)
    # Only who comes to the end leaves by torch's means, which wait for what is under way, maybe with a process that is
    # gone. Else it is the end of this process that closes its connections, by which the others notice.
    try:
        yield group
        group.finish()
    except (BrokenPipeError, SystemExit):  # whoever read the output has closed it
        group.fail("the output was closed", 0)
        group.said()  # there is nobody to tell
        raise
    except KeyboardInterrupt:
        group.fail("interrupted", 130)
        group.said()
        raise
    except Exception as error:
        told = as_user_error(error)
        if isinstance(error, DivergedError) and not group.is_first:
            group.wait_until_said()  # all diverge at the same step, and the first knows of the checkpoints
        first = group.fail(told.message, told.exit_code)
        if first.rank == group.share.rank:
            try:
                with redirect_stderr(sys.__stderr__):
                    report(error)
            finally:
                group.said()
        else:
            group.wait_until_said()
        raise SaidAlready(first.exit_code) from error
