"""A run that is gone on with: whether it may be, from where, and what differs then."""

import logging
from typing import Any

from cnncli.config.config import Config
from cnncli.config.document import dotted, parse_document, read_document
from cnncli.errors import RunError, UsageError
from cnncli.experiment.setup import Experiment
from cnncli.training.checkpoint import load_state, read_manifest
from cnncli.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)

_MAY_DIFFER = (("name",), ("train", "epochs"), ("train", "early_stopping"), ("log",))
"""What a resumed run may change without becoming another run."""


def check_can_go_on(config: Config, run: RunDirectory) -> None:
    """Refuse to go on with a config that would make another run of it, or that leaves nothing to train.

    Raises:
        UsageError: names the fields that differ, or the epochs there are.
        RunError: there is no checkpoint to go on from.
    """
    before = read_document(run.resolved).data
    after = parse_document(config.resolved(), name="").data
    changed = [route for route in _differences(before, after) if not any(route[: len(m)] == m for m in _MAY_DIFFER)]
    if changed:
        raise UsageError(
            f"{run.path} was trained with other settings: {', '.join(dotted(route) for route in changed)}",
            remedy="only train.epochs, train.early_stopping, name and log may change on the way; "
            "leave the others as they were, or start a new run without --resume",
        )
    done = read_manifest(run.last)["epoch"]
    complete = run.status().state == "complete"
    if config.train.epochs < done or (complete and config.train.epochs == done):
        raise UsageError(
            f"{run.path} has {done} epochs already" + (" and is complete" if complete else ""),
            remedy=f"train it longer with --set train.epochs={2 * done}",
        )


def _differences(before: object, after: object, route: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Routes at which two nested mappings differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [each for key in keys for each in _differences(before.get(key), after.get(key), (*route, str(key)))]
    return [] if before == after else [route]


def resume(experiment: Experiment, run: RunDirectory) -> None:
    """Put the training where the run's last checkpoint left it.

    Raises:
        RunError: the data has changed; or the checkpoint is missing, damaged, or of another network.
        UsageError: early stopping has ended the run.
    """
    _check_same_data(experiment, run)
    training = experiment.training
    training.load_state_dict(experiment.group.from_first(load_state(run.last)))
    stopping = experiment.config.train.early_stopping
    if run.status().state == "complete" and stopping and training.epochs_without_gain >= stopping.patience:
        raise UsageError(
            f"early stopping ended {run.path} after {training.epochs_done} epochs",
            remedy="train it longer with --set train.early_stopping=null, or with a larger patience",
        )
    run.cut_metrics(training.epochs_done)


def _check_same_data(experiment: Experiment, run: RunDirectory) -> None:
    """Refuse other data: the validation images would be drawn anew, and some of them have been learned from."""
    if changed := run.changed_data(experiment.data_files):
        raise RunError(
            f"the data has changed since {run.path} began: {', '.join(changed[:5])}",
            remedy="put the data back as it was, or start a new run",
        )


def note_resumption(run: RunDirectory, meta: dict[str, Any]) -> None:
    """Add to meta.json what the run goes on with, and say what keeps it from giving the same bits as before."""
    first = run.meta()
    for what, before, now in (
        ("torch", first.get("versions", {}).get("torch"), meta["versions"]["torch"]),
        ("precision", first.get("precision", meta["precision"]), meta["precision"]),
        ("threads:", first.get("threads"), meta["threads"]),
        ("processes:", first.get("processes", 1), meta["processes"]),
        ("device", first.get("device", {}).get("name"), meta["device"]["name"]),
    ):
        if before != now:
            _log.warning(
                f"begun with {what} {before}, goes on with {now}: the weights will not be the same, bit for bit"
            )
    run.write_meta({**first, "resumed": [*first.get("resumed", []), meta]})
