"""Runs deleted, or parts of them.

A run is first renamed to a hidden name, while its lock is held, and then deleted: an interrupted deletion leaves
nothing that looks like a run. The next deletion completes it.
"""

import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cnncli.errors import RunError, UsageError, did_you_mean
from cnncli.files import disk_errors_explained
from cnncli.runs.summary import RunSummary, find_runs, size_of, summarize_all
from cnncli.training.run_directory import RunDirectory

Part: TypeAlias = Literal["snapshots", "weights", "last"]
"""A part of a complete run that is not needed to use it: the values of the animations, the weights of steps of the
training, or the checkpoint that is needed only for more epochs."""

PARTS: tuple[Part, ...] = get_args(Part)
_PLACES: dict[Part, tuple[str, ...]] = {
    "snapshots": ("snapshots",),
    "weights": ("weights",),
    "last": ("checkpoints", "last"),
}
_NAMES: dict[Part, str] = {"snapshots": "snapshots", "weights": "weights of steps", "last": "last checkpoint"}
_SUFFIX = ".deleted"
_LEFTOVER = re.compile(rf"\..+\.[0-9a-f]{{32}}{re.escape(_SUFFIX)}")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs are to be deleted: those that meet every condition given.

    Without any, these are the runs that ended before their first checkpoint: they hold no weights.

    Attributes:
        states: the states of the runs.
        older_than: the time since they were started.
        keep: of each config, the newest runs of this number are kept.
    """

    states: Sequence[str] = ()
    older_than: timedelta | None = None
    keep: int | None = None

    @property
    def is_default(self) -> bool:
        """Whether no condition is given."""
        return not self.states and self.older_than is None and self.keep is None


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A directory to delete.

    Attributes:
        name: the run, as it is listed.
        path: the directory: of the run, of a part of it, or left by an interrupted deletion.
        run: the directory of the run whose lock is needed; None for what an interrupted deletion has left.
        reason: why.
        size: bytes of its files.
    """

    name: str
    path: Path
    run: Path | None
    reason: str
    size: int

    def as_record(self) -> dict[str, Any]:
        """The object of `cnncli runs prune --json`."""
        return {"name": self.name, "path": str(self.path), "reason": self.reason, "size": self.size}


def check_parts(names: Sequence[str]) -> list[Part]:
    """The parts of `--only`.

    Raises:
        UsageError: one of them is unknown.
    """
    known: dict[str, Part] = {part: part for part in PARTS}
    for name in names:
        if name not in known:
            raise UsageError(f"--only {name}: unknown part{did_you_mean(name, PARTS)}")
    return [known[name] for name in dict.fromkeys(names)]


def plan_deletions(
    folder: Path, selection: Selection, parts: Sequence[Part] = (), *, now: datetime | None = None
) -> list[Deletion]:
    """What to delete in a folder. Running and damaged runs, and links to runs, are never selected.

    Damaged runs are selected if `selection.states` names them.

    Args:
        folder: a folder of runs.
        selection: which runs.
        parts: delete only these parts, of complete runs that are selected; of all of them without a condition.
        now: the current time.

    Raises:
        RunError: there is no such folder, or it is a run itself.
    """
    if find_runs(folder) == [folder]:
        raise RunError(f"{folder} is a run, not a folder of runs", remedy=f"give {folder.parent}")
    runs = [run for run in summarize_all(folder) if not _is_link(run.path, folder)]
    if parts:
        chosen = [(run, "") for run in runs if run.status == "complete"]
        if not selection.is_default:
            selected = {run.path for run, _ in _select(runs, selection, now or datetime.now().astimezone())}
            chosen = [(run, reason) for run, reason in chosen if run.path in selected]
        return [
            Deletion(
                name=run.name,
                path=place,
                run=run.path,
                reason=f"{_NAMES[part]} of a complete run",
                size=size_of(place),
            )
            for run, _ in chosen
            for part in parts
            if (place := run.path.joinpath(*_PLACES[part])).is_dir() and not place.is_symlink()
        ]
    chosen = _select(runs, selection, now or datetime.now().astimezone())
    return [
        *(Deletion(name=run.name, path=run.path, run=run.path, reason=why, size=run.size) for run, why in chosen),
        *_leftovers(folder),
    ]


def _select(runs: Sequence[RunSummary], selection: Selection, now: datetime) -> list[tuple[RunSummary, str]]:
    """The runs that meet all conditions, each with the reason."""
    states = selection.states
    idle = [run for run in runs if run.status != "running" and (run.status != "damaged" or "damaged" in states)]
    if selection.is_default:
        return [(run, f"{run.status} before its first checkpoint") for run in idle if _has_no_weights(run)]
    surplus = _surplus(runs, selection.keep) if selection.keep is not None else {run.path for run in runs}
    chosen = []
    for run in idle:
        age = now - run.started if run.started else None
        old = selection.older_than is None or (age is not None and age > selection.older_than)
        if (not states or run.status in states) and old and run.path in surplus:
            days = f", {age.days} days old" if age is not None and selection.older_than is not None else ""
            more = f", not among the newest {selection.keep} of {run.config}" if selection.keep else ""
            chosen.append((run, f"{run.status}{days}{more}"))
    return chosen


def _has_no_weights(run: RunSummary) -> bool:
    checkpoints = run.path / "checkpoints"
    kept = any((checkpoints / name / "manifest.json").exists() for name in ("last", "last.old", "best", "best.old"))
    return run.status in ("interrupted", "failed") and not kept


def _surplus(runs: Sequence[RunSummary], keep: int) -> set[Path]:
    """All but the newest runs of each config; running ones count as the newest."""
    by_config: defaultdict[str | None, list[RunSummary]] = defaultdict(list)
    for run in runs:
        by_config[run.config].append(run)
    surplus: set[Path] = set()
    for group in by_config.values():
        newest = sorted(group, key=_newness, reverse=True)
        surplus |= {run.path for run in newest[keep:]}
    return surplus


def _newness(run: RunSummary) -> tuple[bool, float]:
    return run.status == "running", run.started.timestamp() if run.started else 0.0


def _leftovers(folder: Path) -> list[Deletion]:
    """What interrupted deletions have left in a folder, its subfolders and runs."""
    found = []
    for parent, names, _ in os.walk(folder):
        for name in names:
            if _LEFTOVER.fullmatch(name) and not Path(parent, name).is_symlink():
                path = Path(parent, name)
                reason = "left by an interrupted deletion"
                found.append(Deletion(name=name, path=path, run=None, reason=reason, size=size_of(path)))
        names[:] = [name for name in names if not name.startswith(".")]
    return sorted(found, key=lambda each: each.name)


def _is_link(path: Path, folder: Path) -> bool:
    """Whether a part of the path below the folder is a symbolic link."""
    below = [path, *path.parents]
    return any(each.is_symlink() for each in below[: below.index(folder)])


def delete(deletion: Deletion) -> Deletion:
    """Delete a directory. Links in it are deleted, not what they lead to.

    Returns:
        The deletion, with the size at this moment.

    Raises:
        RunError: the run is in use.
        DiskError: it cannot be deleted.
    """
    path = deletion.path
    with disk_errors_explained(path):
        if deletion.run is None:
            shutil.rmtree(path)
            return deletion
        hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
        run = RunDirectory(deletion.run)
        with run.lock():
            size = size_of(path)
            if os.name != "nt":  # Windows does not rename a directory with an open file
                path.rename(hidden)
        if os.name == "nt":
            path.rename(hidden)
        shutil.rmtree(hidden)
    return replace(deletion, size=size)
