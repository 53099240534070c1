"""The `data.augment:` section: random augmentation of the training images."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.functional_validators import BeforeValidator

from cnncli.fields import Fraction01, Spec

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Angle = Annotated[float, Field(ge=0, lt=90, allow_inf_nan=False)]


def _principal(name: str, accepted: Any) -> BeforeValidator:  # noqa: ANN401  a type
    """Accept a number alone as one field of a section: `elastic: 2` is `elastic: {alpha: 2}`.

    Args:
        name: of the field.
        accepted: the type of the section or that of the field, for the JSON Schema.
    """

    def open_number(value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {name: value} if number else value

    return BeforeValidator(open_number, json_schema_input_type=accepted)


class ElasticSpec(Spec):
    """Smooth random displacement of the pixels (Simard, Steinkraus and Platt, ICDAR 2003)."""

    alpha: NotNegative = Field(
        default=0.0, description="displacement along each axis in pixels, root mean square; 0 is off"
    )
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=4.0,
        description="smoothness: standard deviation, in pixels, of the Gaussian that blurs the displacements",
    )


class EraseSpec(Spec):
    """A black rectangle on some images (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""

    probability: Probability = Field(default=0.0, description="fraction of the images; 0 is off")
    area: Annotated[float, Field(gt=0, le=1)] = Field(default=0.25, description="maximum fraction of an image's area")


class MixSpec(Spec):
    """Mixes each image, and its label, with another image of the batch."""

    alpha: NotNegative = Field(
        default=0.0, description="the share of the image is drawn from Beta(alpha, alpha); 0 is off"
    )
    probability: Probability = Field(default=1.0, description="fraction of the images")


class AugmentSpec(Spec):
    """Random augmentation of training images, new for every image and epoch; off by default.

    Pixels from outside the image are black.
    """

    shift: NotNegative = Field(default=0.0, description="maximum along each axis, in pixels of the resized image")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        default=0.0, description="maximum angle in degrees, in both directions"
    )
    scale: Fraction01 = Field(default=0.0, description="0.1 is a factor from 0.9 to 1.1")
    shear: Angle = Field(default=0.0, description="maximum angle in degrees, in both directions")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        default="none", description="mirrored with probability 1/2"
    )
    elastic: Annotated[ElasticSpec, _principal("alpha", ElasticSpec | NotNegative)] = ElasticSpec()
    erase: Annotated[EraseSpec, _principal("probability", EraseSpec | Probability)] = EraseSpec()
    noise: NotNegative = Field(default=0.0, description="standard deviation of Gaussian noise, where white is 1")

    mixup: Annotated[MixSpec, _principal("alpha", MixSpec | NotNegative)] = MixSpec()
    cutmix: Annotated[MixSpec, _principal("alpha", MixSpec | NotNegative)] = MixSpec()

    @property
    def active(self) -> tuple[str, ...]:
        """The names of the augmentations that are on, such as `shift`."""
        on = {
            "shift": self.shift > 0,
            "rotate": self.rotate > 0,
            "scale": self.scale > 0,
            "shear": self.shear > 0,
            "flip": self.flip != "none",
            "elastic": self.elastic.alpha > 0,
            "erase": self.erase.probability > 0,
            "noise": self.noise > 0,
            "mixup": self.mixup.alpha > 0,
            "cutmix": self.cutmix.alpha > 0,
        }
        return tuple(name for name, is_on in on.items() if is_on)
