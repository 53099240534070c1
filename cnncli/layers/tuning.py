"""How the weights of layers are trained: frozen or not, with which learning rate and weight decay."""

from dataclasses import dataclass
from math import inf
from typing import Annotated

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag

from cnncli.fields import Positive, Spec


class Freeze(Spec):
    """Layers that are frozen at first."""

    epochs: Positive = Field(description="epochs, from the first, in which the weights stay as they are")


FreezeChoice = Annotated[
    Annotated[bool, Tag("scalar")] | Annotated[Freeze, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict | Freeze) else "scalar"),
]


class TrainedFields(Spec):
    """The fields of every layer with weights."""

    freeze: FreezeChoice | None = Field(
        default=None,
        description="weights and running statistics stay as they are: true, or {epochs: N} for the first N epochs; "
        "default: as for the structure around it, else false",
    )
    lr_scale: PositiveFloat | None = Field(
        default=None, description="factor of the learning rate; default: as for the structure around it, else 1"
    )

    @property
    def frozen_epochs(self) -> float:
        """Epochs, from the first, in which it is frozen; infinity for all."""
        if isinstance(self.freeze, Freeze):
            return self.freeze.epochs
        return inf if self.freeze else 0


class InheritedFields(TrainedFields):
    """The fields that structures have as well, for the layers inside."""

    weight_decay: NonNegativeFloat | None = Field(
        default=None,
        description="decay of the weights of convolutions and linear layers, not of norms and biases; default: as for "
        "the structure around it, else that of the optimizer",
    )


@dataclass(frozen=True)
class Tuning:
    """How a parameter is trained.

    Attributes:
        frozen_epochs: epochs, from the first, in which it stays as it is; infinity for all.
        lr_scale: factor of the learning rate.
        weight_decay: of a kernel or a matrix; None: that of the optimizer.
    """

    frozen_epochs: float = 0
    lr_scale: float = 1.0
    weight_decay: float | None = None

    @property
    def never_trained(self) -> bool:
        """Whether the parameter is frozen in all epochs."""
        return self.frozen_epochs == inf

    def notes(self) -> tuple[str, ...]:
        """What differs from the settings of `train`, for the reader of the layer table."""
        if self.never_trained:
            return ("frozen",)
        return (
            *([_frozen_at_first(self.frozen_epochs)] if self.frozen_epochs else []),
            *([f"learning rate times {self.lr_scale:g}"] if self.lr_scale != 1 else []),
            *([f"weight decay {self.weight_decay:g}"] if self.weight_decay is not None else []),
        )


def _frozen_at_first(epochs: float) -> str:
    return "frozen in the first epoch" if epochs == 1 else f"frozen in the first {epochs:g} epochs"
