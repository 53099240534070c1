"""The accuracy of a run on distorted images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnncli.data.images import ImageSet
from cnncli.robustness.distortions import DISTORTIONS, Distortion
from cnncli.run import Run
from cnncli.training.evaluate import Predictions


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The results for one strength of a distortion, averaged over its directions.

    Attributes:
        distortion: the distortion with its strength.
        accuracy: the fraction of correct predictions.
        consistency: the fraction of predictions that are the same as for the undistorted image.
    """

    distortion: Distortion
    accuracy: float
    consistency: float

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "distortion": self.distortion.name,
            "strength": self.distortion.strength,
            "label": self.distortion.label,
            "accuracy": self.accuracy,
            "consistency": self.consistency,
        }


def spread(count: int, most: int) -> Tensor:
    """Up to `most` evenly spaced indices of `count` images: folders list their images class by class."""
    return torch.arange(count)[:: -(-count // most)]


def measure_accuracies(
    run: Run,
    images: ImageSet,
    indices: Tensor,
    plain: Predictions,
    distortions: Sequence[type[Distortion]] = DISTORTIONS,
) -> Iterator[Accuracy]:
    """The accuracies under all strengths of some distortions, one after the other.

    Args:
        run: the network.
        images: (N, C, H, W), uint8.
        indices: of those that are used.
        plain: the predictions for these, undistorted.
        distortions: which.
    """
    side = max(images.images.shape[2:])
    for kind in distortions:
        for strength in kind.strengths(side):
            distortion = kind(strength)
            changed = [
                run.predict_set(images, indices=indices, transform=transform) for transform in distortion.transforms()
            ]
            yield Accuracy(
                distortion=distortion,
                accuracy=float(np.mean([each.accuracy for each in changed])),
                consistency=float(np.mean([(each.predicted == plain.predicted).mean() for each in changed])),
            )
