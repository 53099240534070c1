"""Mixup and CutMix: each image of a batch is mixed with the image before it, and so are their labels.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix: Regularization Strategy to
Train Strong Classifiers with Localizable Features", ICCV 2019.

N: images, C: channels, H, W: height and width, K: classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How the images of a batch are mixed.

    Attributes:
        share: float (N,), the share of each image's own label.
        weight: float (N,), the share of its own pixels outside of the rectangle.
        top, bottom, left, right: int (N,): the rectangle with the pixels of the other image, without bottom and right.
    """

    share: Floats
    weight: Floats
    top: npt.NDArray[np.int64]
    bottom: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]

    def images(self, own: Tensor, others: Tensor, positions: Tensor) -> Tensor:
        """Mix images (N, C, H, W), which are at some positions (N,) in the batch."""
        weight = torch.from_numpy(1 - self.weight[positions.numpy()]).to(own).view(-1, 1, 1, 1)
        mixed = torch.lerp(own, others, weight)
        inside = torch.ones(1, dtype=torch.bool, device=own.device)
        for axis, start, end in ((2, self.top, self.bottom), (3, self.left, self.right)):
            position = torch.arange(own.shape[axis], device=own.device).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
            first, last = (
                torch.from_numpy(each[positions.numpy()]).to(own.device).view(-1, 1, 1, 1) for each in (start, end)
            )
            inside = inside & (position >= first) & (position < last)
        return torch.where(inside, others, mixed)

    def targets(self, own: Tensor, others: Tensor, positions: Tensor, classes: int) -> Tensor:
        """The shares of the classes, float (N, K), from labels int64 (N,)."""
        share = torch.from_numpy(self.share[positions.numpy()]).to(own.device, torch.float32).view(-1, 1)
        mine, theirs = (functional.one_hot(labels, classes).float() for labels in (own, others))
        return torch.lerp(theirs, mine, share)


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Draws how batches are mixed; everything is off by default. If both are on, each image gets one of them at random.

    Attributes:
        classes: K.
        mixup_alpha, cutmix_alpha: the share of an image is drawn from Beta(alpha, alpha); 0 is off.
        mixup_probability, cutmix_probability: the fraction of the images that are mixed.
    """

    classes: int
    mixup_alpha: float = 0.0
    mixup_probability: float = 1.0
    cutmix_alpha: float = 0.0
    cutmix_probability: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether both are off."""
        return not any(
            alpha and probability
            for alpha, probability in (
                (self.mixup_alpha, self.mixup_probability),
                (self.cutmix_alpha, self.cutmix_probability),
            )
        )

    def draw(self, count: int, height: int, width: int, generator: np.random.Generator) -> Mix:
        """How `count` images are mixed."""
        kind, chosen, row, column = generator.random((4, count))
        cut = (kind < 0.5) if self.mixup_alpha and self.cutmix_alpha else np.full(count, self.cutmix_alpha > 0)
        shares = np.ones((2, count))
        for i, alpha in enumerate((self.mixup_alpha, self.cutmix_alpha)):
            if alpha:
                shares[i] = generator.beta(alpha, alpha, count)
        on = chosen < np.where(cut, self.cutmix_probability, self.mixup_probability)
        weight = np.where(on & ~cut, shares[0], 1.0)
        top, bottom, left, right = _rectangles(np.where(on & cut, shares[1], 1.0), height, width, row, column)
        covered = (bottom - top) * (right - left) / (height * width)
        return Mix(share=weight * (1 - covered), weight=weight, top=top, bottom=bottom, left=left, right=right)


def _rectangles(
    share: Floats, height: int, width: int, row: Floats, column: Floats
) -> tuple[npt.NDArray[np.int64], ...]:
    """Top, bottom, left and right of rectangles that cover 1 - share of the image, except what extends past it.

    Args:
        share: (N,).
        height, width: of the image.
        row, column: (N,), where the center is, from 0 to less than 1.
    """
    half = 0.5 * np.sqrt(1 - share)
    edges = []
    for length, place in ((height, row), (width, column)):
        center, extent = np.floor(place * length), np.floor(half * length)
        edges += [np.clip(center - extent, 0, length), np.clip(center + extent, 0, length)]
    return tuple(each.astype(np.int64) for each in edges)
