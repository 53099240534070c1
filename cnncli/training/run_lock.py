"""The lock of a run directory: one process trains in it, and notices when the directory is taken from it."""

import errno
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from cnncli.errors import DiskError, RunError
from cnncli.files import disk_errors_explained, is_locked, refuse_link

NAME = "lock"

_log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a network disk without locks answers."""
_RETRY_SECONDS = 0.5
"""Another process that only looks at the lock holds it for less."""


class RunLock:
    """Keeps other processes from training in a run directory.

    The operating system locks the directory itself and the file `lock` in it, so that deleting the file lets nobody in.
    Where directories cannot be locked, as on Windows and some network disks, only the file is locked. Both locks are
    released when the process ends, also when it is killed. The file names the process, where others can read it. On a
    disk without locks there is a warning instead.

    Args:
        run: the run's directory, which may be reached through a link.
    """

    def __init__(self, run: Path) -> None:
        from filelock import FileLock  # takes longer than reading a run

        self._run = run
        self._path = run / NAME
        self._lock = FileLock(self._path, blocking=False, fallback_to_soft=False)
        self._descriptor: int | None = None
        self._identities: tuple[tuple[int, int], tuple[int, int]] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RunError: another process holds it, or its file is a symbolic link.
            DiskError: the file cannot be written.
        """
        refuse_link(self._path)
        with disk_errors_explained(self._path):
            deadline = time.monotonic() + _RETRY_SECONDS
            while not self._try_to_acquire():
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self._run}: the run is in use by {_holder(self._path)}",
                        remedy="wait until it ends, or stop it; it writes a checkpoint on Ctrl-C",
                    )
                time.sleep(_RETRY_SECONDS / 10)
            with suppress(OSError):  # Windows does not allow access to a locked file
                self._path.write_text(f"process {os.getpid()}\n", encoding="utf-8")
            self._identities = _identity(self._run), _identity(self._path)

    def release(self) -> None:
        """Let others in."""
        self._lock.release()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def check(self) -> None:
        """Check that the directory is still the one that was locked. A lock file that was deleted is written again.

        Raises:
            DiskError: the directory was removed or renamed.
            RunError: the lock file was deleted, and another process has taken the lock.
        """
        assert self._identities is not None, "the lock is held"
        directory, file = self._identities
        if _identity_or_none(self._run) != directory:
            raise DiskError(
                f"{self._run}: the folder of the run was removed or renamed during the training",
                remedy="train again; or, if it was renamed, resume it there: cnncli train --resume FOLDER",
            )
        if _identity_or_none(self._path) == file:
            return
        _log.warning(f"{self._path} was deleted during the training: it is locked again")
        self._lock.release()
        self.acquire()

    def _try_to_acquire(self) -> bool:
        from filelock import Timeout

        if self._descriptor is None:
            try:
                self._descriptor = _lock_directory(self._run, exclusive=True)
            except BlockingIOError:
                return False
        try:
            if self._path.exists() and self._path.stat().st_nlink > 1:
                self._path.unlink()  # another name of it, which `cp -al` makes, would be locked and written, too
            self._lock.acquire()
        except Timeout:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning(f"{self._run}: this disk has no file locks: train in this folder with one process at a time")
        finally:
            if not self._lock.is_locked and self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
        return True


def is_training(run: Path) -> bool:
    """Whether a process holds the lock of a run directory."""
    try:
        descriptor = _lock_directory(run, exclusive=False)
    except BlockingIOError:
        return True
    except OSError:  # not readable
        return False
    if descriptor is None:
        return is_locked(run / NAME)
    os.close(descriptor)
    return False


def _lock_directory(path: Path, *, exclusive: bool) -> int | None:
    """A descriptor that holds the lock of a directory; None where the system has no locks of directories.

    Raises:
        BlockingIOError: another process holds it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a network disk that locks only files that can be written
        os.close(descriptor)
        return None
    return descriptor


def _identity(path: Path) -> tuple[int, int]:
    """The device and the number of a file or directory on it."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _identity_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(path)
    except OSError:
        return None


def _holder(path: Path) -> str:
    """The process that the lock file names."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()[:40] or "another process"
    return "another process"
