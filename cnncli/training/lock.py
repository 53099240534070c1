"""A lock on a directory that one process holds and that ends with it, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnncli.errors import RunError
from cnncli.training.durable import disk_errors_explained

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        # Far beyond the content, so that others can read the number of the process.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which names the process for people to read.

    The operating system gives the lock back when the process ends, so a file left by one that was killed
    hinders nobody, and a process that happens to have got the same number is not taken for it.

    Raises:
        RunError: another process holds it.
    """
    with disk_errors_explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _try_lock(descriptor)
        except OSError as error:
            holder = path.read_text(encoding="utf-8").strip() or "another process"
            raise RunError(
                f"{path.parent}: the run is in use by {holder}",
                remedy="wait until it is done, or end it; it writes a checkpoint on Ctrl-C",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path` now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try_lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
