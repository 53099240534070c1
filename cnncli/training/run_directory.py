"""The directory of a run: everything known about one training, written so that a crash leaves it valid."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args

from cnncli.errors import RunError
from cnncli.files import (
    Extent,
    create_directory,
    disk_errors_explained,
    is_locked,
    replace_file,
    replace_json,
    sync_directory,
)
from cnncli.training.logged import METRICS

State = Literal["running", "complete", "interrupted", "failed"]

_STATUS = "status.json"
_METADATA = "metadata.json"
_RESULTS = "results.json"
_LOCK = "lock"
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
            RunError: `path` is not a run directory; the remedy names runs near it.
        """
        if not (path / _STATUS).is_file():
            problem = "not a run directory" if path.exists() else "does not exist"
            near = _runs_near(path)
            remedy = "\n  ".join(["Runs near it:", *map(str, near)]) if near else "There are no runs near it."
            raise RunError(f"{path}: {problem}", remedy=remedy)
        return cls(path)

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
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in this directory.

        The operating system releases the lock when the process exits, also when it is killed. The lock file names the
        process, where the system lets others read it.

        Raises:
            RunError: another process holds the lock.
        """
        from filelock import FileLock, Timeout  # takes longer than reading a run

        path = self.path / _LOCK
        lock = FileLock(path, blocking=False)
        with disk_errors_explained(path):
            try:
                lock.acquire()
            except Timeout as error:
                raise RunError(
                    f"{self.path}: the run is in use by {_holder(path)}",
                    remedy="wait until it ends, or stop it; it writes a checkpoint on Ctrl-C",
                ) from error
        try:
            with suppress(OSError):  # Windows does not allow access to a locked file
                path.write_text(f"process {os.getpid()}\n", encoding="utf-8")
            yield
        finally:
            lock.release()

    def keep_config(self, text: str) -> str:
        """Write the config as given, unless the run has one; returns that of the run.

        Raises:
            DiskError: it cannot be written.
            RunError: it cannot be read.
        """
        path = self.path / "config.yaml"
        if not path.exists():
            replace_file(path, text.encode())
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {path}: {error}", remedy="delete it; the run has resolved.yaml") from error

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
        before = self.metadata().get("data", {})
        return sorted(name for name in {*before, *files} if before.get(name) != files.get(name))

    def metadata(self) -> dict[str, Any]:
        """The content of metadata.json.

        Raises:
            RunError: metadata.json is missing or damaged.
        """
        return _read_json(self.path / _METADATA, remedy="start a new run")

    def threads(self) -> int | None:
        """The number of CPU threads with which the run was trained last; None if unknown."""
        try:
            metadata = self.metadata()
        except RunError:
            return None
        resumed = metadata.get("resumed") or [metadata]
        threads = resumed[-1].get("threads")
        return threads if isinstance(threads, int) else None

    def status(self) -> Status:
        """The state of the run; interrupted also if its process died without writing it."""
        try:
            record = _parse_json((self.path / _STATUS).read_bytes())
            status = Status(cast(State, record["state"]), record.get("reason"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"cannot read {self.path / _STATUS}: {error}", remedy="train again") from error
        if status.state not in get_args(State):
            raise RunError(f"{self.path / _STATUS}: unknown state {status.state!r}", remedy="train again")
        if status.state == "running" and not is_locked(self.path / _LOCK):
            return Status("interrupted", "its process ended without writing a status")
        return status

    def set_status(self, state: State, reason: str | None = None) -> None:
        """Write the state of the run and delete old results; only `finish` writes `complete`."""
        assert state != "complete", "only finish() completes a run"
        assert (reason is not None) == (state == "failed"), "a failed run has a reason"
        with disk_errors_explained(self.path / _RESULTS):
            (self.path / _RESULTS).unlink(missing_ok=True)
        replace_json(self.path / _STATUS, {"state": state} | ({"reason": reason} if reason else {}))

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
        return _read_json(self.path / _RESULTS, remedy="train again")

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append the line of an epoch and flush it to the disk."""
        line = json.dumps(record, allow_nan=False) + "\n"
        path = self.metrics_file
        with disk_errors_explained(path), path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The records of all epochs so far, without a last line that a crash has cut off.

        Raises:
            RunError: another line is damaged.
        """
        path = self.metrics_file
        try:
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            if lines and not lines[-1].endswith(b"\n"):
                lines.pop()
            return [dict(_parse_json(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise RunError(f"{path}: a line is not JSON: {error}", remedy="delete the line") from error
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}", remedy="check its permissions") from error

    def metrics_extent(self) -> Extent:
        """How far the metrics are now."""
        with disk_errors_explained(self.metrics_file):
            return Extent.of(self.metrics_file)


def _read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    try:
        return dict(_parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot read {path}: {error}", remedy=remedy) from error


def _parse_json(text: bytes) -> Any:  # noqa: ANN401  JSON
    """The value of a JSON text; NaN and infinity, which Python reads although JSON has none, are a ValueError."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _holder(path: Path) -> str:
    """The process that the lock file names."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or "another process"
    return "another process"


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
    """The runs in a directory, newest first."""
    if not path.is_dir():
        return []
    runs = [each for each in path.iterdir() if is_run_directory(each)]
    return sorted(runs, key=lambda each: (each / _STATUS).stat().st_mtime, reverse=True)


def is_run_directory(path: Path) -> bool:
    """Whether `path` is a run, as `RunDirectory.open` recognizes it."""
    return (path / _STATUS).is_file()
