"""The least memory that training a network needs, and whether a machine has it."""

from dataclasses import dataclass

from cnncli.config.network import Network
from cnncli.config.train import TrainSpec
from cnncli.inspection.columns import counted, size_in_bytes
from cnncli.inspection.graph import graph_of
from cnncli.inspection.memory import memory_of


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """The least memory that a training needs, in bytes: each field is allocated, and more may be.

    Attributes:
        weights: parameters and buffers, with those of the moving average.
        gradients: of the parameters.
        optimizer: what the optimizer keeps for each parameter.
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
        images = counted(self.batch, "image")
        return (
            f"training needs at least {size_in_bytes(self.total)}, but {what} has {size_in_bytes(memory)}: "
            f"weights {size_in_bytes(self.weights)}, gradients {size_in_bytes(self.gradients)}, "
            f"optimizer {size_in_bytes(self.optimizer)}, activations of {images} {size_in_bytes(self.activations)}"
        )


def training_memory(network: Network, train: TrainSpec, *, images: int) -> TrainingMemory:
    """The memory for training a network on this many images."""
    batch = min(train.batch_size, images)
    memory = memory_of(graph_of(network, ""), batch)
    assert memory.weights is not None, "a config's layers have known sizes"
    parameters = 4 * sum(node.description.params for node in network.nodes)
    return TrainingMemory(
        weights=memory.weights * (1 if train.ema is None else 2),
        gradients=parameters,
        optimizer=parameters * train.optimizer.states,
        activations=memory.training or 0,
        batch=batch,
    )
