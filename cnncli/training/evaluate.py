"""A network run over labeled images: loss, accuracy and confusion matrix, or all its predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.capture.mode import evaluation_mode
from cnncli.config.network import Network
from cnncli.data.batches import Batches
from cnncli.training.process_group import ALONE, ProcessGroup

_AT_ONCE_ON_CPU = 4 * 2**20
"""Bytes of the largest output of a layer: more does not fit the caches and is up to three times slower."""
_AT_ONCE = 256 * 2**20
"""The same on other devices, which need large batches; it limits the memory."""
_MOST_IMAGES = 1000


def evaluation_batch_size(network: Network, device: torch.device) -> int:
    """The batch size at which a network is fastest without gradients."""
    largest = 4 * max(prod(shape) for shape in (network.input_shape, *(node.shape for node in network.nodes)))
    at_once = _AT_ONCE_ON_CPU if device.type == "cpu" else _AT_ONCE
    return max(1, min(_MOST_IMAGES, at_once // largest))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a network on labeled images.

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
        """The record in results.json: loss, accuracy, and the accuracy of each class by name."""
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "per_class": dict(zip(classes, self.per_class, strict=True)),
        }


def evaluate(model: nn.Module, batches: Batches, classes: int, group: ProcessGroup = ALONE) -> Evaluation:
    """Evaluate a model in evaluation mode, without gradients, in float32.

    Args:
        model: gives logits (N, classes); its mode is restored.
        batches: not shuffled and not augmented; see `evaluation_batch_size`.
        classes: number of classes.
        group: processes that all have the model and evaluate a shard of each batch.
    """
    device = next(model.parameters()).device
    # MPS has no float64; float64 keeps the sum of many small losses accurate.
    loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    with evaluation_mode(model), torch.inference_mode():
        for images, labels in batches.epoch(1, shard=group.shard):
            logits: Tensor = model(images)  # (N, classes)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            counts += confusion_counts(labels, logits.argmax(dim=1), classes)
        loss, counts = group.all_reduce(loss), group.all_reduce(counts)
    return _evaluation(float(loss), counts)


def confusion_counts(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """The confusion matrix, int64 (classes, classes): numbers of images by label (rows) and prediction.

    It is counted on the device, without waiting for it.

    Args:
        labels: int64 (N,).
        predicted: int64 (N,).
        classes: number of classes.
    """
    cells = labels * classes + predicted
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, cells, torch.ones_like(cells)).view(classes, classes)


def _evaluation(loss: float, counts: Tensor) -> Evaluation:
    confusion = counts.tolist()  # [label][predicted]
    correct = [row[label] for label, row in enumerate(confusion)]
    images = [sum(row) for row in confusion]
    assert sum(images) > 0, "an evaluation needs images"
    return Evaluation(
        loss=loss / sum(images),
        accuracy=sum(correct) / sum(images),
        per_class=tuple(c / n if n else None for c, n in zip(correct, images, strict=True)),
        confusion=tuple(tuple(row) for row in confusion),
    )


Labels: TypeAlias = npt.NDArray[np.int64]
Probabilities: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """The predictions of a network for labeled images.

    Attributes:
        labels: int64 (N,).
        predicted: int64 (N,), the class of the largest logit.
        probabilities: float64 (N, K), the softmax of the logits.
    """

    labels: Labels
    predicted: Labels
    probabilities: Probabilities

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def confidence(self) -> Probabilities:
        """float64 (N,), the probability of the predicted class."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """bool (N,), whether the prediction is the label."""
        return np.equal(self.labels, self.predicted)

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions."""
        return float(self.correct.mean())

    @property
    def confusion(self) -> Labels:
        """int64 (K, K), `confusion[label, predicted]` is a number of images."""
        counts = confusion_counts(torch.from_numpy(self.labels), torch.from_numpy(self.predicted), self.classes)
        return counts.numpy()


def predict(model: nn.Module, batches: Batches) -> Predictions:
    """Run a model over every batch in eval mode, without gradients.

    Args:
        model: gives logits (N, K); its mode is restored.
        batches: neither shuffled nor augmented; the predictions are in their order.
    """
    labels, logits = [], []
    with evaluation_mode(model), torch.inference_mode():
        for images, truth in batches.epoch(1):
            labels.append(truth)
            logits.append(model(images))  # (N, K)
    return predictions_of(torch.cat(logits), torch.cat(labels))


def predictions_of(logits: Tensor, labels: Tensor) -> Predictions:
    """Predictions from logits (N, K) and labels int64 (N,), on any device."""
    # In double precision on the CPU (MPS has none), so that the highest probabilities do not all round to 1.
    exact = logits.detach().cpu().double()
    return Predictions(
        labels=labels.cpu().numpy(),
        predicted=exact.argmax(dim=1).numpy(),
        probabilities=exact.softmax(dim=1).numpy(),
    )
