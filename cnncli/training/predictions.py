"""The predictions of a network for single images; `cnncli.training.evaluate` sums them up on the device instead.

Letters: N images, K classes.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnncli.capture.mode import evaluation_mode
from cnncli.data.batches import Batches
from cnncli.training.evaluate import confusion_counts

Labels: TypeAlias = npt.NDArray[np.int64]
Probabilities: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a network predicts for labeled images.

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
