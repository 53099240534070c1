"""The training loop, as a generator of epochs.

Between two epochs, the caller does everything else, such as writing a checkpoint:

    for epoch in fit(Step(training), train, validation, classes=10, epochs=5):
        save_checkpoint(run.last, training)
        print(epoch.number, epoch.train.accuracy)
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from cnncli.config.train import TOP_K, Metric
from cnncli.data.batches import Batches
from cnncli.errors import DivergedError, shorten
from cnncli.training.device import out_of_memory_explained
from cnncli.training.evaluate import evaluate
from cnncli.training.nonfinite import find_nonfinite_layer, find_nonfinite_weight
from cnncli.training.profile import Span
from cnncli.training.progress import EVALUATED_SCORES, Progress, Score
from cnncli.training.state import MOST_ROLLBACKS, Training
from cnncli.training.step import NonFiniteStep, Step

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: from 1.
        step: optimizer steps since the beginning of the training.
        train: means over the training batches during the epoch: in training mode, with weights that changed from batch
            to batch, and with label smoothing in the loss.
        validation: of the weights at the end of the epoch (their moving average, if there is one); None without
            validation images.
        learning_rate: of the last step.
        unfrozen: the layers that were frozen before the epoch, and were trained in it.
        rollbacks: to the beginning of the epoch, as in `Training.rollbacks`.
        seconds: of training and validation together.
        images_per_second: of training only.
        best: whether this epoch has the best score so far, on the validation images if there are any.
        stopped_early: whether early stopping ends the training here.
    """

    number: int
    step: int
    train: Score
    validation: Score | None
    learning_rate: float
    unfrozen: tuple[str, ...]
    rollbacks: tuple[Mapping[str, Any], ...]
    seconds: float
    images_per_second: float
    best: bool
    stopped_early: bool

    def as_record(self) -> dict[str, Any]:
        """A line of metrics.jsonl; a loss that is not finite is null, since JSON has no such numbers."""
        return {
            "epoch": self.number,
            "step": self.step,
            "train": _score_record(self.train),
            "val": _score_record(self.validation) if self.validation else None,
            "learning_rate": self.learning_rate,
            "unfrozen": list(self.unfrozen),
            "rollbacks": [dict(each) for each in self.rollbacks],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
        }


def _score_record(score: Score) -> dict[str, float | None]:
    record = {"loss": score.loss if isfinite(score.loss) else None, "accuracy": score.accuracy}
    more = {name: getattr(score, name) for name in EVALUATED_SCORES}
    return record | {name: value for name, value in more.items() if value is not None}


def fit(
    step: Step,
    train: Batches,
    validation: Batches | None,
    *,
    classes: int,
    epochs: int,
    patience: int | None = None,
    metric: Metric = "accuracy",
    top_k: int = TOP_K,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    rolled_back: Callable[[], None] = lambda: None,
) -> Iterator[Epoch]:
    """Train until `epochs` are done, from the current state of `step.training`.

    At each epoch yielded, and at the end, the training can be checkpointed; training resumed from there ends with the
    same weights. The error for a diverged training relies on a checkpoint after every epoch. Random numbers that the
    caller draws between two epochs make no difference.

    Args:
        step: takes the steps of one training.
        train: training batches.
        validation: batches that select the best epoch, or None: then the training batches do.
        classes: number of logits.
        epochs: of the whole training, those already done included.
        patience: stop after this many epochs without improvement; None: never.
        metric: what the best epoch is selected by.
        top_k: k of the top-k accuracy on the validation images.
        progress: updated at every step without waiting for the device.
        stop: called after every step; once it is true the generator ends within the epoch.
        rolled_back: called after the training has returned to its restore point, because something was not finite.

    Raises:
        DivergedError: a loss, gradient or weight is not finite, and the training cannot be rolled back (again). It must
            not be saved then.
        DeviceError: out of memory, or another process of the group has ended.
    """
    training = step.training
    progress = progress or Progress()
    training.restore_rng()
    while training.epochs_done < epochs and not _out_of_patience(training, patience):
        if training.can_roll_back and not (training.step_in_epoch and training.restore_point):
            training.set_restore_point()
        began_at = training.step
        with out_of_memory_explained(training.device), step.group.peer_errors_explained():
            progress.begin(
                epoch=training.epochs_done + 1,
                epochs=epochs,
                step=training.step_in_epoch,
                steps=len(train),
                sums=training.sums,
            )
            try:
                if _run_steps(step, train, progress, stop):
                    return
                epoch = _finish_epoch(step, validation, classes=classes, top_k=top_k, patience=patience, metric=metric)
            except _NonFinite as found:
                _roll_back(step, found, saved_step=began_at)
                rolled_back()
                continue
        yield epoch
        training.restore_rng()


class _NonFinite(Exception):  # noqa: N818  `fit` turns it into a DivergedError, or rolls the training back
    """Something was not finite.

    Args:
        step: the first step of which something was not.
        what: the layer, weight or number.
        depends_on_rate: whether it was computed with a learning rate since the restore point.
    """

    def __init__(self, step: int, what: str, *, depends_on_rate: bool) -> None:
        super().__init__(step, what)
        self.step = step
        self.what = what
        self.depends_on_rate = depends_on_rate


def _run_steps(step: Step, train: Batches, progress: Progress, stop: Callable[[], bool]) -> bool:
    """Take the remaining steps of an epoch; whether `stop` ended it before."""
    training = step.training
    seconds_before, began = training.seconds, perf_counter()
    step.begin_epoch()
    if not training.step_in_epoch and (unfrozen := training.unfrozen()):
        _log.info(f"epoch {training.epochs_done + 1} unfreezes {shorten(unfrozen)}")
    training.model.train()
    stopped = False
    batches = train.epoch(training.epochs_done + 1, training.step_in_epoch, step.shard)
    try:
        for images, targets in _measured(batches, step.span):
            step.take(images, targets, train.images_in(training.step_in_epoch))
            progress.write(training.step_in_epoch, training.sums)
            if stopped := stop():
                break
        step.guard.check()
    except NonFiniteStep as error:
        raise _explained(step, train, error.step) from None
    bad = find_nonfinite_weight(training.model)
    if bad is not None:
        raise _NonFinite(training.step, bad, depends_on_rate=True)
    training.seconds = seconds_before + perf_counter() - began
    training.save_rng()
    assert stopped or training.step_in_epoch == len(train), "an epoch has `len(train)` batches"
    return stopped


def _measured(batches: Iterator[tuple[Tensor, Tensor]], span: Span) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches; the profile counts the time that making them takes."""
    while True:
        with span("data"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _finish_epoch(
    step: Step,
    validation: Batches | None,
    *,
    classes: int,
    top_k: int,
    patience: int | None,
    metric: Metric,
) -> Epoch:
    """Score an epoch after its last step."""
    training, began = step.training, perf_counter()
    trained = training.sums.score()
    validated = None
    if validation is not None:
        with step.span("validation"):
            evaluation = evaluate(training.inference_model, validation, classes, step.group, top_k=top_k)
        more = {name: getattr(evaluation, name) for name in EVALUATED_SCORES}
        validated = Score(evaluation.loss, evaluation.accuracy, **more)
        if training.can_roll_back and not isfinite(validated.loss):  # no state to return to later
            raise _NonFinite(training.step, "the loss of the validation images", depends_on_rate=True)
    score = validated or trained
    train_seconds, images = training.seconds, training.sums.images
    rate, unfrozen = training.learning_rate(training.step - 1), training.unfrozen()
    best = training.finish_epoch(_as_score(score, metric))
    if training.plateau is not None:
        training.reduce_on_plateau(_as_score(score, training.plateau.metric))
    return Epoch(
        number=training.epochs_done,
        step=training.step,
        train=trained,
        validation=validated,
        learning_rate=rate,
        unfrozen=unfrozen,
        rollbacks=tuple(each for each in training.rollbacks if each["epoch"] == training.epochs_done),
        seconds=train_seconds + perf_counter() - began,
        images_per_second=images / train_seconds,
        best=best,
        stopped_early=_out_of_patience(training, patience),
    )


def _as_score(score: Score, metric: Metric) -> float:
    """The metric, negative if lower is better."""
    value: float = getattr(score, metric)
    return -value if metric == "loss" else value


def _out_of_patience(training: Training, patience: int | None) -> bool:
    return patience is not None and training.epochs_without_improvement >= patience


def _explained(step: Step, train: Batches, bad_step: int) -> _NonFinite:
    """What was not finite in a step: its batch is run again to find the layer."""
    training = step.training
    within_epoch = bad_step - 1 - (training.step - training.step_in_epoch)
    images, targets = next(iter(train.epoch(training.epochs_done + 1, within_epoch)))
    torch.set_rng_state(step.rng_before)  # so that dropout on the CPU drops the same numbers again
    with torch.enable_grad():
        layers = (
            find_nonfinite_layer(training.model, images[part], partial(_loss_of, step, targets=targets[part]))
            for part in step.shard.parts_of(len(images))
        )
        layer = next((each for each in layers if each), None)
    what = layer or "the loss or the gradient (of no layer, when the batch was run again)"
    restored = training.restore_point["step"] if training.restore_point else 0
    return _NonFinite(bad_step, what, depends_on_rate=bad_step > restored + 1)


def _loss_of(step: Step, images: Tensor, targets: Tensor) -> Tensor:
    return step.loss(step.training.model, images, targets)[0]


def _roll_back(step: Step, found: _NonFinite, *, saved_step: int) -> None:
    """Return to the restore point. Raises DivergedError if that is impossible, or would change nothing."""
    training = step.training
    error = _diverged(training, found, saved_step=saved_step)
    reason = f"{found.what} is not finite"
    if not (found.depends_on_rate and training.roll_back(step=found.step, reason=reason)):
        raise error from None
    step.guard.reset()
    training.restore_rng()
    _log.warning(
        f"{error.message}; back to step {training.step} with half the learning rate "
        f"(rollback {len(training.rollbacks)} of at most {MOST_ROLLBACKS})"
    )


def _diverged(training: Training, found: _NonFinite, *, saved_step: int) -> DivergedError:
    epoch, rate = training.epochs_done + 1, training.learning_rate(found.step - 1)
    after = ""
    remedies = ["lower the learning rate", "give the schedule a warmup", "set train.clip_norm to 1"]
    if training.rollbacks:
        after = f", after {len(training.rollbacks)} rollback{'s' if len(training.rollbacks) > 1 else ''}"
    elif not training.can_roll_back:
        remedies.append("set train.on_nan to rollback")
    checkpoint = f"the checkpoint of step {saved_step} is good" if saved_step else "there is no checkpoint yet"
    return DivergedError(
        f"training diverged at step {found.step} (epoch {epoch}, learning rate {rate:.3g}{after}): "
        f"{found.what} is not finite",
        remedy=f"{', '.join(remedies[:-1])}, or {remedies[-1]}; {checkpoint}",
    )
