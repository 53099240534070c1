"""Complete runs, a function that trains one, and TensorBoard's own reader for event files."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.cli.messages import show_log
from cnncli.config.config import read_config
from cnncli.data.digits import load_digits
from cnncli.data.images import stratified_split
from cnncli.experiment.resume import begins_again, check_resumable
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

# 1,150 training images: 9 steps an epoch. TensorBoard keeps fewer pictures than there are epochs.
CONFIG = """\
name: tiny
data: {name: digits, size: 8, validation: 0.2}
model:
  layers:
    - conv: {out_channels: 5, kernel_size: 3, padding: 1, activation: relu}
    - max_pool: 2
    - conv: {out_channels: 6, kernel_size: 2, activation: relu}
    - avg_pool: {kernel_size: 2, stride: 1}
    - conv: {out_channels: 3, kernel_size: 1}
    - flatten
    - logits
train: {epochs: 14, batch_size: 128, seed: 3, optimizer: {adamw: {lr: 1e-2}}}
"""

# 1,294 training images in batches of 256: 6 steps an epoch. Dropout, augmentation, batch norm and a moving average of
# the weights make it hard to resume bit for bit.
NETWORK = """\
name: net
data: {name: digits, size: 8, augment: {shift: 1, rotate: 10, noise: 0.1}}
model:
  layers:
    - conv: {out_channels: 8, kernel_size: 3, norm: batch, activation: relu}
    - dropout2d: 0.2
    - max_pool: 2
    - conv: {out_channels: 4, kernel_size: 2, activation: relu}
    - flatten
    - dropout: 0.3
    - logits
train: {epochs: 4, batch_size: 256, ema: 0.9, optimizer: {adamw: {lr: 1e-2}}, schedule: one_cycle}
log: {probes: 2}
"""

Train = Callable[..., RunDirectory]
ReadEvents = Callable[[RunDirectory], EventAccumulator]
BuildOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def train() -> Train:
    """Trains a config in a new run directory, or resumes a run. A message of the log fails the test by default."""

    def train(
        folder: Path,
        text: str,
        *assignments: str,
        run: RunDirectory | None = None,
        stop_at: int | None = None,
        crash_at: int | None = None,
        log: Callable[[str], None] = pytest.fail,
    ) -> RunDirectory:
        path = folder / "config.yaml"
        path.write_text(text, encoding="utf-8")
        config = read_config(str(path), data_dir=folder, assignments=assignments)
        if run is not None:
            check_resumable(config, run)
        load_initial = run is None or begins_again(run)
        experiment = prepare(config, data_dir=folder, device=torch.device("cpu"), load_initial=load_initial)
        directory = run or RunDirectory.create(folder / "runs", config.name, datetime.now(UTC))

        def stop() -> bool:
            if experiment.training.step == crash_at:
                raise RuntimeError("power cut")
            return experiment.training.step == stop_at

        with show_log(log):
            for _ in train_run(
                experiment,
                directory,
                command=["cnncli", "train"],
                resumed=run is not None,
                progress=Progress(),
                stop=stop,
            ):
                pass
        return directory

    return train


@pytest.fixture(scope="session")
def read_events() -> ReadEvents:
    """TensorBoard's reader, keeping every step."""

    def read(run: RunDirectory) -> EventAccumulator:
        return EventAccumulator(
            str(run.path), size_guidance=dict.fromkeys(("images", "scalars", "histograms"), 0)
        ).Reload()

    return read


@pytest.fixture(scope="session")
def network() -> str:
    """A config that is hard to resume bit for bit: 4 epochs of 6 steps."""
    return NETWORK


@pytest.fixture(scope="session")
def tiny() -> str:
    """The config of `run`."""
    return CONFIG


@pytest.fixture(scope="session")
def complete(train: Train, build_once: BuildOnce) -> RunDirectory:
    """A complete run of `network` with the default log, for reading only."""
    return only_run(build_once("experiment-complete", lambda folder: train(folder, NETWORK)))


@pytest.fixture(scope="session")
def run(train: Train, build_once: BuildOnce) -> RunDirectory:
    """A complete run of 14 epochs of 9 steps, for reading only."""
    return only_run(build_once("experiment-run", lambda folder: train(folder, CONFIG)))


def only_run(folder: Path) -> RunDirectory:
    (path,) = (folder / "runs").iterdir()
    return RunDirectory.open(path)


@pytest.fixture(scope="session")
def events(run: RunDirectory, read_events: ReadEvents) -> EventAccumulator:
    """What TensorBoard reads in it."""
    return read_events(run)


@pytest.fixture(scope="session")
def weights(run: RunDirectory) -> dict[str, Tensor]:
    """The weights of its last checkpoint."""
    return load_file(run.last / "weights.safetensors")


@pytest.fixture(scope="session")
def dead(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The dead channels of each layer that has them, from its last weights and all validation the number of images."""
    digits = load_digits()
    kept, held_out = stratified_split(digits.train.labels, 0.2, seed=3)
    trained_on = digits.train.images[kept].double() / 255
    images = (digits.train.images[held_out].double() / 255 - trained_on.mean()) / trained_on.std(correction=0)

    def convolved(x: Tensor, name: str, padding: int) -> Tensor:
        weight, bias = (weights[f"{name}.conv.{which}"].double() for which in ("weight", "bias"))
        return F.conv2d(x, weight, bias, padding=padding).relu()

    def zero(maps: Tensor) -> tuple[int, ...]:
        return tuple(channel for channel in range(maps.shape[1]) if not maps[:, channel].any())

    conv1 = convolved(images, "conv1", 1)
    conv2 = convolved(F.max_pool2d(conv1, 2), "conv2", 0)
    first, second = zero(conv1), zero(conv2)
    return {"01_conv1": first, "02_max_pool1": first, "03_conv2": second, "04_avg_pool1": second}
