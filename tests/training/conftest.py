"""A small network, a few images, and a training of the network on them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from cnncli.config.train import AdamW, OneCycle, Optimizer
from cnncli.data.batches import WHOLE, Shard
from cnncli.training.optimizer import build_optimizer, build_schedule
from cnncli.training.state import EmaWeights, Training


@dataclass(frozen=True)
class StoredBatches:
    """Batches from two tensors; the order in an epoch depends only on its number."""

    images: Tensor
    labels: Tensor
    batch_size: int
    shuffle: bool = True

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def images_in(self, step: int) -> int:
        return min(self.batch_size, len(self.images) - step * self.batch_size)

    def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.images))
        if self.shuffle:
            order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(number))
        for step in range(start_step, len(self)):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            part = shard.of(len(chosen))
            yield self.images[chosen[part]], self.labels[chosen[part]]


def small_network() -> nn.Sequential:
    """With dropout and batch norm, whose state a resumed training must restore exactly."""
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(1, 4, 3, padding=1, bias=False),
        norm1=nn.BatchNorm2d(4),
        relu1=nn.ReLU(),
        drop1=nn.Dropout(0.3),
        pool1=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        logits=nn.Linear(4 * 4 * 4, 3),
    )
    return nn.Sequential(layers)


def start_training(
    *, optimizer: Optimizer | None = None, ema: float | None = None, epochs: int = 3, seed: int = 0
) -> Training:
    """A training before its first step; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = small_network().to(memory_format=torch.channels_last)
    chosen = optimizer or AdamW(lr=0.01)
    return Training(
        model=model,
        optimizer=build_optimizer(chosen, model),
        schedule=build_schedule(OneCycle(), lr=chosen.lr, epochs=epochs, steps_per_epoch=3),
        ema=EmaWeights(model, decay=ema) if ema else None,
    )


@pytest.fixture(scope="session")
def make_training() -> Callable[..., Training]:
    return start_training


@pytest.fixture
def make_batches() -> Callable[..., StoredBatches]:
    return StoredBatches


@pytest.fixture(scope="session")
def train() -> StoredBatches:
    """20 images of 3 classes in batches of 8, 8 and 4: class k has a bright row k."""
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(20, 1, 8, 8, generator=generator)
    labels = torch.arange(20) % 3
    images[torch.arange(20), 0, labels * 2] += 2
    return StoredBatches(images, labels, batch_size=8)


@pytest.fixture(scope="session")
def validation(train: StoredBatches) -> StoredBatches:
    return StoredBatches(train.images[:9], train.labels[:9], batch_size=9, shuffle=False)
