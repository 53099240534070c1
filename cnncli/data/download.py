"""Downloads of data sets through torchvision, which knows their mirrors and verifies what arrives."""

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
from cnncli.errors import DataError
from cnncli.files import disk_errors_explained, is_disk_full

_log = logging.getLogger(__name__)

_TIMEOUT = 20.0
"""Seconds without a byte after which a connection has failed; torchvision itself would wait forever."""
MATCHING_BUILDS = (
    "torch and torchvision must be matching builds; install both from the package index:"
    "\n  pip install --force-reinstall torch torchvision"
    "\nor both for the CPU:"
    "\n  pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
)
"""The remedy if torchvision cannot be imported: a CPU build of one does not work with a CUDA build of the other."""
_ARCHIVES = (".gz", ".zip")
FAILURES = (OSError, RuntimeError, ValueError, EOFError, HTTPException, zipfile.BadZipFile, tarfile.TarError)


class DownloadError(Exception):
    """A download failed; the message says what was tried and how it failed."""


def download(facts: KnownDataset, data_dir: Path) -> None:
    """Download the files of a data set into the data directory. Existing files are kept.

    The download goes to a temporary folder first, so that an interruption leaves nothing behind.

    Raises:
        DownloadError: there is no network, or no mirror has the files.
        DataError: torchvision cannot be imported.
        DiskError: the data directory is full or not writable.
    """
    datasets = import_torchvision_datasets(facts.name)
    folder = data_dir / facts.folder
    with disk_errors_explained(folder, option="--data-dir or $CNNCLI_DATA"):
        data_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=data_dir, prefix=".cnncli-download-") as name:
            temporary = Path(name)
            _copy_archive(facts, data_dir, temporary)
            _log.info(f"{facts.name}: downloading to {folder}")
            with timeout(), quiet_without_terminal():
                _fetch(datasets, facts, temporary)
            folder.mkdir(parents=True, exist_ok=True)
            _move_files(temporary / facts.folder, folder)


def import_torchvision_datasets(name: str) -> Any:  # noqa: ANN401  torchvision has no type stubs
    """`torchvision.datasets`, imported only when needed: it takes a second, and may not match the installed torch."""
    try:
        return importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{name}: downloading needs torchvision, which cannot be imported: {reason}",
            remedy=f"{MATCHING_BUILDS}\nFiles that are already there, and --set data.name=digits, need no torchvision",
        ) from None


def _copy_archive(facts: KnownDataset, data_dir: Path, root: Path) -> None:
    """Give torchvision an archive that was downloaded before."""
    if facts.archive and (data_dir / facts.archive).is_file():
        (root / facts.archive).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_dir / facts.archive, root / facts.archive)


def _fetch(datasets: Any, facts: KnownDataset, root: Path) -> None:  # noqa: ANN401  torchvision has no type stubs
    source = getattr(datasets, facts.torchvision_class)
    split = {"split": facts.split} if facts.split else {}
    try:
        source(root=str(root), train=True, download=True, **split)
    except FAILURES as error:
        if isinstance(error, OSError) and (is_disk_full(error) or error.errno in (errno.EACCES, errno.EROFS)):
            raise
        # If there are several mirrors, torchvision names those that it tried.
        tried = "" if hasattr(source, "mirrors") and not hasattr(source, "url") else f"Tried {source.url}, got: "
        raise DownloadError(tried + (" ".join(str(error).split()) or type(error).__name__)) from None


def _move_files(source: Path, target: Path) -> None:
    """Move the unpacked files to their folder, except those that exist there."""
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix not in _ARCHIVES and not (target / file.name).exists():
            file.replace(target / file.name)


@contextmanager
def timeout() -> Iterator[None]:
    """Let connections fail that deliver nothing for a while."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def quiet_without_terminal() -> Iterator[None]:
    """Show torchvision's progress bar on terminals only, and never write to stdout."""
    errors: TextIO = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with redirect_stdout(errors), redirect_stderr(errors):
        yield
