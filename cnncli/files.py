"""Atomic writes that survive a crash, how far a file was, links, file locks, and disk errors explained."""

import errno
import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Self

from cnncli.errors import DiskError, RunError

UNFINISHED = ".part"
"""The extension of a file that `atomic_write` has not completed."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What safetensors, NumPy and torch say instead of an `errno`.
_DISK_FULL_MESSAGE = re.compile(
    rf"\(os error ({'|'.join(map(str, _DISK_FULL))})\)|\d+ requested and \d+ written"
    r"|PytorchStreamWriter failed writing|inline_container\.cc.* unexpected pos \d+"
)


def open_to_read(path: Path) -> BufferedReader:
    """Open a file; a pipe that nobody writes into is empty, rather than waited for.

    Raises:
        OSError: it cannot be opened.
    """
    if sys.platform == "win32" or not path.is_fifo():
        return path.open("rb")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)  # for what a writer writes
    return open(descriptor, "rb")  # noqa: PTH123  the caller closes it; pathlib opens no descriptors


def read_at_most(path: Path, limit: int) -> bytes:
    """The content of a file, which may be a device that never ends.

    Raises:
        OSError: it cannot be read, or has more than `limit` bytes.
    """
    with open_to_read(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit:,} bytes")
    return content


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def is_device(path: Path) -> bool:
    """Whether a path leads to a device, a pipe or a socket, or is in `/dev`, where names lead to any output."""
    if path.absolute().parts[1:2] == ("dev",):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def atomic_write(path: Path, *, option: str = "--out") -> Iterator[BinaryIO]:
    """Open a file for writing; after a crash at any time `path` has either its old or all of its new content.

    Several processes may write the same file: the last one to finish wins. A device or a pipe, such as `/dev/null`, is
    written into, and stays what it is.

    Args:
        path: the file.
        option: the option that chooses another place, for the error message.

    Raises:
        DiskError: the file cannot be written.
    """
    if is_device(path):
        with disk_errors_explained(path, option=option), path.open("wb") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    with disk_errors_explained(path, option=option):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file with `atomic_write`."""
    with atomic_write(path) as file:
        file.write(content)


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, indented, with `atomic_write`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(path, f"{text}\n".encode())


def own_copy(path: Path) -> None:
    """Replace a file that has other names by a copy of it, before something is written into it.

    `cp -al` copies a run with hard links: both would change.

    Raises:
        DiskError: the copy cannot be written.
    """
    if path.exists() and path.stat().st_nlink > 1:
        replace_file(path, path.read_bytes())


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Delete what `atomic_write` of a file in the folder has left when its process was killed.

    Args:
        folder: in which no other process writes the file.
        name: of the file, or a pattern.

    Raises:
        DiskError: it cannot be deleted.
    """
    with disk_errors_explained(folder):
        for path in folder.glob(f".{name}.*{UNFINISHED}"):
            path.unlink()


@dataclass(frozen=True)
class Extent:
    """How far a file that is only appended to was at some time.

    Attributes:
        size: in bytes.
        sha256: of these bytes, in hexadecimal digits.
    """

    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()

    @classmethod
    def of(cls, path: Path) -> Self:
        """The extent of a file now; a missing one is empty."""
        content = path.read_bytes() if path.exists() else b""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def is_beginning_of(self, path: Path) -> bool:
        """Whether the file begins with these bytes. Raises OSError if it cannot be read."""
        with path.open("rb") as file:
            content = file.read(self.size)
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256

    def cut(self, path: Path) -> bool:
        """Remove what the file has after these bytes; whether there was anything.

        Raises:
            DiskError: it cannot be written.
        """
        with disk_errors_explained(path):
            if not path.exists() or path.stat().st_size <= self.size:
                return False
            own_copy(path)
            with path.open("r+b") as file:
                file.truncate(self.size)
                os.fsync(file.fileno())
        return True


def create_directory(parent: Path, name: str) -> Path:
    """Create a new directory, with `-2`, `-3`, ... appended to its name if it exists; `parent` is created if missing.

    Raises:
        DiskError: it cannot be created.
    """
    with disk_errors_explained(parent / name):
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                sync_directory(parent)
                return path


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk; Windows has no such call."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_link(folder: Path) -> Path | None:
    """The first symbolic link, pipe, socket or device in a folder or its subfolders, None if there is none.

    Hidden names are ignored. Folders that cannot be read have none.
    """
    folders = [folder]
    while folders:
        current = folders.pop()
        with suppress(OSError), os.scandir(current) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(current / entry.name)
                elif not entry.is_file(follow_symlinks=False):
                    return current / entry.name
    return None


def refuse_link(path: Path) -> None:
    """Check that a path in a run is no symbolic link, and no pipe, socket or device, which may block its reader.

    Raises:
        RunError: it is one.
    """
    if path.is_symlink():
        raise RunError(
            f"{path} is a symbolic link: nothing in a run is read or written through one",
            remedy="delete the link, or replace it by a copy of what it leads to",
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise RunError(
            f"{path} is neither a file nor a folder: nothing in a run is a pipe, a socket or a device",
            remedy="delete it, or replace it by a copy of the file",
        )


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`."""
    from filelock import FileLock, Timeout  # takes longer than reading a run

    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False, fallback_to_soft=False):
            return False
    except Timeout:
        return True
    except OSError:  # a read-only folder, or a disk without locks: no process can hold one
        return False


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk or a quota is full, whichever library raised it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK_FULL
    return _DISK_FULL_MESSAGE.search(str(error)) is not None


@contextmanager
def disk_errors_explained(path: Path, *, option: str = "--out") -> Iterator[None]:
    """Turn an OSError while writing at `path` into a DiskError; `option` chooses another place."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            remedy = f"free some space on the disk that holds {path.parent}, or choose another with {option}"
        else:
            remedy = f"check that {path.parent} is writable, or choose another place with {option}"
        reason = error.strerror or str(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            file = next((each for each in (path, *path.parents) if each.is_file()), None)
            reason = f"{file} is a file" if file else reason
            remedy = f"choose another place with {option}" if file else remedy
        raise DiskError(f"{path}: cannot be written: {reason}", remedy=remedy) from error
