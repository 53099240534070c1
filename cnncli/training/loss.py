"""The loss of a batch, and the weights of the classes.

N: images, K: classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.loss import Bce, CrossEntropy, Focal
from cnncli.config.loss import Loss as LossChoice

_CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a batch.

    Every loss is linear in the target: the loss of a mixture of two images is the mixture of two losses, and the weight
    of a class is a factor of the losses of its images.

    Attributes:
        choice: the formula.
        label_smoothing: share of the target distributed evenly over all classes (Szegedy et al., 2016).
        class_weights: float (K,), the factor of the loss of each class; None for 1.
    """

    choice: LossChoice = _CROSS_ENTROPY
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, targets: Tensor, *, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
        """The mean over the images, or their sum.

        Args:
            logits: float (N, K).
            targets: the labels, int64 (N,); or the share of each class, float (N, K), for mixed images.
            reduction: the mean divides by N, whatever the weights are.
        """
        if isinstance(self.choice, CrossEntropy) and self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction=reduction)
        target = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        if self.class_weights is not None:
            target = target * self.class_weights
        weight = target.sum(dim=1, keepdim=True)  # (N, 1), of each image
        target = (1 - self.label_smoothing) * target + self.label_smoothing / logits.shape[1] * weight  # (N, K)
        losses = self._of_each_image(logits, target, weight)
        return losses.sum() if reduction == "sum" else losses.mean()

    def _of_each_image(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The losses (N,) for targets (N, K) whose sums over the classes are the weights (N, 1)."""
        match self.choice:
            case CrossEntropy():
                return F.cross_entropy(logits, target, reduction="none")
            case Focal():
                logs = logits.log_softmax(dim=1)
                # At 0, the derivative of a power below 1 is infinite.
                missing = (1 - logs.exp()).clamp_min(torch.finfo(logs.dtype).eps)
                return -(target * missing**self.choice.gamma * logs).sum(dim=1)
            case Bce():
                return -(target * F.logsigmoid(logits) + (weight - target) * F.logsigmoid(-logits)).sum(dim=1)
            case _:
                assert_never(self.choice)


CROSS_ENTROPY = Loss()


def class_weights(
    choice: Literal["auto"] | Mapping[str, float] | None, counts: Tensor, classes: Sequence[str]
) -> Tensor | None:
    """The weights of the classes, float (K,).

    Args:
        choice: `auto`: inversely proportional to the number of images, so that all classes have the same influence,
            with a mean of 1 over the images; or the weights by name, where others are 1; or None.
        counts: int64 (K,), the training images of each class; `auto` gives a class without images the weight 1.
        classes: their names.
    """
    if choice is None:
        return None
    if choice == "auto":
        present = counts > 0
        return torch.where(present, counts.sum() / (present.sum() * counts.clamp_min(1)), 1.0)
    return torch.tensor([choice.get(name, 1.0) for name in classes])
