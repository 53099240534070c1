"""The directory of a run: everything known about one training, written so that a crash leaves it valid."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

from cnncli.errors import RunError
from cnncli.files import (
    Extent,
    create_directory,
    disk_errors_explained,
    find_link,
    own_copy,
    refuse_link,
    replace_file,
    replace_json,
    sync_directory,
)
from cnncli.training.logged import EVENT_FILES, METRICS
from cnncli.training.records import (
    MetadataRecord,
    Record,
    ResultsRecord,
    State,
    StatusRecord,
    read_metrics,
    read_record,
)
from cnncli.training.run_lock import RunLock, is_training

STOPPED_WITHOUT_NOTICE = "stopped without notice"
"""The reason of a run whose process ended without writing a status: it was killed, or the disk was full."""

_log = logging.getLogger(__name__)

_CONFIG = "config.yaml"
_STATUS = "status.json"
_METADATA = "metadata.json"
_RESULTS = "results.json"
_OWN = (
    *(_STATUS, _METADATA, _RESULTS, _CONFIG, "resolved.yaml", METRICS, "lock"),
    *("checkpoints", "snapshots", "weights"),
)
_PARTS = ("resolved.yaml", _METADATA, METRICS, "checkpoints")
_NEAR = 5


@dataclass(frozen=True)
class Status:
    """The state of a run, and for a failed one the reason."""

    state: State
    reason: str | None = None


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, created by `create` or opened by `open`."""

    path: Path

    @classmethod
    def create(cls, out: Path, name: str, now: datetime) -> "RunDirectory":
        """Make `<out>/<name>-<YYYYmmdd-HHMMSS>`, with `-2`, `-3`, ... appended if it exists.

        It is a run once it has a status.

        Raises:
            DiskError: it cannot be written.
        """
        return cls(create_directory(out, f"{name}-{now:%Y%m%d-%H%M%S}"))

    @classmethod
    def create_at(cls, path: Path) -> "RunDirectory":
        """Make the directory `path`, which must not exist.

        Raises:
            DiskError: it cannot be written.
        """
        with disk_errors_explained(path):
            path.mkdir(parents=True)
            sync_directory(path.parent)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """An existing run.

        Raises:
            RunError: `path` is not a run directory; the remedy names runs near it. Or something in it is a link.
        """
        if not is_run_directory(path):
            problem = "not a run directory" if path.exists() else "does not exist"
            near = _runs_near(path)
            remedy = "\n  ".join(["Runs near it:", *map(str, near)]) if near else "There are no runs near it."
            raise RunError(f"{path}: {problem}", remedy=remedy)
        run = cls(path)
        run.check_links()
        return run

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / "checkpoints" / "best"

    @property
    def resolved(self) -> Path:
        """The config with its defaults and overrides."""
        return self.path / "resolved.yaml"

    @property
    def metrics_file(self) -> Path:
        """The file with a line for each epoch."""
        return self.path / METRICS

    def find_config(self) -> Path:
        """The path of the config with its defaults and overrides.

        Raises:
            RunError: it is missing; the message says what the run has.
        """
        if self.resolved.is_file():
            return self.resolved
        missing = f"{self.path}: {self.resolved.name} is missing"
        if self.metrics() and not self.last.exists() and not self.best.exists():
            raise RunError(f"{missing}, and so are the checkpoints", remedy="restore the files, or train again")
        raise RunError(
            missing,
            remedy="restore the file, or resume the run with the config that it was trained with: "
            f"cnncli train CFG --resume {self.path}",
        )

    @property
    def trace(self) -> Path:
        """The trace of `--profile`."""
        return self.path / "trace.json.gz"

    @contextmanager
    def lock(self) -> Iterator[RunLock]:
        """Keep other processes from training in this directory; see `RunLock`.

        Raises:
            RunError: another process holds the lock.
        """
        lock = RunLock(self.path)
        lock.acquire()
        try:
            yield lock
        finally:
            lock.release()

    def check_links(self) -> None:
        """Check that nothing in the run is a symbolic link. The run itself may be reached through one.

        Raises:
            RunError: names the link.
        """
        if link := find_link(self.path):
            refuse_link(link)

    def check_files(self) -> None:
        """Check that what a training replaces in the run can be replaced, and that its configs can be read.

        Raises:
            RunError: names what is in the way, or is damaged.
        """
        for path in (self.metrics_file, *(self.path / name for name in (_STATUS, _METADATA, _RESULTS))):
            if path.is_dir():
                raise RunError(f"{path} is a folder, where a run has a file", remedy="move it, or delete it")
        self.config_texts()

    def config_texts(self) -> dict[str, str]:
        """The config as given and the resolved one, by the names of their files; what is missing is left out.

        Raises:
            RunError: a file is damaged.
        """
        texts = {}
        for path in (self.path / _CONFIG, self.resolved):
            try:
                texts[path.name] = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except OSError as error:
                problem = error.strerror or str(error)
                raise RunError(f"cannot read {path}: {problem}", remedy="restore it from a copy") from error
            except UnicodeDecodeError as error:
                raise RunError(f"{path}: it is not UTF-8 text", remedy="restore it from a copy") from error
        return texts

    def keep_config(self, text: str) -> str:
        """Write the config as given, unless the run has one; returns that of the run.

        Raises:
            DiskError: it cannot be written.
            RunError: it cannot be read.
        """
        path = self.path / _CONFIG
        if not path.exists():
            replace_file(path, text.encode())
        return self.config_texts()[_CONFIG]

    def write_resolved(self, text: str) -> None:
        """Write the config with its defaults and overrides."""
        replace_file(self.resolved, text.encode())

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Write what `collect_metadata` gives."""
        replace_json(self.path / _METADATA, metadata)

    def changed_data(self, files: Mapping[str, str]) -> list[str]:
        """Names of the data files that have changed, appeared or disappeared since the run began.

        Args:
            files: name -> checksum now.

        Raises:
            RunError: metadata.json is missing or damaged.
        """
        before = self.metadata()["data"]
        return sorted(name for name in {*before, *files} if before.get(name) != files.get(name))

    def metadata(self) -> dict[str, Any]:
        """The content of metadata.json.

        Raises:
            RunError: metadata.json is missing or damaged.
        """
        return self._read(_METADATA, MetadataRecord, remedy="restore it from a copy, or start a new run")

    def threads(self) -> int | None:
        """The number of CPU threads with which the run was trained last; None, with a message, if it is unknown."""
        try:
            metadata = self.metadata()
        except RunError as error:
            _log.warning(f"{error.message}: the number of CPU threads of the training is unknown")
            return None
        return int((metadata.get("resumed") or [metadata])[-1]["threads"])

    def status(self) -> Status:
        """The state of the run; interrupted also if its process ended without writing it.

        Raises:
            RunError: status.json is missing or damaged.
        """
        remedy = f"resume the run, which writes it again: cnncli train --resume {self.path}"
        record = self._read(_STATUS, StatusRecord, remedy=remedy)
        if record["state"] == "running" and not is_training(self.path):
            return Status("interrupted", STOPPED_WITHOUT_NOTICE)
        return Status(record["state"], record.get("reason"))

    def is_complete(self) -> bool:
        """Whether the run is complete; a run whose status is damaged is not, with a message."""
        if not (self.path / _STATUS).exists():  # its training is about to begin
            return False
        try:
            return self.status().state == "complete"
        except RunError as error:
            _log.warning(f"{error.message}: the run counts as interrupted")
            return False

    def set_status(self, state: State, reason: str | None = None) -> None:
        """Write the state of the run and delete old results; only `finish` writes `complete`."""
        assert state != "complete", "only finish() completes a run"
        assert (reason is not None) == (state == "failed"), "a failed run has a reason"
        replace_json(self.path / _STATUS, {"state": state} | ({"reason": reason} if reason else {}))
        with disk_errors_explained(self.path / _RESULTS):
            (self.path / _RESULTS).unlink(missing_ok=True)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results of each split, then the state `complete`."""
        replace_json(self.path / _RESULTS, results)
        replace_json(self.path / _STATUS, {"state": "complete"})

    def results(self) -> dict[str, Any]:
        """The results of a run. Raises RunError if it is not complete."""
        if self.status().state != "complete":
            raise RunError(
                f"{self.path}: the run is not complete", remedy=f"resume it with: cnncli train --resume {self.path}"
            )
        remedy = f"resume the run, which evaluates it again: cnncli train --resume {self.path}"
        return self._read(_RESULTS, ResultsRecord, remedy=remedy)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append the line of an epoch and flush it to the disk."""
        line = json.dumps(record, allow_nan=False) + "\n"
        path = self.metrics_file
        own_copy(path)
        with disk_errors_explained(path), path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The records of all epochs so far; see `read_metrics`."""
        return read_metrics(self.metrics_file)

    def metrics_extent(self) -> Extent:
        """How far the metrics are now."""
        with disk_errors_explained(self.metrics_file):
            return Extent.of(self.metrics_file)

    def _read(self, name: str, kind: type[Record], *, remedy: str) -> dict[str, Any]:
        path = self.path / name
        try:
            return read_record(path, kind)
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}", remedy=remedy) from error
        except ValueError as error:
            raise RunError(f"{path}: {error}", remedy=remedy) from error


_MAX_ENTRIES, _MAX_SEARCHED = 20_000, 1_000
"""Of a directory, when runs are looked for: names that are read, and directories that are looked into."""


def _runs_near(path: Path) -> list[Path]:
    """Runs the user may have meant: the one that contains `path`, those in it, or those next to it."""
    if containing := [parent for parent in path.parents if is_run_directory(parent)]:
        return containing[:1]
    if inside := _runs_in(path):
        return inside[:_NEAR]
    beside = {each.name: each for each in _runs_in(path.parent)}
    similar = get_close_matches(path.name, beside, n=_NEAR, cutoff=0.5)
    return [beside[name] for name in similar] or list(beside.values())[:_NEAR]


def _runs_in(path: Path) -> list[Path]:
    """The runs in a directory, newest first: those among its first `_MAX_SEARCHED` directories."""
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        folders = (Path(each.path) for each in islice(entries, _MAX_ENTRIES) if each.is_dir())
        runs = [each for each in islice(folders, _MAX_SEARCHED) if is_run_directory(each)]
    return sorted(runs, key=lambda each: each.stat().st_mtime, reverse=True)


def run_of_file(path: Path) -> Path | None:
    """The run that a file is a part of, which no output may replace; pictures, pages and exports are none."""
    whole = path.resolve()
    for run in whole.parents:
        if is_run_directory(run):
            first = whole.relative_to(run).parts[0]
            return run if first in _OWN or fnmatch(first, EVENT_FILES) else None
    return None


def is_run_directory(path: Path) -> bool:
    """Whether `path` is a run, perhaps a damaged one: it has a status or, without one, two other parts of a run."""
    return os.path.lexists(path / _STATUS) or sum((path / name).exists() for name in _PARTS) >= 2
