"""A network run over labeled images: loss, accuracy and confusion matrix, or all its predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.capture.mode import evaluation_mode
from cnncli.config.network import Network
from cnncli.config.train import TOP_K
from cnncli.data.batches import Batches
from cnncli.training.calibration import Bins, bin_predictions
from cnncli.training.process_group import ALONE, ProcessGroup
from cnncli.training.scores import Evaluation

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


def evaluate(
    model: nn.Module, batches: Batches, classes: int, group: ProcessGroup = ALONE, *, top_k: int = TOP_K
) -> Evaluation:
    """Evaluate a model in evaluation mode, without gradients, in float32.

    The evaluation has neither the names of the classes nor the calibration error; `Predictions.evaluation` has.

    Args:
        model: gives logits (N, classes); its mode is restored.
        batches: not shuffled and not augmented; see `evaluation_batch_size`.
        classes: number of classes.
        group: processes that all have the model and evaluate a shard of each batch.
        top_k: k of the top-k accuracy.
    """
    device = next(model.parameters()).device
    loss = _zero_loss(device)
    counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    top = torch.zeros((), dtype=torch.int64, device=device)
    with evaluation_mode(model), torch.inference_mode():
        for images, labels in batches.epoch(1, shard=group.shard):
            logits: Tensor = model(images)  # (N, classes)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            counts += confusion_counts(labels, logits.argmax(dim=1), classes)
            top += count_in_top(logits, labels, top_k)
        loss, counts, top = (group.all_reduce(each) for each in (loss, counts, top))
    return Evaluation(loss=float(loss) / int(counts.sum()), confusion=_rows(counts), in_top=int(top), top_k=top_k)


def count_in_top(scores: Tensor, labels: Tensor, top_k: int) -> Tensor:
    """The number of images for whose class fewer than `top_k` others have a higher score, int64.

    Args:
        scores: (N, classes).
        labels: int64 (N,).
    """
    higher = scores > scores.gather(1, labels.unsqueeze(1))
    return (higher.sum(dim=1) < top_k).sum()


def _zero_loss(device: torch.device) -> Tensor:
    """The sum of no losses. float64 keeps the sum of many small losses accurate; MPS has no float64."""
    return torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


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


def _rows(counts: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, counts.tolist()))


Labels: TypeAlias = npt.NDArray[np.int64]
Probabilities: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """The predictions of a network for labeled images.

    Attributes:
        labels: int64 (N,).
        predicted: int64 (N,), the class of the largest logit.
        probabilities: float64 (N, K), the softmax of the logits.
        loss: mean cross-entropy in nats, the same number as that of `evaluate`.
        in_top, top_k: see `Evaluation`.
    """

    labels: Labels
    predicted: Labels
    probabilities: Probabilities
    loss: float
    in_top: int | None = None
    top_k: int = TOP_K

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

    @property
    def calibration(self) -> Bins:
        """The accuracy of the predictions by their confidence."""
        return bin_predictions(self.confidence, self.correct)

    def evaluation(self, classes: Sequence[str]) -> Evaluation:
        """The scores, with the names of the classes."""
        return Evaluation(
            loss=self.loss,
            confusion=tuple(map(tuple, self.confusion.tolist())),
            ece=self.calibration.expected_error,
            in_top=self.in_top,
            top_k=self.top_k,
            classes=tuple(classes),
        )


def predict(model: nn.Module, batches: Batches, *, top_k: int = TOP_K) -> Predictions:
    """Run a model over every batch in eval mode, without gradients.

    Args:
        model: gives logits (N, K); its mode is restored.
        batches: neither shuffled nor augmented; the predictions are in their order.
        top_k: k of the top-k accuracy.
    """
    labels, logits = [], []
    loss = _zero_loss(next(model.parameters()).device)
    with evaluation_mode(model), torch.inference_mode():
        for images, truth in batches.epoch(1):
            labels.append(truth)
            logits.append(model(images))  # (N, K)
            loss += F.cross_entropy(logits[-1], truth, reduction="sum")  # batch by batch, as `evaluate` adds it up
    mean_loss = float(loss) / sum(map(len, labels))
    return predictions_of(torch.cat(logits), torch.cat(labels), loss=mean_loss, top_k=top_k)


def predictions_of(logits: Tensor, labels: Tensor, *, loss: float, top_k: int = TOP_K) -> Predictions:
    """Predictions from logits (N, K) and labels int64 (N,), on any device, given their mean cross-entropy."""
    # In double precision on the CPU (MPS has none), so that the highest probabilities do not all round to 1.
    exact = logits.detach().cpu().double()
    return Predictions(
        labels=labels.cpu().numpy(),
        predicted=exact.argmax(dim=1).numpy(),
        probabilities=exact.softmax(dim=1).numpy(),
        loss=loss,
        in_top=int(count_in_top(exact, labels.cpu(), top_k)),
        top_k=top_k,
    )


def mean_predictions(each: Sequence[Predictions]) -> Predictions:
    """The predictions of the mean probabilities of several predictions for the same images."""
    labels = each[0].labels
    assert all(np.array_equal(other.labels, labels) for other in each), "predictions for different images"
    probabilities = np.mean([other.probabilities for other in each], axis=0)
    with np.errstate(divide="ignore"):  # the loss is infinite where the class of an image has probability 0
        loss = -float(np.log(probabilities[np.arange(len(labels)), labels]).mean())
    return Predictions(
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        loss=loss,
        in_top=int(count_in_top(torch.from_numpy(probabilities), torch.from_numpy(labels), each[0].top_k)),
        top_k=each[0].top_k,
    )
