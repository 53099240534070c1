"""Data sets fetched through torchvision, which knows their mirrors and checks what arrives."""

import errno
import importlib
import io
import logging
import shutil
import socket
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from cnncli.config.datasets import KnownDataset
from cnncli.errors import DataError, DiskError

_log = logging.getLogger(__name__)

_SILENCE = 20.0
"""Seconds without a byte after which a connection is given up."""
_ARCHIVES = (".gz", ".zip")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
_FAILURES = (OSError, RuntimeError, ValueError, EOFError, HTTPException, zipfile.BadZipFile, tarfile.TarError)


class DownloadError(Exception):
    """Nothing could be fetched; the message is what was tried and what came of it."""


def download(facts: KnownDataset, data_dir: Path) -> None:
    """Fetch the files of a data set into the data directory; files that are there already stay as they are.

    Everything arrives in a folder of its own first, so that an interrupted download leaves nothing behind.

    Raises:
        DownloadError: no network, or no mirror has the files.
        DataError: torchvision does not work here.
        DiskError: the data directory cannot take the files.
    """
    datasets = _torchvision_datasets(facts)
    folder = data_dir / facts.folder
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=data_dir, prefix=".cnncli-download-") as name:
            arriving = Path(name)
            _lend_archive(facts, data_dir, arriving)
            _log.info(f"{facts.name}: downloading into {folder}")
            with _patience(), _quiet_off_a_terminal():
                _fetch(datasets, facts, arriving)
            folder.mkdir(parents=True, exist_ok=True)
            _move_in(arriving / facts.folder, folder)
    except OSError as error:
        raise DiskError(
            f"{facts.name}: cannot be stored in {data_dir} ({error.strerror or error})",
            remedy="make room or choose another data directory with --data-dir or $CNNCLI_DATA",
        ) from None


def _torchvision_datasets(facts: KnownDataset) -> Any:  # noqa: ANN401  torchvision has no type stubs
    """`torchvision.datasets`, imported only here: it takes a second and may not match the torch beside it."""
    try:
        return importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise DataError(
            f"{facts.name}: downloading needs torchvision, which cannot be imported: {_first_line(error)}",
            remedy=(
                "torch and torchvision must be builds that belong together; take both from the package index:"
                "\n  pip install --force-reinstall torch torchvision"
                "\nor both for the CPU:"
                "\n  pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
                "\nNo torchvision is needed for files that are already there, nor for --set data.name=digits"
            ),
        ) from None


def _lend_archive(facts: KnownDataset, data_dir: Path, arriving: Path) -> None:
    """Let torchvision find an archive that has been fetched before."""
    if facts.archive and (data_dir / facts.archive).is_file():
        (arriving / facts.archive).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_dir / facts.archive, arriving / facts.archive)


def _fetch(datasets: Any, facts: KnownDataset, root: Path) -> None:  # noqa: ANN401  torchvision has no type stubs
    source = getattr(datasets, facts.torchvision_class)
    choose = {"split": facts.split} if facts.split else {}
    try:
        source(root=str(root), train=True, download=True, **choose)
    except _FAILURES as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        # Where there are several mirrors, torchvision names those that it tried.
        tried = "" if hasattr(source, "mirrors") and not hasattr(source, "url") else f"Tried {source.url}, got: "
        raise DownloadError(tried + (" ".join(str(error).split()) or type(error).__name__)) from None


def _move_in(source: Path, target: Path) -> None:
    """Move the unpacked files to where they belong; those that are there already stay."""
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix not in _ARCHIVES and not (target / file.name).exists():
            file.replace(target / file.name)


@contextmanager
def _patience() -> Iterator[None]:
    """Give up on connections that say nothing; torchvision itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _quiet_off_a_terminal() -> Iterator[None]:
    """Keep torchvision's progress bar to terminals, and everything it says off stdout."""
    errors: TextIO = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with redirect_stdout(errors), redirect_stderr(errors):
        yield


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
