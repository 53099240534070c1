"""The `data.augment:` section: random augmentation of the training images."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.functional_validators import BeforeValidator

from cnncli.fields import Fraction01, Spec

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=0, lt=90, allow_inf_nan=False)]


def _principal(section: type[Spec], name: str) -> BeforeValidator:
    """Accept a number alone as one field of a section: `elastic: 2` is `elastic: {alpha: 2}`."""

    def open_number(value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {name: value} if number else value

    field = section.model_fields[name]
    alone: Any = Annotated[(field.annotation, *field.metadata)]
    return BeforeValidator(open_number, json_schema_input_type=section | alone)


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

    probability: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="fraction of the images; 0 is off"
    )
    area: Annotated[float, Field(gt=0, le=1)] = Field(default=0.25, description="maximum fraction of an image's area")


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
    elastic: Annotated[ElasticSpec, _principal(ElasticSpec, "alpha")] = ElasticSpec()
    erase: Annotated[EraseSpec, _principal(EraseSpec, "probability")] = EraseSpec()
    noise: NotNegative = Field(default=0.0, description="standard deviation of Gaussian noise, where white is 1")

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
        }
        return tuple(name for name, is_on in on.items() if is_on)
