"""What a network takes images for, and how sure it is.

Letters for shapes: N images, K classes.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnncli.training.batches import Batches
from cnncli.training.evaluate import confusion_counts, evaluating

Labels: TypeAlias = npt.NDArray[np.int64]
Shares: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Every single answer; `training.evaluate` sums answers up where they are computed, and keeps none.

    Attributes:
        labels: int64 (N,), what the images show.
        predicted: int64 (N,), the class of the largest logit.
        probabilities: float64 (N, K), the softmax of the logits.
    """

    labels: Labels
    predicted: Labels
    probabilities: Shares

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """K, how many classes there are."""
        return int(self.probabilities.shape[1])

    @property
    def confidence(self) -> Shares:
        """float64 (N,), the probability of the class that was predicted."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """bool (N,), whether the prediction is the label."""
        return np.equal(self.labels, self.predicted)

    @property
    def accuracy(self) -> float:
        """The share of images that are right."""
        return float(self.right.mean())

    @property
    def confusion(self) -> Labels:
        """int64 (K, K), `confusion[label, predicted]` numbers of images."""
        counts = confusion_counts(torch.from_numpy(self.labels), torch.from_numpy(self.predicted), self.classes)
        return counts.numpy()


def predict(model: nn.Module, batches: Batches) -> Predictions:
    """Run a model over every batch in eval mode, without gradients.

    Args:
        model: gives logits (N, K); left in the mode it was in.
        batches: unshuffled and not augmented: the answers come in their order.
    """
    labels, logits = [], []
    with evaluating(model), torch.inference_mode():
        for images, truth in batches.epoch(1):
            labels.append(truth)
            logits.append(model(images))  # (N, K)
    return answers(torch.cat(logits), torch.cat(labels))


def answers(logits: Tensor, labels: Tensor) -> Predictions:
    """Logits (N, K) and int64 labels (N,), on any device, as predictions."""
    # In double precision on the CPU (MPS has none), so that the surest answers do not all round to 1.
    exact = logits.detach().cpu().double()
    return Predictions(
        labels=labels.cpu().numpy(),
        predicted=exact.argmax(dim=1).numpy(),
        probabilities=exact.softmax(dim=1).numpy(),
    )
