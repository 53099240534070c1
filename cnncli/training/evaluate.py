"""How good a network is on images it is not learning from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.network import Network
from cnncli.data.batches import WHOLE, Shard
from cnncli.training.process_group import ALONE, Group


class Batches(Protocol):
    """Batches that depend on nothing but the epoch's number and the step within it.

    That is what lets a resumed run see the same batches as one that was never interrupted.
    """

    def __len__(self) -> int:
        """Steps per epoch."""
        ...

    def images_in(self, step: int) -> int:
        """Images in the whole batch of a step, from 0."""
        ...

    def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (N, C, H, W) in float32 and labels (N,) in int64, from a step of an epoch on."""
        ...


_AT_ONCE_ON_CPU = 4 * 2**20
"""Bytes of the largest output of a layer: more leaves the caches, and is up to three times slower."""
_AT_ONCE = 256 * 2**20
"""The same on other devices, which want much to do at a time; it bounds the memory."""
_MOST_IMAGES = 1000


def evaluation_batch_size(network: Network, device: torch.device) -> int:
    """How many images at a time a network is fastest with, when nothing has to be kept for gradients."""
    largest = 4 * max(prod(shape) for shape in (network.input_shape, *(node.shape for node in network.nodes)))
    at_once = _AT_ONCE_ON_CPU if device.type == "cpu" else _AT_ONCE
    return max(1, min(_MOST_IMAGES, at_once // largest))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network makes of a set of labeled images.

    Attributes:
        loss: mean cross-entropy in nats, without label smoothing.
        accuracy: fraction of images whose largest logit is that of their label.
        per_class: the same for the images of each class; None for a class without images.
        confusion: `confusion[label][predicted]`, numbers of images.
    """

    loss: float
    accuracy: float
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """What results.json says: loss, accuracy, and the accuracy of each class by name."""
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "per_class": dict(zip(classes, self.per_class, strict=True)),
        }


def evaluate(model: nn.Module, batches: Batches, classes: int, group: Group = ALONE) -> Evaluation:
    """Run a model over every batch in eval mode, without gradients, in float32.

    Args:
        model: gives logits (N, classes); left in the mode it was in.
        batches: unshuffled and not augmented; `evaluation_batch_size` images at a time use a device well.
        classes: how many there are.
        group: the processes that all have the model, and part the batches between them.
    """
    device = next(model.parameters()).device
    # MPS has no float64; elsewhere the sum of many small losses is kept exact.
    loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    with evaluating(model), torch.inference_mode():
        for images, labels in batches.epoch(1, shard=group.share):
            logits: Tensor = model(images)  # (N, classes)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            counts += confusion_counts(labels, logits.argmax(dim=1), classes)
        loss, counts = group.summed(loss), group.summed(counts)
    return _summed_up(float(loss), counts)


def confusion_counts(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Numbers of images by label (rows) and by what they were taken for: int64 (classes, classes).

    Counted on the device, without waiting for it.

    Args:
        labels: int64 (N,).
        predicted: int64 (N,).
        classes: how many there are.
    """
    cells = labels * classes + predicted
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, cells, torch.ones_like(cells)).view(classes, classes)


def _summed_up(loss: float, counts: Tensor) -> Evaluation:
    confusion = counts.tolist()  # [label][predicted]
    right = [row[label] for label, row in enumerate(confusion)]
    images = [sum(row) for row in confusion]
    assert sum(images) > 0, "an evaluation needs images"
    return Evaluation(
        loss=loss / sum(images),
        accuracy=sum(right) / sum(images),
        per_class=tuple(r / n if n else None for r, n in zip(right, images, strict=True)),
        confusion=tuple(tuple(row) for row in confusion),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; each module gets back the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
