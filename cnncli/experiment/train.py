"""A run from its first epoch, or from a checkpoint, to its results.

Of processes that train together the first conducts the run; what the others do is `cnncli.experiment.train.follow`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from cnncli.errors import CnncliError, DiskError
from cnncli.experiment.resume import note_resumption, resume
from cnncli.experiment.setup import Experiment
from cnncli.training.checkpoint import load_weights, save_checkpoint
from cnncli.training.evaluate import Evaluation, evaluate
from cnncli.training.loop import Epoch, fit
from cnncli.training.metadata import collect_meta
from cnncli.training.process_group import StopRequest
from cnncli.training.profile import Profile, Span, unmeasured
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory, State


def epochs(
    experiment: Experiment,
    *,
    stop: Callable[[], bool],
    progress: Progress | None = None,
    profile: Profile | None = None,
) -> Iterator[Epoch]:
    """Train as the config says; see `fit`."""
    spec = experiment.config.train
    stopping = spec.early_stopping
    return fit(
        experiment.training,
        experiment.train,
        experiment.validation,
        classes=len(experiment.config.classes),
        epochs=spec.epochs,
        label_smoothing=spec.label_smoothing,
        clip_norm=spec.clip_norm,
        bf16=experiment.bf16,
        compiled=spec.compile and experiment.group.size == 1,
        patience=stopping.patience if stopping else None,
        metric=stopping.metric if stopping else "accuracy",
        progress=progress,
        stop=stop,
        profile=profile,
        group=experiment.group,
    )


def train_worker(experiment: Experiment, *, resumed: bool, stop: Callable[[], bool]) -> None:
    """What every process of a group but the first does while that one conducts the run: it writes and says nothing.

    Args:
        experiment: what to train.
        resumed: go on from the state that the first process has read.
        stop: whether somebody wants this process to stop; then all of them do.

    Raises:
        DivergedError, DeviceError: see `fit`.
    """
    if resumed:
        experiment.training.load_state_dict(experiment.group.from_first(None))
    for _ in epochs(experiment, stop=experiment.group.vote(stop)):
        pass


if TYPE_CHECKING:
    from cnncli.experiment.tensorboard_log import Logbook

Fit = Callable[..., Iterator[Epoch]]
"""`epochs` with all that stays the same from one call to the next."""


def train_run(
    experiment: Experiment,
    run: RunDirectory,
    *,
    command: Sequence[str],
    resumed: bool,
    progress: Progress,
    stop: Callable[[], bool],
    profile: Profile | None = None,
) -> Iterator[Epoch]:
    """Train in a run directory, which says at every moment how far that got, and at the end what came of it.

    Each epoch is written down before it is yielded. If `stop` says so, the run ends after the step under way with a
    checkpoint, and its status is `interrupted`; if it gets to its end, its status is `complete` and it has results.

    Args:
        experiment: what to train.
        run: where; new, or with `resumed` the run to go on with.
        command: the command line, for meta.json.
        resumed: go on from the run's last checkpoint.
        progress, stop, profile: see `fit`.

    Raises:
        RunError: another process trains in the directory; or its checkpoint is missing, damaged, or of another network.
        DivergedError, DeviceError, DiskError: see `fit` and `save_checkpoint`; the run's status is `failed`.
    """
    span = unmeasured if profile is None else profile.span
    with run.lock():
        if resumed:
            resume(experiment, run)
        run.set_status("running")
        with _outcome_noted(run):
            meta = _meta_of(experiment, command)
            if resumed:
                note_resumption(run, meta)
            else:
                run.write_config(experiment.config.document.text)
                run.write_meta(meta)
            run.write_resolved(experiment.config.resolved())
            vote = experiment.group.vote(stop)
            fit_on = partial(epochs, experiment, progress=progress, profile=profile)
            with (
                _logbook(experiment, run, resumed_at=experiment.training.step + 1)
                if resumed
                else _begun(experiment, run, meta=meta, vote=vote, fit_on=fit_on, span=span)
            ) as logbook:
                yield from _epochs(experiment, run, logbook, vote, fit_on, span)
                if profile is not None:
                    profile.close()
                if vote.granted and experiment.training.epochs_done < experiment.config.train.epochs:
                    run.set_status("interrupted")
                    return
                with span("scores"):
                    scores = _scores(experiment, run)
                with span("pictures"):
                    logbook.end(experiment.training.step, scores["test"])
            records = {part: evaluation.as_record(experiment.config.classes) for part, evaluation in scores.items()}
            run.finish({"epoch": experiment.training.best_epoch, **records})


@contextmanager
def _logbook(experiment: Experiment, run: RunDirectory, *, resumed_at: int | None) -> Iterator["Logbook"]:
    """A logbook with an event file of its own, see `EventFile`; TensorBoard's packages are imported here."""
    from cnncli.experiment.tensorboard_log import Logbook
    from cnncli.tensorboard.event_file import EventFile

    with EventFile(run.path, resumed_at=resumed_at) as board:
        yield Logbook(board, run.path, experiment)


@contextmanager
def _begun(
    experiment: Experiment,
    run: RunDirectory,
    *,
    meta: Mapping[str, Any],
    vote: StopRequest,
    fit_on: Fit,
    span: Span,
) -> Iterator["Logbook"]:
    """The logbook of a new run, with what belongs to its beginning.

    The first step is taken before, and does not wait for packages and pictures: those of step 0 are of a copy.
    """

    def after_one_step() -> bool:
        """Stop whatever the vote says; but all processes of a group vote after every step."""
        vote()
        return True

    untrained = copy.deepcopy(experiment.model)
    ended = list(fit_on(stop=after_one_step))
    assert not ended, "an epoch is not over before fit() is asked to go on after its last step"
    with _logbook(experiment, run, resumed_at=None) as logbook:
        with span("pictures"):
            logbook.begin(meta, untrained)
        del untrained  # as large as the network
        yield logbook


def _epochs(
    experiment: Experiment,
    run: RunDirectory,
    logbook: "Logbook",
    vote: StopRequest,
    fit_on: Fit,
    span: Span,
) -> Iterator[Epoch]:
    """Train, and write down each epoch before yielding it; a checkpoint is left where it ends.

    At the steps that pictures belong to, the training is left for as long as drawing takes, as if it was stopped. Other
    processes of a group then wait at their next step.
    """
    training = experiment.training
    while not vote.granted:
        if logbook.due(training.step):
            with span("pictures"):
                logbook.draw(training.step)
            if training.step_in_epoch:
                with span("checkpoints"):
                    save_checkpoint(run.last, training)
        for epoch in fit_on(stop=lambda: vote() or logbook.due(training.step)):
            # In this order a crash loses an epoch at most: what is written twice is cut when the run goes on.
            run.append_metrics(epoch.as_record())
            with span("pictures"):
                logbook.epoch(epoch)
            with span("checkpoints"):
                if epoch.best:
                    save_checkpoint(run.best, training)
                save_checkpoint(run.last, training)
            yield epoch
        if not logbook.due(training.step):
            break
    if training.step_in_epoch:
        save_checkpoint(run.last, training)


def _meta_of(experiment: Experiment, command: Sequence[str]) -> dict[str, Any]:
    return collect_meta(
        device=experiment.device,
        bf16=experiment.bf16,
        processes=experiment.group.size,
        data_files=experiment.data_files,
        command=command,
    )


def _scores(experiment: Experiment, run: RunDirectory) -> dict[str, Evaluation]:
    """Evaluate the weights of the best epoch on `train`, `val` (if any) and `test`."""
    load_weights(run.best, experiment.model)
    parts = {"train": experiment.train_unchanged, "val": experiment.validation, "test": experiment.test}
    classes = len(experiment.config.classes)
    return {
        part: evaluate(experiment.model, batches, classes) for part, batches in parts.items() if batches is not None
    }


@contextmanager
def _outcome_noted(run: RunDirectory) -> Iterator[None]:
    """Whatever ends the work early is what the run's status says."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        _try_to_say(run, "interrupted")
        raise
    except CnncliError as error:
        _try_to_say(run, "failed", error.message)
        raise
    except Exception as error:
        _try_to_say(run, "failed", f"{type(error).__name__}: {error}")
        raise


def _try_to_say(run: RunDirectory, state: State, reason: str | None = None) -> None:
    """Set the status if the disk still takes it: what led here is what the user must hear of."""
    with suppress(DiskError):
        run.set_status(state, reason)
