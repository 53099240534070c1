"""The processes that train one network together, as the loop sees them: here the one that trains alone.

`cnncli.training.distributed` has the group of several, which `torchrun` starts.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from cnncli.data.batches import WHOLE, Shard

State = TypeVar("State")


class StopRequest:
    """Whether to stop: a wish that all processes of a group grant after the same step.

    Args:
        wish: whether somebody wants this process to stop.

    Attributes:
        granted: what the last call said.
    """

    def __init__(self, wish: Callable[[], bool]) -> None:
        self._wish = wish
        self.granted = False

    def __call__(self) -> bool:
        """To be called once after every step, by all processes."""
        self.granted = self._wish()
        return self.granted


class Group:
    """One process that trains alone: every batch is its own, and there is nobody to ask.

    Attributes:
        share: what this process takes of every batch.
        launcher: the words that start the program in as many processes.
    """

    share: Shard = WHOLE
    launcher: tuple[str, ...] = ("cnncli",)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.share.size

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes the run and speaks."""
        return self.share.rank == 0

    # Before the first step

    def start(self, device: torch.device) -> torch.device:
        """Connect the processes; the device of this one, which is of the kind asked for."""
        return device

    def turn(self) -> AbstractContextManager[None]:
        """What is done inside, one process of a machine has done before the others begin."""
        return nullcontext()

    def check_same(self, what: str, content: str) -> None:
        """Refuse to go on where the first process has other content. Raises UsageError."""

    def from_first(self, state: State | None) -> State:
        """The state that the first process gives; the others give None."""
        assert state is not None
        return state

    def replicated(self, model: nn.Module) -> nn.Module:
        """A model whose gradients are, after each backward pass, the means over all processes."""
        return model

    # At every step

    def weight(self, images: int) -> float | None:
        """That of an image in the loss, where a batch of so many is parted; None where the loss is just the mean."""
        return None

    def whole_batch(self, images: int) -> AbstractContextManager[object]:
        """Inside, layers that look at the batch or draw for it treat the share as a part of a batch of so many."""
        return nullcontext()

    def over_all(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the losses and the sum of the hits of all processes."""
        return loss, correct

    def summed(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        return numbers

    def vote(self, wish: Callable[[], bool]) -> StopRequest:
        """A common decision on stopping."""
        return StopRequest(wish)

    # When one of them fails

    def loss_explained(self) -> AbstractContextManager[None]:
        """Turn an error that says only that another process has ended into a DeviceError that says what ended it."""
        return nullcontext()


ALONE = Group()
