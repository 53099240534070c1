"""Whether the files of a run are intact and agree with each other, and whether its scores can be computed again.

What depends on what: the checkpoints have SHA-256 hashes in their manifests, the records of event files have CRCs. The
event files repeat the config and the curves; results.json and the manifests name epochs of metrics.jsonl; the scores
are those of the best weights.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch

from cnncli.config.config import Config, changed_settings, read_config
from cnncli.config.document import parse_document
from cnncli.errors import CnncliError, DataError, RunError
from cnncli.files import Extent
from cnncli.inspection.columns import counted
from cnncli.run import Split, load_run
from cnncli.runs.metrics import explain_change, find_other_curve
from cnncli.runs.summary import number_at, value_at
from cnncli.tensorboard.event_file import DamagedRecordError, LoggedValues, read_logged_values
from cnncli.training.checkpoint import (
    DamagedCheckpointError,
    has_checkpoint,
    load_state,
    read_logged,
    read_manifest,
    read_preprocessing,
    verify_checkpoint,
)
from cnncli.training.logged import CHANGED_EVENTS, EVENT_FILES, METRICS, Logged
from cnncli.training.metadata import collect_metadata
from cnncli.training.run_directory import RunDirectory
from cnncli.training.step_files import StepFiles
from cnncli.training.weight_history import WeightHistory

_AGAIN = "train again"
_SPLITS: tuple[Split, ...] = ("test", "val", "train")

ACCURACY_TOLERANCE = 0.001
LOSS_TOLERANCE = 0.001
"""The differences from the stored accuracy (absolute) and loss (relative) that are accepted on another machine."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of a check.

    Attributes:
        subject: a file of the run, with slashes, or `accuracy`.
        outcome: `problem`, or `skipped` if it could not be checked and need not be.
        detail: what was found.
        remedy: for a problem.
    """

    subject: str
    outcome: Literal["ok", "problem", "skipped"]
    detail: str
    remedy: str | None = None


T = TypeVar("T")

Checks: TypeAlias = Generator[Check, None, T]
"""Checks, and at the end what they have read."""


def _ok(subject: str, detail: str) -> Check:
    return Check(subject=subject, outcome="ok", detail=detail)


def _skipped(subject: str, detail: str) -> Check:
    return Check(subject=subject, outcome="skipped", detail=detail)


def _problem(subject: str, detail: str, remedy: str) -> Check:
    return Check(subject=subject, outcome="problem", detail=detail, remedy=remedy)


def verify_run(path: Path, *, data_dir: Path) -> Iterator[Check]:
    """Check the files of a run one after the other; the scores come last.

    Args:
        path: the run directory.
        data_dir: the folder with the data sets. Nothing is downloaded.

    Raises:
        RunError: `path` is not a run directory.
    """
    run = RunDirectory.open(path)
    state = yield from _check_status(run)
    complete = state == "complete"
    metadata = yield from _check_metadata(run)
    resumed = bool(metadata.get("resumed"))
    before = _logged_at_last(run)
    logged = yield from _check_event_files(run, before, complete=complete)
    yield from _check_configs(run, logged, data_dir=data_dir, resumed=resumed)
    metrics = yield from _check_metrics(run, logged, before, complete=complete)
    best = yield from _check_checkpoint(run, run.best, metrics, complete=complete)
    yield from _check_checkpoint(run, run.last, metrics, complete=complete)
    yield from _check_step_files(StepFiles(run.path / "snapshots"))
    yield from _check_step_files(WeightHistory(run.path))
    if not complete:
        yield _skipped("results.json", "only a complete run has results")
        return
    # Several processes add up the loss of an epoch in another order than the one that computes the scores.
    alone = metadata.get("processes", 1) == 1 and not resumed
    results = yield from _check_results(run, metrics, best, exact=alone)
    if results:
        yield from _check_scores(run, results, metadata, data_dir=data_dir)


def _check_status(run: RunDirectory) -> Checks[str | None]:
    try:
        status = run.status()
    except RunError as error:
        yield _problem("status.json", error.message, error.remedy or _AGAIN)
        return None
    if status.state == "running":
        yield _skipped("status.json", "the run is training: its files may change while they are read")
    else:
        yield _ok("status.json", status.state if status.reason is None else f"{status.state}: {status.reason}")
    return status.state


def _check_metadata(run: RunDirectory) -> Checks[Mapping[str, Any]]:
    try:
        metadata = run.metadata()
    except RunError as error:
        yield _problem("metadata.json", error.message, "restore it from a copy; without it the run cannot be resumed")
        return {}
    yield _ok("metadata.json", "complete")
    return metadata


def _logged_at_last(run: RunDirectory) -> Logged | None:
    """What the run had logged at its last checkpoint; None if there is none or it cannot be read, which is checked."""
    try:
        return read_logged(run.last)
    except RunError:
        return None


def _check_event_files(run: RunDirectory, before: Logged | None, *, complete: bool) -> Checks[LoggedValues]:
    logged = LoggedValues({}, {})
    files = sorted(run.path.glob(EVENT_FILES))
    missing = [] if before is None else before.missing_event_files(run.path)
    for name in missing:
        yield _problem(name, "it is missing", "restore it from a copy; TensorBoard shows the other files")
    if not files and not missing:
        yield _problem(EVENT_FILES, "there is no event file", "restore it from a copy, or train again")
    for file in files:
        try:
            count = read_logged_values(file, logged)
            as_before = before is None or before.events.get(file.name, Extent()).is_beginning_of(file)
        except DamagedRecordError as error:
            if error.cut_off and not complete:
                yield _ok(file.name, f"{error}, where the process was killed")
                continue
            remedy = "TensorBoard shows what precedes this record; restore the file from a copy, or train again"
            yield _problem(file.name, str(error), remedy)
        except (OSError, ValueError) as error:  # protobuf's DecodeError is a ValueError
            yield _problem(file.name, f"cannot be read: {error}", "restore it from a copy, or train again")
        else:
            if as_before:
                yield _ok(file.name, f"{count:,} records")
            else:
                yield _problem(file.name, CHANGED_EVENTS, "restore it from a copy, or train again")
    return logged


def _check_configs(run: RunDirectory, logged: LoggedValues, *, data_dir: Path, resumed: bool) -> Checks[None]:
    """The configs are valid, and those that the event file shows."""
    for name, tag in (("config.yaml", "config"), ("resolved.yaml", "resolved_config")):
        file = run.path / name
        try:
            text = file.read_text(encoding="utf-8")
            parse_document(text, name=name)
            if file == run.resolved:
                config = read_config(str(file), data_dir=data_dir)
                changed = _changed_since_checkpoints(run, config)
        except DataError as error:
            yield _skipped(name, f"not validated without the data set: {error.message}")
            continue
        except (OSError, UnicodeDecodeError, CnncliError) as error:
            yield _problem(name, f"cannot be read: {error}", "restore it from a copy")
            continue
        if file == run.resolved and changed:
            detail = f"it is not the config that the run was trained with: {', '.join(changed)}"
            yield _problem(name, detail, "restore these settings")
            continue
        # It shows them as Markdown, indented by four blanks, and is written before a run is resumed with more epochs.
        shown = None if resumed and file == run.resolved else logged.texts.get(tag)
        if shown is not None and [line[4:] for line in shown.splitlines()] != text.splitlines():
            yield _problem(name, "it is not the config that the event file holds", "restore it from a copy")
        else:
            yield _ok(name, "valid" if shown is None else "valid, and as in the event file")


def _changed_since_checkpoints(run: RunDirectory, config: Config) -> list[str]:
    """The settings in which a config differs from that in a checkpoint, where there is one."""
    for path in (run.last, run.best):
        with suppress(RunError):
            if trained := read_manifest(path).get("config"):
                return changed_settings(trained, config.resolved(), name=f"{path}/manifest.json")
    return []


def _check_metrics(
    run: RunDirectory, logged: LoggedValues, before: Logged | None, *, complete: bool
) -> Checks[Sequence[Mapping[str, Any]]]:
    """Every line is JSON, no epoch is missing, the curves are those of the event files, and nothing has changed."""
    name = METRICS
    file = run.path / name
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError:
        lines = []
    if not lines:
        if complete or (before is not None and before.metrics.size):
            yield _problem(name, "it is missing or empty", "restore it from a copy, or train again")
        else:
            yield _skipped(name, "no epoch yet")
        return []
    cut_off = not lines[-1].endswith(b"\n")
    if cut_off and complete:
        yield _problem(name, f"line {len(lines)} is cut off", "restore it from a copy, or train again")
    try:
        metrics = run.metrics()
    except RunError as error:
        yield _problem(name, error.message.removeprefix(f"{file}: "), error.remedy or _AGAIN)
        return []
    fault = find_other_curve(metrics, logged.scalars)
    if not fault and before is not None and not before.metrics.is_beginning_of(file):
        fault = explain_change(run.path, before)
    if fault:
        yield _problem(name, fault, "restore it from a copy, or train again")
        return metrics
    yield _ok(name, f"{counted(len(metrics), 'epoch')}, with the curves of the event files")
    return metrics


def _check_checkpoint(
    run: RunDirectory, path: Path, metrics: Sequence[Mapping[str, Any]], *, complete: bool
) -> Checks[Mapping[str, Any]]:
    """The files have the hashes of the manifest, can be loaded, and belong to an epoch of the metrics."""
    name = path.relative_to(run.path).as_posix()
    if not has_checkpoint(path):
        if path.name == "best" and complete:
            yield _problem(name, "the checkpoint is missing", _resume(run))
        else:
            yield _skipped(
                name,
                "there is no such checkpoint; a resumed run uses the other one, or begins again",
            )
        return {}
    try:
        manifest = verify_checkpoint(path)
        fault = _fault_of_manifest(path, manifest, metrics, complete=complete)
    except DamagedCheckpointError as error:
        yield _problem(error.file.relative_to(run.path).as_posix(), error.problem, error.remedy or _AGAIN)
        return {}
    except RunError as error:  # it is of another version
        yield _problem(f"{name}/manifest.json", error.message, error.remedy or _AGAIN)
        return {}
    if fault:
        yield _problem(f"{name}/manifest.json", fault, _resume(run))
    else:
        yield _ok(name, f"epoch {manifest['epoch']}, step {manifest['step']}, SHA-256 as in its manifest")
    return manifest


def _resume(run: RunDirectory) -> str:
    return f"resume the run, which makes it whole again: cnncli train --resume {run.path}"


def _fault_of_manifest(
    path: Path, manifest: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], *, complete: bool
) -> str | None:
    """How a manifest disagrees with the files of its checkpoint, which are intact, and with the metrics."""
    epoch, step = manifest["epoch"], manifest["step"]
    if read_preprocessing(path) != manifest.get("preprocessing"):
        return "its preprocessing is not that of weights.safetensors"
    within_epoch = load_state(path)["step_in_epoch"]
    if metrics and path.name == "last" and complete and epoch != len(metrics):
        return f"it says epoch {epoch}, but there are {len(metrics)}"
    if metrics and epoch <= len(metrics):
        end = metrics[epoch - 1]["step"] if epoch else 0
        if step != end + within_epoch:
            return f"it says step {step}, but epoch {epoch} ends at step {end}, and it is {within_epoch} steps further"
    return None


def _check_step_files(files: StepFiles) -> Checks[None]:
    """The files of steps of the training have the hashes in their headers."""
    damaged = False
    for step in files.steps():
        try:
            files.read(step)
        except RunError as error:
            damaged = True
            problem = error.message.removeprefix(f"{files.file(step)}: ")
            subject = f"{files.folder.name}/{files.file(step).name}"
            yield _problem(subject, problem, error.remedy or _AGAIN)
    if files.steps() and not damaged:
        yield _ok(files.folder.name, f"{counted(len(files.steps()), 'file')}, unchanged")


def _check_results(
    run: RunDirectory, metrics: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, exact: bool
) -> Checks[Mapping[str, Any]]:
    """The results belong to the best checkpoint, and repeat the validation scores of its epoch."""
    name, remedy = "results.json", _resume(run)
    try:
        results = run.results()
    except RunError as error:
        yield _problem(name, error.message, remedy)
        return {}
    fault = _fault_of_results(results)
    epoch = results.get("epoch")
    if not fault and best and epoch != best["epoch"]:
        fault = f"it says epoch {epoch}, the best checkpoint epoch {best['epoch']}"
    if not fault and isinstance(epoch, int) and 1 <= epoch <= len(metrics):
        for key in ("loss", "accuracy"):
            here, there = number_at(results, "val", key), number_at(metrics[epoch - 1], "val", key)
            same = here == there if exact or here is None or there is None else isclose(here, there, rel_tol=1e-3)
            if not same:
                fault = f"the validation {key} is {here}, in metrics.jsonl {there}"
    if fault:
        yield _problem(name, fault, remedy)
    else:
        yield _ok(name, f"epoch {epoch}, as the best checkpoint")
    return results


def _fault_of_results(results: Mapping[str, Any]) -> str | None:
    # The trials of a sweep, except the best one, are never evaluated on the test images.
    return None if "test" in results or results.keys() == {"epoch", "train", "val"} else "it has no scores for test"


def _check_scores(
    run: RunDirectory, results: Mapping[str, Any], metadata: Mapping[str, Any], *, data_dir: Path
) -> Checks[None]:
    """Evaluate the best weights again on every split that has results."""
    here = collect_metadata(device=torch.device("cpu"), data_files={}, command=())
    there = _evaluated_on(metadata)
    differs = [
        name
        for name, now, then in (
            ("torch", here["versions"]["torch"], value_at(there, "versions", "torch")),
            ("platform", here["platform"], there.get("platform")),
            ("device", here["device"], there.get("device")),
        )
        if now != then
    ]
    exact = not differs
    how = "to the last digit" if exact else f"within a tolerance, because of another {' and '.join(differs)}"
    try:
        opened = load_run(run.path, data_dir=data_dir).offline()
        for split in (split for split in _SPLITS if split in results):
            evaluation = opened.evaluate(split)
            fault = _fault_of_scores(results[split], evaluation.as_record(opened.classes), exact=exact)
            if fault:
                remedy = "restore results.json and the checkpoint from a copy, or extend the run by an epoch"
                yield _problem(f"{split} accuracy", fault, remedy)
            else:
                yield _ok(f"{split} accuracy", f"{evaluation.accuracy:.2%}, computed again: the same {how}")
    except DataError as error:
        yield _skipped("accuracy", f"not computed again without the data set: {error.message}")
    except CnncliError as error:
        yield _problem("accuracy", f"cannot be computed again: {error.message}", error.remedy or _AGAIN)


def _fault_of_scores(stored: Mapping[str, Any], computed: Mapping[str, Any], *, exact: bool) -> str | None:
    """How stored scores differ from computed ones."""
    tolerances = {"accuracy": ACCURACY_TOLERANCE, "loss": LOSS_TOLERANCE * computed["loss"]}
    for key, tolerance in tolerances.items():
        before, now = number_at(stored, key), computed[key]
        if before is None or abs(before - now) > (0.0 if exact else tolerance):
            return f"the stored {key} is {before}, computed again {now}"
    for name, now in computed["per_class"].items():
        before = value_at(stored, "per_class", name)
        if exact and before != now:
            return f"the stored accuracy of class {name} is {before}, computed again {now}"
    return None


def _evaluated_on(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the last part of the run depends on: it has computed the scores."""
    resumed = metadata.get("resumed")
    return resumed[-1] if isinstance(resumed, list) and resumed and isinstance(resumed[-1], dict) else metadata
