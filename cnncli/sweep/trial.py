"""One trial of a sweep: an ordinary run, trained epoch by epoch so that the sweep can end it early."""

import shutil
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cnncli.config.config import Config
from cnncli.errors import ConfigError, DeviceError, DivergedError, RunError
from cnncli.sweep.limits import Costs
from cnncli.sweep.space import Value

if TYPE_CHECKING:
    from cnncli.training.run_directory import RunDirectory

Status = Literal["complete", "pruned", "diverged", "failed", "interrupted"]

_RELEASE_SECONDS = 60.0
"""How long a process whose sweep was killed may take to stop."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to train.

    Attributes:
        number: of the trial.
        values: of the swept fields, by path.
        config: with these values.
        costs: of its network.
    """

    number: int
    values: Mapping[str, Value]
    config: Config
    costs: Costs


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how all trials are trained.

    Attributes:
        folder: of the sweep; each trial is a run directory in it.
        data_dir: the directory of data sets.
        device: where to compute.
        threads: CPU threads of a trial; None: one for a tiny network, else `share`.
        share: CPU threads for each of the trials that are trained at the same time.
        command: the command line, for the metadata.
    """

    folder: Path
    data_dir: Path
    device: str
    threads: int | None
    share: int
    command: tuple[str, ...]

    def run_path(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.folder / f"trial-{number:03}"


@dataclass(frozen=True, kw_only=True)
class TrialEpoch:
    """An epoch of a trial: its number from 1, the number of all epochs, and the accuracy on the validation images."""

    number: int
    epochs: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the training of a trial ended.

    Attributes:
        status: `complete`; `pruned`, ended early by the sweep; `diverged`; `failed`, not trainable as configured; or
            `interrupted`, to be resumed.
        accuracy: on the validation images, with the best weights; None without an epoch.
        epoch: of the best weights.
        epochs: that were trained.
        seconds: of training and validation.
        threads: CPU threads.
        reason: why it diverged or failed.
    """

    status: Status
    accuracy: float | None = None
    epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    threads: int = 1
    reason: str | None = None


def train_trial(task: Task, place: Place, *, stop: Callable[[], bool]) -> Generator[TrialEpoch, bool, Outcome]:
    """Train a trial, or resume the run that an earlier process has left.

    The test images are not evaluated. Epochs of the earlier process are yielded again.

    Args:
        task: what to train.
        place: where to train it.
        stop: called after every step; once it is true, the run is left with a checkpoint.

    Yields:
        Each epoch. True is sent back to prune the trial.

    Returns:
        The outcome.

    Raises:
        DataError, DiskError, RunError: nothing else can be trained either.
        DeviceError: the device is unavailable.
    """
    import torch

    from cnncli.experiment.disk_space import check_disk_space
    from cnncli.experiment.resume import begins_again
    from cnncli.experiment.setup import prepare
    from cnncli.experiment.train import train_run
    from cnncli.training.checkpoint import read_manifest
    from cnncli.training.device import resolve_device, useful_threads
    from cnncli.training.progress import Progress

    torch.set_num_threads(place.threads or place.share)
    if place.threads is None:
        torch.set_num_threads(useful_threads(task.costs.macs * task.config.train.batch_size))
    device = resolve_device(place.device)
    epochs = task.config.train.epochs
    run, resumed = _open_run(place.run_path(task.number), task.config)
    if resumed:
        complete = run.status().state == "complete"
        done = epochs if complete else read_manifest(run.last)["epoch"]
        for line in run.metrics():
            if line["epoch"] <= done and (
                yield TrialEpoch(number=line["epoch"], epochs=epochs, accuracy=line["val"]["accuracy"])
            ):
                return _outcome(run, "complete" if complete else "pruned")
        if complete:
            return _outcome(run, "complete")
    try:
        load_initial = not resumed or begins_again(run)
        experiment = prepare(task.config, data_dir=place.data_dir, device=device, load_initial=load_initial)
        check_disk_space(experiment, place.folder, run.path if resumed else None)
        training = train_run(
            experiment,
            run,
            command=place.command,
            resumed=resumed,
            progress=Progress(),
            stop=stop,
            test=False,
            hparams={path: _hparam(value) for path, value in task.values.items()},
        )
        for epoch in training:
            assert epoch.validation is not None, "check_space() requires validation images"
            if (
                yield TrialEpoch(number=epoch.number, epochs=epochs, accuracy=epoch.validation.accuracy)
            ) and epoch.number < epochs:
                training.close()  # type: ignore[attr-defined]  # a generator
                return _outcome(run, "pruned")
    except DivergedError as error:
        return _outcome(run, "diverged", error.message)
    except (ConfigError, DeviceError) as error:  # these values do not fit the data or the memory
        return _outcome(run, "failed", error.message)
    return _outcome(run, "complete" if run.status().state == "complete" else "interrupted")


def _open_run(path: Path, config: Config) -> "tuple[RunDirectory, bool]":
    """The run of a trial, and whether there is something to resume.

    Raises:
        RunError: the run has another config.
    """
    from cnncli.training.run_directory import RunDirectory

    if path.exists():
        try:
            run = RunDirectory.open(path)
            _wait_until_free(run)
        except RunError:
            if (path / "status.json").exists():
                raise
        else:
            if run.resolved.exists() and run.resolved.read_text(encoding="utf-8") != config.resolved():
                raise RunError(
                    f"{path}: the run is not of this sweep: it was trained with other settings",
                    remedy="choose another folder with --name, or the --storage that the sweep was started with",
                )
            if run.last.exists() or run.last.with_name("last.old").exists():
                return run, True
        shutil.rmtree(path)  # it ended before its first checkpoint
    return RunDirectory.create_at(path), False


def _wait_until_free(run: "RunDirectory") -> None:
    """Wait while the process of a killed sweep notices it and stops; `train_run` reports a run that stays in use."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    while run.status().state == "running" and time.monotonic() < deadline:
        time.sleep(0.05)


def _outcome(run: "RunDirectory", status: Status, reason: str | None = None) -> Outcome:
    import torch

    metrics = run.metrics()
    accuracy = max((line["val"]["accuracy"] for line in metrics), default=None)
    epoch = next((line["epoch"] for line in metrics if line["val"]["accuracy"] == accuracy), None)
    if status == "complete":
        results = run.results()
        accuracy, epoch = results["val"]["accuracy"], results["epoch"]
    return Outcome(
        status=status,
        accuracy=accuracy,
        epoch=epoch,
        epochs=len(metrics),
        seconds=sum(line["seconds"] for line in metrics),
        threads=torch.get_num_threads(),
        reason=reason,
    )


def _hparam(value: Value) -> bool | float | str:
    """A value as TensorBoard's HParams take it."""
    return value if isinstance(value, bool | int | float | str) else str(value)
