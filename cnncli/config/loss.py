"""The loss: `train.loss`, and the weights of the classes in it."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from cnncli.fields import Choice, OneOf
from cnncli.limits import MAX_GAMMA

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CrossEntropy(Choice):
    """Cross-entropy of the softmax of the logits."""

    type: Literal["cross_entropy"] = "cross_entropy"


class Focal(Choice):
    """Cross-entropy in which easy images count less (Lin et al., "Focal Loss for Dense Object Detection", 2017)."""

    type: Literal["focal"] = "focal"
    principal = "gamma"

    gamma: Annotated[float, Field(ge=0, le=MAX_GAMMA)] = Field(
        default=2.0, description="with probability p of the class, the loss is multiplied by (1 - p)^gamma"
    )


class Bce(Choice):
    """Binary cross-entropy of the sigmoid of each logit, one class against all others, summed over the classes."""

    type: Literal["bce"] = "bce"


Loss = CrossEntropy | Focal | Bce
LOSSES: dict[str, type[Choice]] = {each.type_name(): each for each in (CrossEntropy, Focal, Bce)}
LossChoice = Annotated[Loss, OneOf("loss", *LOSSES.values())]


def _form_of_weights(value: object) -> str | None:
    return "auto" if value == "auto" else "weights" if isinstance(value, dict) else None


ClassWeights = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[dict[str, PositiveFloat], Tag("weights")],
    Discriminator(
        _form_of_weights,
        custom_error_type="class_weights",
        custom_error_message="must be auto, or a mapping of class names to weights",
    ),
]
