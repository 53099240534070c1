"""The training loop, as a generator of epochs.

Between two epochs, the caller does everything else, such as writing a checkpoint:

    for epoch in fit(Step(training), train, validation, classes=10, epochs=5):
        save_checkpoint(run.last, training)
        print(epoch.number, epoch.train.accuracy)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from cnncli.data.batches import Batches
from cnncli.errors import DivergedError
from cnncli.training.device import out_of_memory_explained
from cnncli.training.evaluate import evaluate
from cnncli.training.nonfinite import find_nonfinite_layer, find_nonfinite_weight
from cnncli.training.profile import Span
from cnncli.training.progress import Progress, Score
from cnncli.training.state import Training
from cnncli.training.step import NonFiniteStep, Step


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
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
        }


def _score_record(score: Score) -> dict[str, float | None]:
    return {"loss": score.loss if isfinite(score.loss) else None, "accuracy": score.accuracy}


def fit(
    step: Step,
    train: Batches,
    validation: Batches | None,
    *,
    classes: int,
    epochs: int,
    patience: int | None = None,
    metric: Literal["accuracy", "loss"] = "accuracy",
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
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
        progress: updated at every step without waiting for the device.
        stop: called after every step; once it is true the generator ends within the epoch.

    Raises:
        DivergedError: a loss, gradient or weight is not finite. The training must not be saved then.
        DeviceError: out of memory, or another process of the group has ended.
    """
    training = step.training
    progress = progress or Progress()
    training.restore_rng()
    while training.epochs_done < epochs and not _out_of_patience(training, patience):
        with out_of_memory_explained(training.device), step.group.peer_errors_explained():
            progress.begin(
                epoch=training.epochs_done + 1,
                epochs=epochs,
                step=training.step_in_epoch,
                steps=len(train),
                sums=training.sums,
            )
            if _run_steps(step, train, progress, stop):
                return
            epoch = _finish_epoch(step, validation, classes=classes, patience=patience, metric=metric)
        yield epoch
        training.restore_rng()


def _run_steps(step: Step, train: Batches, progress: Progress, stop: Callable[[], bool]) -> bool:
    """Take the remaining steps of an epoch; whether `stop` ended it before."""
    training = step.training
    saved_step, seconds_before, began = training.step, training.seconds, perf_counter()
    training.model.train()
    stopped = False
    batches = train.epoch(training.epochs_done + 1, training.step_in_epoch, step.group.shard)
    try:
        for images, labels in _measured(batches, step.span):
            step.take(images, labels, train.images_in(training.step_in_epoch))
            progress.write(training.step_in_epoch, training.sums)
            if stopped := stop():
                break
        step.guard.check()
    except NonFiniteStep as error:
        raise _explained(step, train, error.step, saved_step=saved_step) from None
    bad = find_nonfinite_weight(training.model)
    if bad is not None:
        raise _diverged(training, training.step, bad, saved_step=saved_step)
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
    patience: int | None,
    metric: Literal["accuracy", "loss"],
) -> Epoch:
    """Score an epoch after its last step."""
    training, began = step.training, perf_counter()
    trained = training.sums.score()
    validated = None
    if validation is not None:
        with step.span("validation"):
            evaluation = evaluate(training.inference_model, validation, classes, step.group)
        validated = Score(evaluation.loss, evaluation.accuracy)
    score = validated or trained
    train_seconds, images = training.seconds, training.sums.images
    best = training.finish_epoch(score.accuracy if metric == "accuracy" else -score.loss)
    return Epoch(
        number=training.epochs_done,
        step=training.step,
        train=trained,
        validation=validated,
        learning_rate=training.schedule(training.step - 1),
        seconds=train_seconds + perf_counter() - began,
        images_per_second=images / train_seconds,
        best=best,
        stopped_early=_out_of_patience(training, patience),
    )


def _out_of_patience(training: Training, patience: int | None) -> bool:
    return patience is not None and training.epochs_without_improvement >= patience


def _explained(step: Step, train: Batches, bad_step: int, *, saved_step: int) -> DivergedError:
    """The error for a step that is not finite; its batch is run again to find the layer."""
    training = step.training
    within_epoch = bad_step - 1 - (training.step - training.step_in_epoch)
    images, labels = next(iter(train.epoch(training.epochs_done + 1, within_epoch)))
    torch.set_rng_state(step.rng_before)  # so that dropout on the CPU drops the same numbers again
    with torch.enable_grad():
        layer = find_nonfinite_layer(training.model, images, lambda x: step.loss(training.model, x, labels)[0])
    what = layer or "the loss or the gradient (of no layer, when the batch was run again)"
    return _diverged(training, bad_step, what, saved_step=saved_step)


def _diverged(training: Training, step: int, what: str, *, saved_step: int) -> DivergedError:
    epoch, rate = training.epochs_done + 1, training.schedule(step - 1)
    checkpoint = f"the checkpoint of step {saved_step} is good" if saved_step else "there is no checkpoint yet"
    return DivergedError(
        f"training diverged at step {step} (epoch {epoch}, learning rate {rate:.3g}): {what} is not finite",
        remedy=f"lower the learning rate, give the schedule a warmup, or set train.clip_norm to 1; {checkpoint}",
    )
