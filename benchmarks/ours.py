"""Trainings by cnncli, as `cnncli train` runs them."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.measure import Contender, Numbers, Settings
from cnncli.cli.render.training import TrainingDisplay
from cnncli.config.config import Config, read_config
from cnncli.experiment.setup import Experiment, prepare
from cnncli.experiment.train import build_step
from cnncli.training.device import keep_freed_memory
from cnncli.training.evaluate import evaluate
from cnncli.training.loop import Epoch, fit

HERE = Path(__file__).parent


def read(settings: Settings, config: str, *assignments: str) -> Config:
    """A config by its name: one in this folder or a bundled one."""
    beside = HERE / f"{config}.yaml"
    quick = ("data.name=digits", "train.batch_size=128") if settings.quick else ()
    path = str(beside) if beside.exists() else config
    return read_config(path, data_dir=settings.data_dir, assignments=[*assignments, *quick])


def prepared(settings: Settings, config: str, *assignments: str) -> Experiment:
    """The experiment as `cnncli train` prepares it, in this process."""
    torch.set_num_threads(settings.threads)
    experiment = prepare(read(settings, config, *assignments), data_dir=settings.data_dir, device=torch.device("cpu"))
    if not settings.quick:  # it cannot be undone in this process
        keep_freed_memory()
    return experiment


def epochs_of(experiment: Experiment, display: TrainingDisplay, *, epochs: int) -> Iterator[Epoch]:
    """The epochs of `cnncli.experiment.train`, without the files of a run."""
    return fit(
        build_step(experiment),
        experiment.train,
        experiment.validation,
        classes=len(experiment.config.classes),
        epochs=epochs,
        progress=display.progress,
    )


@contextmanager
def live_display() -> Iterator[TrainingDisplay]:
    """A live line that is drawn as on a terminal, to /dev/null."""
    error, forced = sys.stderr, os.environ.get("FORCE_COLOR")
    with Path(os.devnull).open("w") as null:
        sys.stderr, os.environ["FORCE_COLOR"] = null, "1"
        try:
            display = TrainingDisplay("live")
            with display.live():
                yield display
        finally:
            sys.stderr = error
            os.environ.pop("FORCE_COLOR")
            if forced is not None:
                os.environ["FORCE_COLOR"] = forced


def epoch_after_epoch(settings: Settings, config: str, assignments: Sequence[str]) -> Contender:
    """The wall time of the next epoch of a training, with its display."""
    experiment = prepared(settings, config, "data.validation=0", *assignments)

    def epoch(_: int) -> Numbers:
        began = perf_counter()
        with live_display() as display:
            next(epochs_of(experiment, display, epochs=sys.maxsize))
        return {"an epoch, s": perf_counter() - began}

    return epoch


def training_by_seed(settings: Settings, config: str, target: float, *assignments: str) -> Contender:
    """One training per round, with the round as its seed: the seconds of training until the accuracy is `target`."""

    def training(turn: int) -> Numbers:
        experiment = prepared(settings, config, f"train.seed={turn}", "data.validation=0", *assignments)
        spent, reached, accuracy, epochs = 0.0, float("inf"), 0.0, experiment.config.train.epochs
        with live_display() as display:
            generator = epochs_of(experiment, display, epochs=epochs)
            for _ in range(epochs):
                began = perf_counter()
                next(generator)
                spent += perf_counter() - began
                accuracy = evaluate(experiment.model, experiment.test, len(experiment.config.classes)).accuracy
                if accuracy >= target:
                    reached = min(reached, spent)
        return {
            "an epoch, s": spent / epochs,
            f"to {target:.1%} of the test images, s": reached,
            "accuracy at the end, %": 100 * accuracy,
        }

    return training
