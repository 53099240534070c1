"""The least memory that training a network needs, and whether a machine has it."""

from dataclasses import dataclass
from math import ceil

from cnncli.config.network import Network
from cnncli.config.train import TrainSpec
from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.inspection.graph import graph_of
from cnncli.inspection.memory import Memory, memory_of


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """The least memory that a training needs, in bytes: each field is allocated, and more may be.

    Attributes:
        weights: parameters and buffers, with those of the moving average.
        gradients: of the parameters that are trained.
        optimizer: what the optimizer keeps for each of them.
        activations: what autograd saves for a batch.
        batch: images per batch.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    batch: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def exceeds(self, memory: int | None, what: str = "this machine") -> str:
        """What to say if there is less memory than that; empty if there is enough, or its size is unknown."""
        if memory is None or self.total <= memory:
            return ""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            f"activations of {counted(self.batch, 'image')}": self.activations,
        }
        return (
            f"training needs at least {size_in_bytes(self.total)}, but {what} has {size_in_bytes(memory)}: "
            + ", ".join(f"{part} {size_in_bytes(size)}" for part, size in parts.items() if size)
        )


def training_memory(network: Network, train: TrainSpec, *, images: int) -> TrainingMemory:
    """The memory for training a network on this many images."""
    return least_memory(
        memory_of(graph_of(network, ""), ceil(min(train.batch_size, images) / train.accumulate)),
        parameters=sum(node.description.params - node.description.frozen for node in network.nodes),
        states=train.optimizer.states,
        averaged=train.ema is not None,
    )


def least_memory(memory: Memory, *, parameters: int, states: int = 0, averaged: bool = False) -> TrainingMemory:
    """The memory for training with any optimizer.

    Args:
        memory: of the weights, and of the activations of a batch; what is unknown counts as nothing.
        parameters: the number of those that are trained.
        states: numbers that the optimizer keeps for each of them.
        averaged: whether a moving average of the weights is kept.
    """
    return TrainingMemory(
        weights=(memory.weights or 0) * (2 if averaged else 1),
        gradients=4 * parameters,
        optimizer=4 * parameters * states,
        activations=memory.training or 0,
        batch=memory.batch,
    )
