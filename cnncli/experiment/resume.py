"""Resuming a run: whether it is possible, from which state, and what differs from the first part."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from cnncli.config.config import MAY_CHANGE, Config, changed_settings
from cnncli.errors import RunError, UsageError
from cnncli.experiment.setup import Experiment
from cnncli.training.checkpoint import load_state, read_manifest, save_checkpoint, verify_checkpoint
from cnncli.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)


def check_resumable(config: Config, run: RunDirectory) -> None:
    """Refuse to resume a run with a config that changes the training so far or leaves nothing to train.

    Raises:
        UsageError: names the fields that differ, or the epochs that the run has.
        RunError: there is no checkpoint.
    """
    _check_settings(config, run)
    state, _ = _load_newest(run)
    done, complete = state["epochs_done"], run.is_complete()
    if config.train.epochs < done or (complete and config.train.epochs == done and _is_whole(run, state)):
        raise UsageError(
            f"{run.path} already has {done} epochs" + (" and is complete" if complete else ""),
            remedy=f"extend it with --set train.epochs={2 * done}",
        )


def _check_settings(config: Config, run: RunDirectory) -> None:
    """Check that a config changes no setting of the training so far, which the checkpoints repeat."""
    before = _config_of_checkpoint(run)
    if before is None:
        _log.warning(f"{run.resolved} is missing: the settings cannot be compared with those of the training so far")
        return
    changed = changed_settings(before, config.resolved(), name=str(run.resolved))
    if not changed:
        return
    allowed = ", ".join(".".join(route) for route in MAY_CHANGE)
    if config.document.name == str(run.resolved):
        in_file = changed_settings(before, run.config_texts()[run.resolved.name], name=str(run.resolved))
        if in_file:
            raise RunError(
                f"{run.resolved} was edited: it is not the config that the run was trained with: {', '.join(in_file)}",
                remedy=f"restore these settings; a resumed run may change only {allowed}, by --set",
            )
    raise UsageError(
        f"{run.path} was trained with other settings: {', '.join(changed)}",
        remedy=f"a resumed run may change only {allowed}; restore the other settings, or start a new run without "
        "--resume",
    )


def _config_of_checkpoint(run: RunDirectory) -> str | None:
    """The resolved config in the newest checkpoint; if that has none, in `resolved.yaml`; None without both."""
    for path in (run.last, run.best):
        with suppress(RunError):
            if config := read_manifest(path).get("config"):
                return str(config)
    return run.config_texts().get(run.resolved.name)


def _load_newest(run: RunDirectory) -> tuple[dict[str, Any], RunError | None]:
    """The state to resume from: that of `last` or, if it cannot be read, of `best`, and then why.

    Raises:
        RunError: neither can be read.
    """
    try:
        return load_state(run.last), None
    except RunError as error:
        if not _is_intact(run.best):
            raise
        return load_state(run.best), error


def _is_intact(path: Path) -> bool:
    """Whether there is a checkpoint at a path, and it is not damaged."""
    try:
        verify_checkpoint(path)
    except RunError:
        return False
    return True


def _has_best(run: RunDirectory, state: Mapping[str, Any]) -> bool:
    """Whether `best` holds what the state says: the weights of the best epoch, or none before the end of the first.

    After a crash it may be newer than the state, which will be trained to the same weights again.
    """
    if not state["best_epoch"]:
        return True
    if not _is_intact(run.best):
        return False
    epoch: int = verify_checkpoint(run.best)["epoch"]
    return bool(epoch == state["best_epoch"] or epoch > state["epochs_done"])


def _is_whole(run: RunDirectory, state: Mapping[str, Any]) -> bool:
    """Whether a complete run has both checkpoints, and results of the best one."""
    try:
        results = run.results()
    except RunError:
        return False
    if not _is_intact(run.last) or not _has_best(run, state):
        return False
    return bool(verify_checkpoint(run.best)["epoch"] == results["epoch"])


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
    state, problem = _load_newest(run)
    if problem:
        _log.warning(f"{problem.message}: resuming from the best epoch, {state['epochs_done']}")
    stopping = experiment.config.train.early_stopping
    stopped_early = stopping is not None and state["epochs_without_improvement"] >= stopping.patience
    if stopped_early and run.is_complete() and _is_whole(run, state):
        raise UsageError(
            f"{run.path} was stopped early after {state['epochs_done']} epochs",
            remedy="extend it with --set train.early_stopping=null, or with a larger patience",
        )
    has_best, has_last = _has_best(run, state), _is_intact(run.last)
    if not has_best:
        metric = stopping.metric if stopping else "accuracy"
        state |= {"best_epoch": state["epochs_done"], "best_score": _score(run, state, metric=metric)}
    training = experiment.training
    training.load_state_dict(experiment.group.broadcast(state))
    if not has_best:
        _log.warning(
            f"{run.best} does not hold the weights of the best epoch, which are lost: those of epoch "
            f"{training.epochs_done} take their place"
        )
        save_checkpoint(run.best, training)
    if not has_last:
        save_checkpoint(run.last, training)
    run.cut_metrics(training.epochs_done)


def _score(run: RunDirectory, state: Mapping[str, Any], *, metric: Literal["accuracy", "loss"]) -> float | None:
    """The score of the last epoch, as `Training.finish_epoch` takes it; None within an epoch, and if it is unknown."""
    records = run.metrics()[: state["epochs_done"]]
    if state["step_in_epoch"] or len(records) < state["epochs_done"]:
        return None
    score = records[-1]["val"] or records[-1]["train"]
    return score["accuracy"] if metric == "accuracy" else -score["loss"] if score["loss"] is not None else None


def record_resumption(run: RunDirectory, metadata: dict[str, Any]) -> None:
    """Add to the run's metadata what it is resumed with, and warn of what prevents bit-identical results."""
    first = run.metadata()
    for name, before, now in (
        ("torch", first["versions"].get("torch"), metadata["versions"]["torch"]),
        ("precision", first.get("precision", metadata["precision"]), metadata["precision"]),
        ("threads:", first["threads"], metadata["threads"]),
        ("processes:", first.get("processes", 1), metadata["processes"]),
        ("device", first["device"]["name"], metadata["device"]["name"]),
    ):
        if before != now:
            _log.warning(f"resuming with {name} {now} (started with {before}): results will not be bit-identical")
    run.write_metadata({**first, "resumed": [*first.get("resumed", []), metadata]})
