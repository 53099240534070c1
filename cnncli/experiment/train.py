"""Trains a config in a run directory, from the first step or a checkpoint to the results.

Of several processes that train together, the first one calls `train_run` and the others call `train_worker`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cnncli.errors import CnncliError, DiskError, RunError
from cnncli.experiment.resume import Resumption, record_resumption, restore_files, resume
from cnncli.experiment.setup import Experiment
from cnncli.module import CnnModule
from cnncli.training.checkpoint import load_weights, save_checkpoint
from cnncli.training.evaluate import evaluate
from cnncli.training.logged import EVENT_FILES, Logged
from cnncli.training.loop import Epoch, fit
from cnncli.training.loss import Loss, class_weights
from cnncli.training.metadata import collect_metadata
from cnncli.training.process_group import StopRequest
from cnncli.training.profile import Profile, Span, unmeasured
from cnncli.training.progress import Progress
from cnncli.training.records import State
from cnncli.training.run_directory import RunDirectory
from cnncli.training.run_lock import RunLock
from cnncli.training.scores import Evaluation
from cnncli.training.step import Step

if TYPE_CHECKING:
    from cnncli.experiment.tensorboard_log import TensorBoardLog
    from cnncli.run import Run

Fit = Callable[..., Iterator[Epoch]]
"""`fit_experiment` without the arguments that stay the same from call to call."""


def fit_experiment(
    experiment: Experiment,
    step: Step,
    *,
    stop: Callable[[], bool],
    rolled_back: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Iterator[Epoch]:
    """Train as the config says; see `fit`."""
    stopping = experiment.config.train.early_stopping
    return fit(
        step,
        experiment.train,
        experiment.validation,
        classes=len(experiment.config.classes),
        epochs=experiment.config.train.epochs,
        patience=stopping.patience if stopping else None,
        metric=stopping.metric if stopping else "accuracy",
        top_k=experiment.config.train.top_k,
        progress=progress,
        stop=stop,
        rolled_back=rolled_back,
    )


def build_step(experiment: Experiment, profile: Profile | None = None) -> Step:
    """The training step that the config describes."""
    spec, classes = experiment.config.train, experiment.config.classes
    counts = torch.bincount(experiment.train.labels, minlength=len(classes))
    weights = class_weights(spec.class_weights, counts, classes)
    if weights is not None:
        weights = weights.to(experiment.device, torch.float32)
    return Step(
        experiment.training,
        loss=Loss(choice=spec.loss, label_smoothing=spec.label_smoothing, class_weights=weights),
        clip_norm=spec.clip_norm,
        bf16=experiment.bf16,
        compiled=spec.compile and experiment.group.size == 1,
        accumulate=spec.accumulate,
        profile=profile,
        group=experiment.group,
    )


def train_worker(experiment: Experiment, *, resumed: bool, stop: Callable[[], bool]) -> None:
    """Train together with the process that runs `train_run`, without writing anything.

    Args:
        experiment: what to train.
        resumed: start from the state that the first process has read.
        stop: whether this process was asked to stop; then all processes stop.

    Raises:
        DivergedError, DeviceError: see `fit`.
    """
    if resumed:
        experiment.training.load_state_dict(experiment.group.broadcast(None))
    for _ in fit_experiment(experiment, build_step(experiment), stop=experiment.group.stop_request(stop)):
        pass


def train_run(
    experiment: Experiment,
    run: RunDirectory,
    *,
    command: Sequence[str],
    resumed: bool,
    progress: Progress,
    stop: Callable[[], bool],
    profile: Profile | None = None,
    test: bool = True,
    hparams: Mapping[str, bool | float | str] | None = None,
) -> Iterator[Epoch]:
    """Train in a run directory, and yield each epoch after it has been written there.

    If `stop` returns true, the run ends after the current step with a checkpoint and the status `interrupted`. A run
    that reaches its end has results and the status `complete`.

    Args:
        experiment: what to train.
        run: a new run or, with `resumed`, the one to resume.
        command: the command line, for the metadata.
        resumed: start from the run's last checkpoint or, if it has none yet, begin again.
        progress, stop: see `fit`.
        profile: see `Step`.
        test: evaluate the test images at the end. Otherwise the results have no `test` until `evaluate_test` adds it.
        hparams: settings to compare runs by in TensorBoard, besides those that every run has.

    Raises:
        RunError: another process trains in the directory; or its checkpoint is missing, damaged, or of another network.
        DivergedError, DeviceError, DiskError: see `fit` and `save_checkpoint`; the run's status is then `failed`.
    """
    span = unmeasured if profile is None else profile.span
    with run.lock() as lock:
        training = experiment.training
        complete = resumed and run.is_complete()
        resumption = resume(experiment, run) if resumed else Resumption(logged=Logged(), checkpoint=run.last)
        logged = resumption.logged
        if resumed:
            run.check_files()
            run.set_status("running")
        with _failure_recorded(run, lock):
            if resumed:
                restore_files(run, training, logged, complete=complete)
            metadata = _metadata(experiment, command)
            given = run.keep_config(experiment.config.document.text)
            if training.step:
                record_resumption(run, metadata, resumption, step=training.step)
            else:
                run.write_metadata(metadata)
            run.write_resolved(experiment.config.resolved())
            if not resumed:
                run.set_status("running")  # from here on it is a run, which can be resumed
            request = experiment.group.stop_request(stop)
            fit_until = partial(fit_experiment, experiment, build_step(experiment, profile), progress=progress)
            untrained = None if training.step else _take_first_step(experiment, request, fit_until)
            with _tensorboard_log(experiment, run, logged) as log:
                if untrained is not None:
                    with span("pictures"):
                        log.begin(given, metadata, untrained, hparams or {})
                    del untrained  # as large as the network
                yield from _train_epochs(experiment, run, lock, log, request, fit_until, span)
                lock.check()
                if profile is not None:
                    profile.close()
                if request.granted and training.epochs_done < experiment.config.train.epochs:
                    run.set_status("interrupted")
                    return
                with span("scores"):
                    epoch, scores = _evaluate_best(experiment, run, test=test)
                lock.check()
                with span("pictures"):
                    log.end(training.step, scores.get("test"))
            records = {part: evaluation.as_record(experiment.config.classes) for part, evaluation in scores.items()}
            run.finish({"epoch": epoch, **records})


def _metadata(experiment: Experiment, command: Sequence[str]) -> dict[str, Any]:
    return collect_metadata(
        device=experiment.device,
        bf16=experiment.bf16,
        processes=experiment.group.size,
        data_files=experiment.data_files,
        init_from=experiment.loaded.as_record() if experiment.loaded else None,
        command=command,
    )


def _take_first_step(experiment: Experiment, request: StopRequest, fit_until: Fit) -> CnnModule:
    """Take the first step before TensorBoard's packages are imported, which takes a second.

    Returns:
        A copy of the untrained network, for the pictures of step 0.
    """

    def after_one_step() -> bool:
        request()  # all processes of a group vote after every step
        return True

    untrained = copy.deepcopy(experiment.model)
    epochs = list(fit_until(stop=after_one_step))
    assert not epochs, "fit() ends an epoch only when it is called again after the last step"
    return untrained


@contextmanager
def _tensorboard_log(experiment: Experiment, run: RunDirectory, logged: Logged) -> Iterator["TensorBoardLog"]:
    """The log of a run, with a new event file after those that are logged."""
    from cnncli.experiment.tensorboard_log import TensorBoardLog
    from cnncli.tensorboard.event_file import EventFile

    with EventFile(run.path) as events:
        yield TensorBoardLog(events, run.path, experiment, logged)


def _train_epochs(
    experiment: Experiment,
    run: RunDirectory,
    lock: RunLock,
    log: "TensorBoardLog",
    request: StopRequest,
    fit_until: Fit,
    span: Span,
) -> Iterator[Epoch]:
    """Train, write each epoch before yielding it, and leave a checkpoint at the end.

    At the steps that have pictures, `fit` is stopped and called again; other processes of a group wait meanwhile. A
    checkpoint is written after everything else of its step, because a resumed run deletes what came later; and `last`
    before `best`, which can be written again from it.
    """
    training = experiment.training

    def save(path: Path) -> None:
        save_checkpoint(path, training, logged=log.logged(run.metrics_extent()))

    def rolled_back() -> None:
        lock.check()
        logged = log.logged_until(training.step, run.metrics_extent())
        save_checkpoint(run.last, training, logged=logged)  # first: one of a later step would not fit the event files
        log.return_to(logged)

    while not request.granted:
        lock.check()
        if log.due(training.step):
            with span("pictures"):
                log.draw(training.step)
            if training.step_in_epoch:
                with span("checkpoints"):
                    save(run.last)
        for epoch in fit_until(stop=lambda: request() or log.due(training.step), rolled_back=rolled_back):
            lock.check()
            run.append_metrics(epoch.as_record())
            with span("pictures"):
                log.epoch(epoch)
            with span("checkpoints"):
                save(run.last)
                if epoch.best:
                    save(run.best)
            yield epoch
        if not log.due(training.step):
            break
    if training.step_in_epoch:
        lock.check()
        save(run.last)


def evaluate_test(run: "Run") -> dict[str, Any]:
    """Evaluate the test images with the best weights of a complete run, and add the scores to its results.

    Results that have them already stay unchanged.

    Returns:
        The results, as in results.json.

    Raises:
        RunError: the run is not complete, is in use, or its best checkpoint is damaged.
        DataError: the data set is unavailable.
    """
    from cnncli.experiment.tensorboard_log import test_scalars
    from cnncli.tensorboard.event_file import DamagedRecordError, EventFile, LoggedValues, read_logged_values

    directory = RunDirectory.open(run.path)
    results = directory.results()
    if "test" in results:
        return results
    if results["epoch"] != run.epoch:
        raise RunError(
            f"{directory.best}: it does not hold the weights of the results, those of epoch {results['epoch']}",
            remedy=f"resume the run, which evaluates it again: cnncli train --resume {run.path}",
        )
    evaluation = run.evaluate("test")
    results["test"] = evaluation.as_record(run.classes)
    with directory.lock():
        logged = LoggedValues({}, {})
        for path in sorted(run.path.glob(EVENT_FILES)):
            with suppress(DamagedRecordError):  # what precedes counts
                read_logged_values(path, logged)
        last = max(line["step"] for line in directory.metrics())
        # A process that was killed before it wrote the results may have written them.
        missing = {tag: value for tag, value in test_scalars(evaluation).items() if tag not in logged.scalars}
        if missing:
            with EventFile(run.path) as events:
                events.scalars(last, missing)
        directory.finish(results)
    return results


def _evaluate_best(experiment: Experiment, run: RunDirectory, *, test: bool) -> tuple[int, dict[str, Evaluation]]:
    """Evaluate the weights of the best epoch on `train`, `val` (if any) and, if wanted, `test`.

    Returns:
        The number of the epoch, and the scores.
    """
    epoch = load_weights(run.best, experiment.model)["epoch"]
    parts = {"train": experiment.train_unchanged, "val": experiment.validation}
    if test:
        parts["test"] = experiment.test
    classes, top_k = len(experiment.config.classes), experiment.config.train.top_k
    return epoch, {
        part: evaluate(experiment.model, batches, classes, top_k=top_k)
        for part, batches in parts.items()
        if batches is not None
    }


@contextmanager
def _failure_recorded(run: RunDirectory, lock: RunLock) -> Iterator[None]:
    """Set the run's status when an exception ends the training."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        _try_to_set_status(run, lock, "interrupted")
        raise
    except CnncliError as error:
        _try_to_set_status(run, lock, "failed", error.message)
        raise
    except Exception as error:
        _try_to_set_status(run, lock, "failed", f"{type(error).__name__}: {error}")
        raise


def _try_to_set_status(run: RunDirectory, lock: RunLock, state: State, reason: str | None = None) -> None:
    """Set the status if the disk permits and the run is still there; the user must see the original error."""
    with suppress(DiskError, RunError):
        lock.check()
        run.set_status(state, reason)
