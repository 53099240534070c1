"""Resuming a run: whether it is possible, from which state, and what differs from the first part."""

import logging
from pathlib import Path
from typing import Any

from cnncli.config.config import Config
from cnncli.config.document import descend, dotted, parse_document, read_document
from cnncli.errors import RunError, UsageError
from cnncli.experiment.setup import Experiment
from cnncli.training.checkpoint import has_checkpoint, load_state, read_manifest
from cnncli.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)

_MAY_CHANGE = (("name",), ("train", "epochs"), ("train", "early_stopping"), ("train", "on_nan"), ("log",))
"""The fields of a config that may change when its run is resumed."""


def check_resumable(config: Config, run: RunDirectory) -> None:
    """Refuse to resume a run with a config that changes the training so far or leaves nothing to train.

    Raises:
        UsageError: names the fields that differ, or the epochs that the run has.
        RunError: there is no checkpoint.
    """
    after = parse_document(config.resolved(), name="").data
    if run.resolved.is_file():
        before = read_document(run.resolved).data
    else:
        before = after
        _log.warning(f"{run.resolved} is missing: the settings cannot be compared with those of the training so far")
    if not isinstance(named := descend(before, ("data", "classes")), list):
        after["data"]["classes"] = named  # an older run names no classes; its weights and its data must fit
    changed = [route for route in _differences(before, after) if not any(route[: len(m)] == m for m in _MAY_CHANGE)]
    if changed:
        raise UsageError(
            f"{run.path} was trained with other settings: {', '.join(dotted(route) for route in changed)}",
            remedy="a resumed run may change only train.epochs, train.early_stopping, train.on_nan, name and log; "
            "restore the other settings, or start a new run without --resume",
        )
    done = read_manifest(_checkpoint(run))["epoch"]
    complete = run.status().state == "complete"
    if config.train.epochs < done or (complete and config.train.epochs == done):
        raise UsageError(
            f"{run.path} already has {done} epochs" + (" and is complete" if complete else ""),
            remedy=f"extend it with --set train.epochs={2 * done}",
        )


def _checkpoint(run: RunDirectory) -> Path:
    """The checkpoint to resume from: `last` or, if there is none, `best`."""
    return run.best if has_checkpoint(run.best) and not has_checkpoint(run.last) else run.last


def _differences(before: object, after: object, route: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The routes at which two nested mappings differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [each for key in keys for each in _differences(before.get(key), after.get(key), (*route, str(key)))]
    return [] if before == after else [route]


def resume(experiment: Experiment, run: RunDirectory) -> None:
    """Restore the training from the run's last checkpoint.

    Raises:
        RunError: the data has changed; or the checkpoint is missing, damaged, or of another network.
        UsageError: the run was ended by early stopping.
    """
    # With other files, the validation split would be drawn again and contain images that were trained on.
    if changed := run.changed_data(experiment.data_files):
        raise RunError(
            f"the data has changed since {run.path} was started: {', '.join(changed[:5])}",
            remedy="restore the data, or start a new run",
        )
    training = experiment.training
    training.load_state_dict(experiment.group.broadcast(load_state(_checkpoint(run))))
    if _checkpoint(run) == run.best:
        _log.warning(f"no checkpoint in {run.last}: resuming from the best epoch, {training.epochs_done}")
    stopping = experiment.config.train.early_stopping
    if run.status().state == "complete" and stopping and training.epochs_without_improvement >= stopping.patience:
        raise UsageError(
            f"{run.path} was stopped early after {training.epochs_done} epochs",
            remedy="extend it with --set train.early_stopping=null, or with a larger patience",
        )
    run.cut_metrics(training.epochs_done)


def record_resumption(run: RunDirectory, metadata: dict[str, Any]) -> None:
    """Add to the run's metadata what it is resumed with, and warn of what prevents bit-identical results."""
    first = run.metadata()
    for name, before, now in (
        ("torch", first.get("versions", {}).get("torch"), metadata["versions"]["torch"]),
        ("precision", first.get("precision", metadata["precision"]), metadata["precision"]),
        ("threads:", first.get("threads"), metadata["threads"]),
        ("processes:", first.get("processes", 1), metadata["processes"]),
        ("device", first.get("device", {}).get("name"), metadata["device"]["name"]),
    ):
        if before != now:
            _log.warning(f"resuming with {name} {now} (started with {before}): results will not be bit-identical")
    run.write_metadata({**first, "resumed": [*first.get("resumed", []), metadata]})
