"""SIGKILL before the n-th operation of a process on the files of a folder."""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attack = Callable[[], None]

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
"""Events of https://docs.python.org/3/library/audit_events.html; to replace a file is to rename another."""


def kill_before(number: int, folder: Path, *, torn: bool = False) -> Attack:
    """An attack for `program_in_child`: the process is killed before its operation `number`, from 1.

    An operation opens a file for writing, writes, truncates, waits for the disk, or changes a name or a folder. With
    `torn`, half of what a write operation would have written is on the disk.
    """
    return _Operations(folder, kill_at=number, torn=torn).count_from_now_on


def list_operations(folder: Path, file: Path) -> Attack:
    """An attack that does no harm: it writes the operations to a file, a line for each."""
    return _Operations(folder, file=file).count_from_now_on


class _Operations:
    def __init__(self, folder: Path, *, kill_at: int = 0, torn: bool = False, file: Path | None = None) -> None:
        self._folder = f"{folder.resolve()}{os.sep}"
        self._kill_at, self._torn, self._file = kill_at, torn, file
        self._count = 0

    def count_from_now_on(self) -> None:
        """Until the process ends: there is no way to remove an audit hook."""
        fsync, opened = os.fsync, io.open

        def counted_fsync(descriptor: Any) -> None:
            self.count("fsync")
            fsync(descriptor)

        def counted_open(file: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
            stream = opened(file, mode, *arguments, **settings)
            writes = "b" in mode and mode != "rb" and self._is_inside(file)
            return _Stream(stream, self) if writes else stream

        for module, name, counted in ((os, "fsync", counted_fsync), (io, "open", counted_open)):
            setattr(module, name, counted)
        sys.addaudithook(self._audit)

    def count(self, name: str, write_half: Callable[[], object] = lambda: None) -> None:
        """Count an operation, and be killed if it is the one."""
        self._count += 1
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
        if self._count == self._kill_at:
            if self._torn:
                write_half()
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        opens = event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if (opens or event in _CHANGES) and self._is_inside(arguments[0]):
            self.count(f"{event} {arguments[0]}")

    def _is_inside(self, path: object) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        return os.path.abspath(path).startswith(self._folder)  # noqa: PTH100  Path.resolve() would read links


class _Stream:
    """A file opened for writing bytes. Before a flush, it is as before the write."""

    def __init__(self, stream: Any, operations: _Operations) -> None:
        self._stream, self._operations = stream, operations

    def write(self, content: bytes) -> int:
        def half() -> None:
            self._stream.write(content[: len(content) // 2])
            self._stream.flush()

        self._operations.count("write", half)
        return int(self._stream.write(content))

    def truncate(self, size: int) -> int:
        self._operations.count("truncate")
        return int(self._stream.truncate(size))

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
