"""Writing that survives a crash, and says what is wrong when the disk will take no more."""

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cnncli.errors import DiskError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that at any moment, whatever happens, the old or the new content is there in whole."""
    beside = path.with_name(f".{path.name}.new")
    with disk_errors_explained(path):
        try:
            write_file(beside, content)
            beside.replace(path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """`replace_file` with a JSON object, indented for people."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(path, f"{text}\n".encode())


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory; Windows has no such call."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def disk_errors_explained(path: Path) -> Iterator[None]:
    """Turn an OSError while writing at `path` into a DiskError with its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            remedy = f"free some space on the disk that holds {path.parent}, or choose another with --out"
        else:
            remedy = f"see that {path.parent} may be written to, or choose another place with --out"
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}", remedy=remedy) from error
