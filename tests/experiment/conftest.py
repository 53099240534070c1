"""A run trained to its end, and TensorBoard's own reader for its event files."""

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

from cnncli.cli.notices import show_log
from cnncli.config.config import read_config
from cnncli.data.digits import load_digits
from cnncli.data.splits import stratified_split
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

# 1,150 images to learn from: 9 steps an epoch. Fourteen epochs are more than TensorBoard keeps pictures.
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

Train = Callable[..., Path]
ReadEvents = Callable[[Path], EventAccumulator]


@pytest.fixture(scope="session")
def train_tiny(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains in a new run directory, or goes on in the one at `run`; up to a step, if `stop_at` is given."""
    folder = tmp_path_factory.mktemp("tiny")
    config = folder / "tiny.yaml"
    config.write_text(CONFIG, encoding="utf-8")

    def train(run: Path | None = None, *, epochs: int = 14, stop_at: int | None = None) -> Path:
        read = read_config(str(config), data_dir=folder, assignments=[f"train.epochs={epochs}"])
        experiment = prepare(read, data_dir=folder, device=torch.device("cpu"))
        where = RunDirectory.open(run) if run else RunDirectory.create(folder, read.name, datetime.now(UTC))
        with show_log(pytest.fail):
            for _ in train_run(
                experiment,
                where,
                command=["cnncli", "train"],
                resumed=run is not None,
                progress=Progress(),
                stop=lambda: experiment.training.step == stop_at,
            ):
                pass
        return where.path

    return train


@pytest.fixture(scope="session")
def read_events() -> ReadEvents:
    """TensorBoard's reader, told to keep everything."""

    def read(run: Path) -> EventAccumulator:
        kinds = ("images", "scalars", "histograms")
        return EventAccumulator(str(run), size_guidance=dict.fromkeys(kinds, 0)).Reload()

    return read


@pytest.fixture(scope="session")
def run(train_tiny: Train) -> Path:
    """The directory of a complete run, for reading only."""
    return train_tiny()


@pytest.fixture(scope="session")
def events(run: Path, read_events: ReadEvents) -> EventAccumulator:
    """What TensorBoard reads in it."""
    return read_events(run)


@pytest.fixture(scope="session")
def weights(run: Path) -> dict[str, Tensor]:
    """The weights of its last checkpoint."""
    return load_file(run / "checkpoints/last/weights.safetensors")


@pytest.fixture(scope="session")
def dead(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The dead channels of each layer that has them, from its last weights and all validation images at once."""
    digits = load_digits()
    kept, held_out = stratified_split(digits.train.labels, 0.2, seed=3)
    learned = digits.train.images[kept].double() / 255
    images = (digits.train.images[held_out].double() / 255 - learned.mean()) / learned.std(correction=0)

    def convolved(x: Tensor, name: str, padding: int) -> Tensor:
        weight, bias = (weights[f"{name}.conv.{which}"].double() for which in ("weight", "bias"))
        return F.conv2d(x, weight, bias, padding=padding).relu()

    def zero(maps: Tensor) -> tuple[int, ...]:
        return tuple(channel for channel in range(maps.shape[1]) if not maps[:, channel].any())

    conv1 = convolved(images, "conv1", 1)
    conv2 = convolved(F.max_pool2d(conv1, 2), "conv2", 0)
    first, second = zero(conv1), zero(conv2)
    return {"01_conv1": first, "02_max_pool1": first, "03_conv2": second, "04_avg_pool1": second}
