"""cnncli's own training, as `cnncli train` runs it, for a process of its own."""

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
    """A config by its name, of those that are bundled or of those beside this file."""
    beside = HERE / f"{config}.yaml"
    quick = ("data.name=digits", "train.batch_size=128") if settings.quick else ()
    path = str(beside) if beside.exists() else config
    return read_config(path, data_dir=settings.data_dir, assignments=[*assignments, *quick])


def ready(settings: Settings, config: str, *assignments: str) -> Experiment:
    """Everything that a training needs, in this process as `cnncli train` would have it."""
    torch.set_num_threads(settings.threads)
    experiment = prepare(read(settings, config, *assignments), data_dir=settings.data_dir, device=torch.device("cpu"))
    if not settings.quick:  # which stays in the process that asked for it
        keep_freed_memory()
    return experiment


def epochs_of(experiment: Experiment, display: TrainingDisplay, *, epochs: int) -> Iterator[Epoch]:
    """As `cnncli.experiment.train` has them, without the files of a run."""
    return fit(
        build_step(experiment),
        experiment.train,
        experiment.validation,
        classes=len(experiment.config.classes),
        epochs=epochs,
        progress=display.progress,
    )


@contextmanager
def watched() -> Iterator[TrainingDisplay]:
    """The live line, drawn as on a terminal, into nothing."""
    error, forced = sys.stderr, os.environ.get("FORCE_COLOR")
    with Path(os.devnull).open("w") as nothing:
        sys.stderr, os.environ["FORCE_COLOR"] = nothing, "1"
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
    """The wall time of each further epoch of one training, progress shown."""
    experiment = ready(settings, config, "data.validation=0", *assignments)

    def epoch(_: int) -> Numbers:
        began = perf_counter()
        with watched() as display:
            next(epochs_of(experiment, display, epochs=sys.maxsize))
        return {"an epoch, s": perf_counter() - began}

    return epoch


def training_by_seed(settings: Settings, config: str, target: float, *assignments: str) -> Contender:
    """A whole training for each round, the round its seed: seconds of training to `target` on the test images."""

    def training(turn: int) -> Numbers:
        experiment = ready(settings, config, f"train.seed={turn}", "data.validation=0", *assignments)
        spent, reached, accuracy, epochs = 0.0, float("inf"), 0.0, experiment.config.train.epochs
        with watched() as display:
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
