"""A run's directory: all that is known about one training, written so that it never claims too much."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from cnncli.errors import RunError
from cnncli.files import disk_errors_explained, replace_file, replace_json, sync_directory

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


State = Literal["running", "complete", "interrupted", "failed"]

_STATUS = "status.json"
_META = "meta.json"
_METRICS = "metrics.jsonl"
_RESULTS = "results.json"
_LOCK = "lock"
_NEAR = 5


@dataclass(frozen=True)
class Status:
    """How a run stands, and for a failed one why."""

    state: State
    reason: str | None = None


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run. Make one with `create`, find one with `open`."""

    path: Path

    @classmethod
    def create(cls, out: Path, name: str, now: datetime) -> "RunDirectory":
        """Make `<out>/<name>-<YYYYmmdd-HHMMSS>`, with `-2`, `-3`, ... behind it if that is taken.

        Raises:
            DiskError: nothing can be written there.
        """
        stem = f"{name}-{now:%Y%m%d-%H%M%S}"
        with disk_errors_explained(out / stem):
            out.mkdir(parents=True, exist_ok=True)
            run = cls(_make_first_free(out, stem))
        run.set_status("running")
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """A run that is there.

        Raises:
            RunError: `path` is not the directory of a run; the message names runs that are near it.
        """
        if not (path / _STATUS).is_file():
            what = "is not the directory of a run" if path.exists() else "is not there"
            near = _runs_near(path)
            remedy = "\n  ".join(["Runs near it:", *map(str, near)]) if near else "There are no runs near it."
            raise RunError(f"{path}: {what}", remedy=remedy)
        return cls(path)

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.path / "checkpoints" / "last"

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch that scored best."""
        return self.path / "checkpoints" / "best"

    @property
    def resolved(self) -> Path:
        """The config with its defaults and overrides."""
        return self.path / "resolved.yaml"

    @property
    def trace(self) -> Path:
        """Some steps as a profiler saw them, where that was asked for."""
        return self.path / "trace.json.gz"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in this directory. RunError where one already does."""
        with locked(self.path / _LOCK):
            yield

    def write_config(self, text: str) -> None:
        """The config as it was given."""
        replace_file(self.path / "config.yaml", text.encode())

    def write_resolved(self, text: str) -> None:
        """The config with its defaults and overrides."""
        replace_file(self.resolved, text.encode())

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """What the run depended on; see `meta.collect_meta`."""
        replace_json(self.path / _META, meta)

    def changed_data(self, files: Mapping[str, str]) -> list[str]:
        """Names of the data files that are not what they were when the run began, or of which one is not there.

        Args:
            files: name -> checksum, as they are now.

        Raises:
            RunError: meta.json is missing or damaged.
        """
        before = self.meta().get("data", {})
        return sorted(name for name in {*before, *files} if before.get(name) != files.get(name))

    def meta(self) -> dict[str, Any]:
        """What the run depends on, as written.

        Raises:
            RunError: meta.json is missing or damaged.
        """
        path = self.path / _META
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path}: cannot be read: {error}", remedy="start a new run") from error

    def status(self) -> Status:
        """How the run stands; interrupted also where its process went without a word."""
        try:
            found = json.loads((self.path / _STATUS).read_bytes())
            status = Status(cast(State, found["state"]), found.get("reason"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.path / _STATUS}: cannot be read: {error}", remedy="train again") from error
        if status.state == "running" and not is_locked(self.path / _LOCK):
            return Status("interrupted", "its process ended without writing why")
        return status

    def set_status(self, state: State, reason: str | None = None) -> None:
        """Say how the run stands, and take old results away; only `finish` says `complete`."""
        assert state != "complete", "only finish() completes a run"
        assert (reason is not None) == (state == "failed"), "a failed run says why"
        with disk_errors_explained(self.path / _RESULTS):
            (self.path / _RESULTS).unlink(missing_ok=True)
        replace_json(self.path / _STATUS, {"state": state} | ({"reason": reason} if reason else {}))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results of train, val and test, then say that the run is complete."""
        replace_json(self.path / _RESULTS, results)
        replace_json(self.path / _STATUS, {"state": "complete"})

    def results(self) -> dict[str, Any]:
        """The results of a complete run. RunError for any other."""
        if self.status().state != "complete":
            raise RunError(f"{self.path}: the run is not complete", remedy=f"cnncli train --resume {self.path}")
        path = self.path / _RESULTS
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path}: cannot be read: {error}", remedy="train again") from error

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add the line of an epoch, and wait until the disk has it."""
        line = json.dumps(record, allow_nan=False) + "\n"
        path = self.path / _METRICS
        with disk_errors_explained(path), path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far, from the first. A last line that a crash cut short does not count.

        Raises:
            RunError: another line is damaged.
        """
        path = self.path / _METRICS
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise RunError(f"{path}: a line is not JSON: {error}", remedy="delete the line") from error

    def cut_metrics(self, epochs: int) -> None:
        """Keep the first `epochs` epochs, before training goes on from the checkpoint written after them."""
        kept = [json.dumps(each) + "\n" for each in self.metrics() if each["epoch"] <= epochs]
        replace_file(self.path / _METRICS, "".join(kept).encode())


def _make_first_free(out: Path, stem: str) -> Path:
    number = 1
    while True:
        path = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            sync_directory(out)
            return path


def _runs_near(path: Path) -> list[Path]:
    """Runs a user may have meant: the one around `path`, those in it, or those beside it."""
    around = [parent for parent in path.parents if _is_run(parent)]
    if around:
        return around[:1]
    inside = _runs_in(path)
    if inside:
        return inside[:_NEAR]
    beside = {each.name: each for each in _runs_in(path.parent)}
    alike = get_close_matches(path.name, beside, n=_NEAR, cutoff=0.5)
    return [beside[name] for name in alike] or list(beside.values())[:_NEAR]


def _runs_in(path: Path) -> list[Path]:
    """The runs directly in a directory, the newest first."""
    if not path.is_dir():
        return []
    runs = [each for each in path.iterdir() if _is_run(each)]
    return sorted(runs, key=lambda each: (each / _STATUS).stat().st_mtime, reverse=True)


def _is_run(path: Path) -> bool:
    return (path / _STATUS).is_file()
