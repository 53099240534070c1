"""Resuming a run: whether it is possible, from which state, and what differs from the first part."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnncli.config.config import MAY_CHANGE, Config, changed_settings, needs_force
from cnncli.config.document import parse_document
from cnncli.config.train import Metric, TrainSpec
from cnncli.errors import RunError, UsageError
from cnncli.experiment.setup import Experiment
from cnncli.files import disk_errors_explained, remove_unfinished
from cnncli.training.checkpoint import (
    has_checkpoint,
    load_to_resume,
    read_manifest,
    remove_leftovers,
    save_checkpoint,
    verify_checkpoint,
)
from cnncli.training.logged import CHANGED_EVENTS, EVENT_FILES, Logged
from cnncli.training.optimizer import build_schedule
from cnncli.training.run_directory import RunDirectory
from cnncli.training.state import Training
from cnncli.training.weight_history import WeightHistory

_log = logging.getLogger(__name__)


def check_resumable(config: Config, run: RunDirectory, *, force: bool = False) -> None:
    """Refuse to resume a run with a config that changes the training so far or leaves nothing to train.

    Args:
        config: to resume with.
        run: to resume.
        force: allow another learning rate and another schedule.

    Raises:
        UsageError: names the fields that differ, or the epochs that the run has.
        RunError: the checkpoint is missing, though the run has been trained further than its first one.
    """
    _check_settings(config, run, force=force)
    if begins_again(run):
        return
    state, _, _ = _load_newest(run)
    done, complete = state["epochs_done"], run.is_complete()
    if config.train.epochs < done or (complete and config.train.epochs == done and _is_whole(run, state)):
        raise UsageError(
            f"{run.path} already has {done} epochs" + (" and is complete" if complete else ""),
            remedy=f"extend it with --set train.epochs={2 * done}",
        )


def _check_settings(config: Config, run: RunDirectory, *, force: bool) -> None:
    """Check that a config changes no setting of the training so far, which the checkpoints repeat."""
    before = _config_of_checkpoint(run)
    if before is None:
        _log.warning(f"{run.resolved} is missing: the settings cannot be compared with those of the training so far")
        return
    changed = changed_settings(before, config.resolved(), name=str(run.resolved))
    forced = [field for field in changed if needs_force(field)]
    if not changed or (force and forced == changed):
        return
    allowed = ", ".join(".".join(route) for route in MAY_CHANGE)
    go_on = "to go on with the new one from here, add --force; the change is noted in metadata.json"
    if config.document.name == str(run.resolved):
        in_file = changed_settings(before, run.config_texts()[run.resolved.name], name=str(run.resolved))
        if in_file:
            raise RunError(
                f"{run.resolved} was edited: it is not the config that the run was trained with: {', '.join(in_file)}",
                remedy=f"restore these settings; a resumed run may change only {allowed}, by --set"
                + (f"; {go_on}" if forced == changed else ""),
            )
    if forced == changed:
        raise UsageError(f"{run.path} was trained with another {' and '.join(forced)}", remedy=go_on)
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


def begins_again(run: RunDirectory) -> bool:
    """Whether the run was ended before its first checkpoint, which is written after its first epoch at the latest."""
    exists = has_checkpoint(run.last) or has_checkpoint(run.best)
    return not exists and not run.is_complete() and len(run.metrics()) <= 1


def _load_newest(run: RunDirectory) -> tuple[dict[str, Any], Logged, RunError | None]:
    """What to resume from: `last` or, if it cannot be read, `best`, and then why.

    Returns:
        The state, what was logged, and the error.

    Raises:
        RunError: neither can be read.
    """
    try:
        return *load_to_resume(run.last), None
    except RunError as error:
        if not _is_intact(run.best):
            raise
        return *load_to_resume(run.best), error


def _is_intact(path: Path) -> bool:
    """Whether there is a checkpoint at a path, and it is not damaged."""
    try:
        verify_checkpoint(path)
    except RunError:
        return False
    return True


def _has_best(run: RunDirectory, state: Mapping[str, Any]) -> bool:
    """Whether `best` holds what the state says: the weights of the best epoch, or none before the end of the first.

    It may be newer than the state, if an older `last` was put back: the state will be trained to the same weights.
    """
    if not state["best_epoch"]:
        return True
    if not _is_intact(run.best):
        return False
    epoch: int = verify_checkpoint(run.best)["epoch"]
    return bool(epoch == state["best_epoch"] or epoch > state["epochs_done"])


def _is_best(state: Mapping[str, Any]) -> bool:
    """Whether a state holds the weights of the best epoch: it is that of its end."""
    return bool(state["best_epoch"] == state["epochs_done"] and not state["step_in_epoch"])


def _is_whole(run: RunDirectory, state: Mapping[str, Any]) -> bool:
    """Whether a complete run has both checkpoints, and results of the best one."""
    try:
        results = run.results()
    except RunError:
        return False
    if not _is_intact(run.last) or not _has_best(run, state):
        return False
    return bool(verify_checkpoint(run.best)["epoch"] == results["epoch"])


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """How a run is resumed.

    Attributes:
        logged: what the run had logged at its checkpoint.
        checkpoint: the checkpoint, `best` where `last` was missing or damaged.
        changed: the fields of the config, of those that `--force` permits, that differ from now on.
    """

    logged: Logged
    checkpoint: Path
    changed: Sequence[str] = ()


def resume(experiment: Experiment, run: RunDirectory) -> Resumption:
    """Restore the training from the run's last checkpoint, or leave it as it is if there is none yet.

    Nothing is written.

    Raises:
        RunError: the data has changed; the checkpoint is missing, damaged, or of another network; or a file to which
            the run appends has changed since.
        UsageError: the run was ended by early stopping.
    """
    training = experiment.training
    if begins_again(run):
        _check_initial_weights(experiment, run)
        _log.warning(f"{run.path} has no checkpoint yet: training begins again in it")
        experiment.group.broadcast(training.state_dict())
        return Resumption(logged=Logged(), checkpoint=run.last)
    # With other files, the validation split would be drawn again and contain images that were trained on.
    if changed := run.changed_data(experiment.data_files):
        raise RunError(
            f"the data has changed since {run.path} was started: {', '.join(changed[:5])}",
            remedy="restore the data, or start a new run",
        )
    state, logged, problem = _load_newest(run)
    checkpoint = run.best if problem else run.last
    _check_step(checkpoint, state, steps=len(experiment.train))
    logged = _check_files(run, logged)
    if problem:
        _log.warning(f"{problem.message}: resuming from the best epoch, {state['epochs_done']}")
    stopping = experiment.config.train.early_stopping
    stopped_early = stopping is not None and state["epochs_without_improvement"] >= stopping.patience
    if stopped_early and run.is_complete() and _is_whole(run, state):
        raise UsageError(
            f"{run.path} was stopped early after {state['epochs_done']} epochs",
            remedy="extend it with --set train.early_stopping=null, or with a larger patience",
        )
    if not _has_best(run, state) and not _is_best(state):
        metric = stopping.metric if stopping else "accuracy"
        state |= {"best_epoch": state["epochs_done"], "best_score": _score(run, state, metric=metric)}
        _log.warning(
            f"{run.best} does not hold the weights of the best epoch, which are lost: those of epoch "
            f"{state['epochs_done']} take their place"
        )
    training.load_state_dict(experiment.group.broadcast(state))
    before = _config_of_checkpoint(run)
    changed = changed_settings(before, experiment.config.resolved(), name=str(run.resolved)) if before else []
    if changed:
        _log.info(f"from step {training.step} on with another {' and '.join(changed)}")
    elif before is not None:
        _announce_jump(experiment, before)
    return Resumption(logged=logged, checkpoint=checkpoint, changed=changed)


_JUMP = 2.0
"""A learning rate that is multiplied by more than that from one step to the next is announced."""


def _announce_jump(experiment: Experiment, config: str) -> None:
    """Say that the learning rate jumps up where the training is resumed, as with more epochs of a falling schedule.

    Args:
        experiment: with the state of its training.
        config: that of the training so far.
    """
    training = experiment.training
    if not training.step:
        return
    old = TrainSpec.model_validate(parse_document(config, name="the config so far").data["train"])
    schedule = build_schedule(
        old.schedule, lr=old.optimizer.lr, epochs=old.epochs, steps_per_epoch=len(experiment.train)
    )
    before, after = (rate(step) for rate, step in ((schedule, training.step - 1), (training.schedule, training.step)))
    if after > _JUMP * before:
        epochs = experiment.config.train.epochs
        _log.warning(
            f"the learning rate jumps from {before:.2g} to {after:.2g} at step {training.step}: the schedule "
            f"{experiment.config.train.schedule.type} now covers {epochs} epochs instead of {old.epochs}; to avoid it, "
            "choose another with --set train.schedule and --force"
        )


def _check_initial_weights(experiment: Experiment, run: RunDirectory) -> None:
    """Refuse to begin again from other weights than those that the run began from."""
    try:
        before = run.metadata().get("init_from")
    except RunError:  # it was ended before its metadata was written
        return
    if before and experiment.loaded and before["sha256"] != experiment.loaded.sha256:
        raise RunError(
            f"the weights in {experiment.loaded.path} have changed since {run.path} was started",
            remedy="restore them, or start a new run",
        )


def _check_step(checkpoint: Path, state: Mapping[str, Any], *, steps: int) -> None:
    """Refuse a state whose step is not one of its epoch; an epoch has so many `steps`."""
    done, within = state["epochs_done"], state["step_in_epoch"]
    if within > steps or state["step"] != done * steps + within:
        raise RunError(
            f"{checkpoint / 'state.pt'}: it says step {state['step']} after {done} epochs of {steps} steps and "
            f"{within} more",
            remedy="restore the checkpoint from a copy, or train again",
        )


def _check_files(run: RunDirectory, logged: Logged) -> Logged:
    """Refuse to resume from a checkpoint if a file to which the run appends has changed since.

    Returns:
        What was logged, without event files that have been deleted.
    """
    try:
        metrics_changed = logged.metrics.size > 0 and not logged.metrics.is_beginning_of(run.metrics_file)
        changed = [*logged.changed_event_files(run.path)]
    except OSError as error:
        raise RunError(
            f"cannot read {error.filename}: {error.strerror}", remedy="restore the file from a copy, or train again"
        ) from error
    if metrics_changed:
        from cnncli.runs.metrics import explain_change  # imports what reads event files, which no new run needs

        raise RunError(
            f"{run.metrics_file}: {explain_change(run.path, logged)}",
            remedy="restore the file from a copy, or train again",
        )
    for name in changed:
        raise RunError(
            f"{run.path / name}: {CHANGED_EVENTS}",
            remedy="restore the file from a copy; or delete it, to resume the run without what it shows in TensorBoard",
        )
    missing = logged.missing_event_files(run.path)
    for name in missing:
        _log.warning(f"{run.path / name} is missing: TensorBoard will not show what it held")
    return replace(logged, events={name: extent for name, extent in logged.events.items() if name not in missing})


def restore_files(run: RunDirectory, training: Training, logged: Logged, *, complete: bool) -> None:
    """Bring the files of a run to where they were at the checkpoint from which it is resumed.

    What was written later, and what a killed process has left, is deleted, and a checkpoint that is missing or damaged
    is written again. Messages name them.

    Args:
        run: the run, which this process has locked.
        training: as it was at the checkpoint.
        logged: what was logged then.
        complete: whether the run was complete. Then only the scores and animations of its end are replaced, like its
            results, which needs no message.

    Raises:
        DiskError: a file cannot be written.
    """
    from cnncli.experiment.pictures import Snapshots  # takes longer than the first step of a training

    for checkpoint in (run.last, run.best):
        remove_leftovers(checkpoint)
    for name in ("*.json", "*.yaml"):
        remove_unfinished(run.path, name)
    cut = [run.metrics_file.name] if logged.metrics.cut(run.metrics_file) else []
    with disk_errors_explained(run.path):
        for path in sorted(run.path.glob(EVENT_FILES)):
            extent = logged.events.get(path.name)
            if extent is None:
                path.unlink()
                cut.append(path.name)
            elif extent.cut(path):
                cut.append(path.name)
    Snapshots(run.path).keep_only(logged.pictures)
    WeightHistory(run.path).keep_only(logged.pictures)
    if cut and not complete:
        _log.info(f"resuming after step {training.step}: what was logged later is written again ({', '.join(cut)})")
    if not training.step:
        return
    if not _has_best(run, vars(training)):
        _log.info(f"{run.best} is written again, from the checkpoint of step {training.step}")
        save_checkpoint(run.best, training, logged=logged)
    if not _is_intact(run.last):
        save_checkpoint(run.last, training, logged=logged)


def _score(run: RunDirectory, state: Mapping[str, Any], *, metric: Metric) -> float | None:
    """The score of the last epoch, as `Training.finish_epoch` takes it; None within an epoch, and if it is unknown."""
    records = run.metrics()[: state["epochs_done"]]
    if state["step_in_epoch"] or len(records) < state["epochs_done"]:
        return None
    score = records[-1]["val"] or records[-1]["train"]
    value: float | None = score.get(metric)
    return -value if metric == "loss" and value is not None else value


def record_resumption(run: RunDirectory, metadata: dict[str, Any], resumption: Resumption, *, step: int) -> None:
    """Add to the run's metadata what it is resumed with, and warn of what prevents bit-identical results.

    Args:
        run: the run.
        metadata: of the resumption.
        resumption: how it is resumed.
        step: from which it is resumed.
    """
    checkpoint, changed = resumption.checkpoint.name, list(resumption.changed)
    metadata = {**metadata, "step": step, "checkpoint": checkpoint, "changed": changed}
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
