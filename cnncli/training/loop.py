"""The training loop, as a generator of epochs.

Whoever runs it does between two epochs what there is to do, beginning with the checkpoint:

    for epoch in fit(training, train, validation, classes=10, epochs=5):
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

from cnncli.errors import DivergedError
from cnncli.training.device import out_of_memory_explained
from cnncli.training.evaluate import Batches, evaluate
from cnncli.training.nonfinite import find_nonfinite_layer, find_nonfinite_weight
from cnncli.training.process_group import ALONE, Group
from cnncli.training.profile import Profile, Span
from cnncli.training.progress import Progress, Score
from cnncli.training.state import Training
from cnncli.training.step import NotFinite, Step


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: from 1.
        step: optimizer steps taken since the beginning of the training.
        train: means over the training batches as they were met: in training mode, with weights that changed
            from batch to batch, and with label smoothing in the loss.
        validation: of the weights at the end of the epoch (the averaged ones, if any); None without
            validation images.
        learning_rate: of the last step.
        seconds: training and validation together.
        images_per_second: of training alone.
        best: whether this epoch scored best so far, on the validation images if there are any.
        stopped_early: whether this was the last one because too many went by without gain.
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
        """The line of metrics.jsonl; null where a number is not finite, for which JSON has no word."""
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
    training: Training,
    train: Batches,
    validation: Batches | None,
    *,
    classes: int,
    epochs: int,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    bf16: bool = False,
    compiled: bool = False,
    patience: int | None = None,
    metric: Literal["accuracy", "loss"] = "accuracy",
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    profile: Profile | None = None,
    group: Group = ALONE,
) -> Iterator[Epoch]:
    """Train until `epochs` are done, from wherever `training` stands.

    At each epoch it yields, and where it ends, `training` can be checkpointed, and going on from there gives the same
    weights. Write one at every epoch: the message of a DivergedError counts on it. What the caller draws from the
    global random number generators between two epochs makes no difference.

    Args:
        training: model, optimizer, schedule and average, and how far they have got.
        train: batches to learn from.
        validation: batches to judge by, or None.
        classes: number of logits.
        epochs: of the whole training, those already done included.
        label_smoothing, clip_norm, bf16, compiled, profile, group: see `Step`.
        patience: end after so many epochs without gain in `metric`; None: never.
        metric: what the best epoch is chosen by; on the training batches where there is no validation.
        progress: kept up to date at every step, without waiting for the device.
        stop: asked after every step; once it says yes, the generator ends without finishing the epoch.

    Raises:
        DivergedError: a loss, gradient or weight is not finite. What is left in `training` is not to be saved.
        DeviceError: out of memory, or another process of the group has ended.
    """
    step = Step(
        training,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm,
        bf16=bf16,
        compiled=compiled,
        profile=profile,
        group=group,
    )
    training.restore_random()
    while training.epochs_done < epochs and not _out_of_patience(training, patience):
        with out_of_memory_explained(training.device), group.loss_explained():
            ended = _run_steps(training, step, train, epochs=epochs, progress=progress or Progress(), stop=stop)
            if not ended:
                return
            epoch = _finish_epoch(training, step, validation, classes=classes, patience=patience, metric=metric)
        yield epoch
        training.restore_random()


def _run_steps(
    training: Training,
    step: Step,
    train: Batches,
    *,
    epochs: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> bool:
    """Take the steps of an epoch that are still to be taken; whether it got to the end of the epoch."""
    saved_step, seconds_before, began = training.step, training.seconds, perf_counter()
    first = training.step_in_epoch
    number = training.epochs_done + 1
    progress.begin(epoch=number, epochs=epochs, step=first, steps=len(train), sums=training.sums)
    training.model.train()
    stopped = False
    try:
        for images, labels in _fetched(train.epoch(number, first, step.group.share), step.span):
            step.take(images, labels, train.images_in(training.step_in_epoch))
            progress.write(training.step_in_epoch, training.sums)
            stopped = stop()
            if stopped:
                break
        step.guard.settle()
    except NotFinite as found:
        raise _explained(training, step, train, found.step, saved_step=saved_step) from None
    bad = find_nonfinite_weight(training.model)
    if bad is not None:
        raise _diverged(training, training.step, bad, saved_step=saved_step)
    training.seconds = seconds_before + perf_counter() - began
    training.remember_random()
    assert stopped or training.step_in_epoch == len(train), "an epoch has as many batches as it says"
    return not stopped


def _fetched(batches: Iterator[tuple[Tensor, Tensor]], span: Span) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, as they are made."""
    while True:
        with span("data"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _finish_epoch(
    training: Training,
    step: Step,
    validation: Batches | None,
    *,
    classes: int,
    patience: int | None,
    metric: Literal["accuracy", "loss"],
) -> Epoch:
    """Score the epoch whose steps have all been taken."""
    began = perf_counter()
    trained = training.sums.score()
    validated = None
    if validation is not None:
        with step.span("validation"):
            evaluation = evaluate(training.best_model, validation, classes, step.group)
        validated = Score(evaluation.loss, evaluation.accuracy)
    judged = validated or trained
    train_seconds, images = training.seconds, training.sums.images
    best = training.finish_epoch(judged.accuracy if metric == "accuracy" else -judged.loss)
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
    return patience is not None and training.epochs_without_gain >= patience


def _explained(training: Training, step: Step, train: Batches, bad_step: int, *, saved_step: int) -> DivergedError:
    """The error for a step that is not finite: its batch is run once more to find the layer."""
    within_epoch = bad_step - 1 - (training.step - training.step_in_epoch)
    images, labels = next(iter(train.epoch(training.epochs_done + 1, within_epoch)))
    torch.set_rng_state(step.random_before)  # so that dropout on the CPU drops the same numbers once more
    with torch.enable_grad():
        culprit = find_nonfinite_layer(training.model, images, lambda x: step.loss(training.model, x, labels)[0])
    what = culprit or "the loss or the gradient (of no layer, when the batch was run again)"
    return _diverged(training, bad_step, what, saved_step=saved_step)


def _diverged(training: Training, step: int, what: str, *, saved_step: int) -> DivergedError:
    epoch, rate = training.epochs_done + 1, training.schedule(step - 1)
    good = f"the checkpoint of step {saved_step} is good" if saved_step else "there was no checkpoint yet"
    return DivergedError(
        f"training diverged at step {step} (epoch {epoch}, learning rate {rate:.3g}): {what} is not finite",
        remedy="make the learning rate smaller, give the schedule a warmup, or set train.clip_norm to 1; " + good,
    )
