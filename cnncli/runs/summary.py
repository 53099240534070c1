"""The runs in a folder, each summarized from its small files. torch is not imported, and no weights are read."""

import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from cnncli.errors import RunError
from cnncli.limits import MAX_FOLDERS
from cnncli.training.records import State
from cnncli.training.run_directory import RunDirectory, is_run_directory

RunState = State | Literal["damaged"]
"""The state of a run; `damaged` if its status cannot be read."""

_EVENT_FILE = re.compile(r"events\.out\.tfevents\.(\d+)")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_MAX_HEADER = 100 << 20
"""Bytes of the longest header that safetensors reads."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a list of runs says about one run. What is unknown, or cannot be read, is None.

    Attributes:
        name: the path of the run in the folder of runs.
        path: the run directory.
        status: its state.
        reason: why it failed or was interrupted, if that is known.
        config: the name of its config.
        data: the name of its data set.
        epochs: the number of epochs trained so far.
        planned_epochs: `train.epochs` of its config.
        accuracy: on the test images.
        val_accuracy: the highest of all epochs.
        curve: the validation accuracy of each epoch; empty without validation.
        params: the number of parameters; None before the first checkpoint.
        seconds: the time of all epochs, with their validation.
        size: bytes of its files.
        started: when its training began, in local time.
        problems: what is wrong with its files.
    """

    name: str
    path: Path
    status: RunState
    reason: str | None
    config: str | None
    data: str | None
    epochs: int | None
    planned_epochs: int | None
    accuracy: float | None
    val_accuracy: float | None
    curve: tuple[float | None, ...]
    params: int | None
    seconds: float | None
    size: int
    started: datetime | None
    problems: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """The object of `cnncli runs --json`."""
        record = dict(vars(self))
        return record | {
            "path": str(self.path),
            "curve": list(self.curve),
            "started": self.started and self.started.isoformat(timespec="seconds"),
            "problems": list(self.problems),
        }


def find_runs(folder: Path) -> list[Path]:
    """The run directories in a folder and its subfolders, also damaged ones, sorted by path.

    Hidden directories are ignored. A link to a run counts as a run; other links are not followed.

    Args:
        folder: a folder of runs, or one run.

    Raises:
        RunError: there is no such folder, or it has more than `MAX_FOLDERS` folders that are no runs.
    """
    if not folder.is_dir():
        raise RunError(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}",
            remedy="give a folder of runs; cnncli train quickstart writes a run to the folder runs",
        )
    return [folder] if is_run_directory(folder) else sorted(_runs_below(folder))


def _runs_below(folder: Path) -> Iterator[Path]:
    folders, others = [folder], 0
    while folders:
        current = folders.pop()
        try:
            entries = [each for each in os.scandir(current) if each.is_dir() and not each.name.startswith(".")]
        except OSError:  # not readable: not one of our folders
            continue
        for entry in entries:
            path = current / entry.name
            if is_run_directory(path):
                yield path
            elif not entry.is_symlink():
                folders.append(path)
                others += 1
        if others > MAX_FOLDERS:
            raise RunError(
                f"{folder}: more than {MAX_FOLDERS:,} folders in it are no runs",
                remedy="give the folder in which the runs are",
            )


def summarize(path: Path, *, folder: Path) -> RunSummary:
    """The summary of a run. A file that is damaged or missing is one of its `problems`.

    Args:
        path: a path that `find_runs` has found.
        folder: the folder of runs.
    """
    run = RunDirectory(path)
    problems: list[str] = []
    try:
        run.check_links()
    except RunError as error:
        problems.append(error.message)
    has_link = bool(problems)

    def attempt(read: Callable[[], T]) -> T | None:
        if has_link:
            return None
        try:
            return read()
        except RunError as error:
            problems.append(error.message)
        return None

    status = attempt(run.status)
    settings = attempt(lambda: _settings(run)) or {}
    metrics = attempt(run.metrics)
    accuracy = None
    if status is not None and status.state == "complete":
        results = attempt(run.results)
        accuracy = number_at(results, "test", "accuracy")
        # The trials of a sweep, except the best one, are never evaluated on the test images.
        if results is not None and accuracy is None and ("test" in results or "val" not in results):
            problems.append(f"{path / 'results.json'} has no accuracy on the test images")
    curve = [number_at(record, "val", "accuracy") for record in metrics or ()]
    measured = [value for value in curve if value is not None]
    epochs = text_at(settings, "train", "epochs")
    return RunSummary(
        name=path.relative_to(folder).as_posix() if path != folder else path.resolve().name,
        path=path,
        status="damaged" if status is None else status.state,
        reason=None if status is None else status.reason,
        config=text_at(settings, "name"),
        data=text_at(settings, "data", "name"),
        epochs=None if metrics is None else len(metrics),
        planned_epochs=int(epochs) if epochs and epochs.isdecimal() else None,
        accuracy=accuracy,
        val_accuracy=max(measured, default=None),
        curve=tuple(curve) if measured else (),
        params=attempt(lambda: _params(run)),
        seconds=None if metrics is None else sum(number_at(record, "seconds") or 0.0 for record in metrics),
        size=size_of(path),
        started=_started(path),
        problems=tuple(problems),
    )


def summarize_all(folder: Path) -> list[RunSummary]:
    """The summary of every run in a folder.

    Raises:
        RunError: there is no such folder.
    """
    return [summarize(path, folder=folder) for path in find_runs(folder)]


def value_at(record: Any, *keys: str) -> Any:  # noqa: ANN401  JSON or YAML
    """The value at nested keys; None if one of them is missing."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def number_at(record: Any, *keys: str) -> float | None:  # noqa: ANN401  JSON
    """The finite number at nested keys; None if there is none."""
    value = value_at(record, *keys)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


def text_at(record: Any, *keys: str) -> str | None:  # noqa: ANN401  YAML
    """The text at nested keys; None if there is none."""
    value = value_at(record, *keys)
    return value if isinstance(value, str) else None


def files_of(path: Path) -> list[tuple[str, int]]:
    """The files of a run with their sizes in bytes, sorted by name. Links are not followed.

    Args:
        path: the run directory.

    Returns:
        The path of each file in the run, with slashes, and its size.
    """
    found, folders = [], [path]
    while folders:  # os.walk calls itself for every folder, which may be nested too deeply
        folder = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                file = folder / entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(file)
                    continue
                with suppress(FileNotFoundError):  # a run that is training has replaced it
                    found.append((file.relative_to(path).as_posix(), entry.stat(follow_symlinks=False).st_size))
    return sorted(found)


def size_of(path: Path) -> int:
    """Bytes of the files of a run."""
    return sum(size for _, size in files_of(path))


def _settings(run: RunDirectory) -> dict[str, Any]:
    """The resolved config with all scalars as text; empty for a run that ended before its config was written.

    Reading it as a config would check every layer, which takes ten times as long.

    Raises:
        RunError: it is not YAML.
    """
    # BaseLoader leaves scalars as they are written, so that a data set can be called `no`.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        settings = yaml.load(run.resolved.read_bytes(), loader)
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise RunError(f"cannot read {run.resolved}: {line}", remedy="restore it from another copy") from error
    return settings if isinstance(settings, dict) else {}


def _params(run: RunDirectory) -> int | None:
    """The number of parameters, from the header of a file of weights; None before the first checkpoint.

    Raises:
        RunError: the header is damaged.
    """
    for checkpoint in (run.best, run.last, run.last.with_name("last.old")):
        weights = checkpoint / "weights.safetensors"
        try:
            with weights.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(min(length, _MAX_HEADER)))
            params: int = sum(
                prod(tensor["shape"])
                for name, tensor in header.items()
                if name != "__metadata__" and not name.endswith(_BUFFERS)
            )
        except FileNotFoundError:
            continue
        except (OSError, RecursionError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
            raise RunError(f"cannot read the header of {weights}: {error}", remedy="train again") from error
        return params
    return None


def _started(path: Path) -> datetime | None:
    """When the first event file was created, which its name tells; else when the config was written."""
    times = [int(match[1]) for each in _names(path) if (match := _EVENT_FILE.match(each))]
    for name in ("config.yaml", "status.json"):
        if not times and (path / name).exists():
            times = [int((path / name).stat().st_mtime)]
    try:
        return datetime.fromtimestamp(min(times)).astimezone() if times else None
    except (OverflowError, OSError, ValueError):  # not a time
        return None


def _names(path: Path) -> Sequence[str]:
    try:
        return os.listdir(path)  # noqa: PTH208  names only
    except OSError:
        return ()
