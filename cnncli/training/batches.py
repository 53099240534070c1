"""What training and evaluation ask of the data."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from cnncli.data.batches import WHOLE, Share


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

    def epoch(self, number: int, start_step: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (N, C, H, W) in float32 and labels (N,) in int64, from a step of an epoch on."""
        ...
