"""The `data.augment:` section: random augmentation of the training images."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from cnncli.fields import Fraction01, LengthFromZero, Listed, Spec
from cnncli.limits import MAX_LENGTH, MAX_STRENGTH

Strength = Annotated[float, Field(ge=0, le=MAX_STRENGTH)]
Pixels = Annotated[float, Field(ge=0, le=MAX_LENGTH)]
Probability = Annotated[float, Field(ge=0, le=1)]
Magnitude = Annotated[float, Field(ge=0, le=30)]
MAX_BLUR = 50.0
MIN_MIX, MAX_MIX = 1e-3, 100.0
Angle = Annotated[float, Field(ge=0, lt=90, allow_inf_nan=False)]


def _zero_or_enough(alpha: float) -> float:
    """A parameter of the beta distribution, which is drawn from in 32 bits."""
    if 0 < alpha < MIN_MIX:
        raise PydanticCustomError("mix", f"must be 0 or at least {MIN_MIX:g}, found {{found}}", {"found": f"{alpha:g}"})
    return alpha


MixAlpha = Annotated[
    float,
    Field(ge=0, le=MAX_MIX, json_schema_extra={"not": {"exclusiveMinimum": 0, "exclusiveMaximum": MIN_MIX}}),
    AfterValidator(_zero_or_enough),
]


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

    alpha: Pixels = Field(default=0.0, description="displacement along each axis in pixels, root mean square; 0 is off")
    sigma: Annotated[float, Field(gt=0, le=MAX_STRENGTH)] = Field(
        default=4.0,
        description="smoothness: standard deviation, in pixels, of the Gaussian that blurs the displacements",
    )


class EraseSpec(Spec):
    """A filled rectangle on some images (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""

    probability: Probability = Field(default=0.0, description="fraction of the images; 0 is off")
    area: Annotated[float, Field(gt=0, le=1)] = Field(default=0.25, description="maximum fraction of an image's area")


class CropSpec(Spec):
    """A random part of the image, resized to the size of the image."""

    area: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="the smallest fraction of the image's area; 1 is off"
    )
    ratio: Annotated[float, Field(ge=1, le=MAX_STRENGTH)] = Field(
        default=1.3333, description="the largest ratio of width to height, or of height to width"
    )


class BlurSpec(Spec):
    """A Gaussian blur."""

    sigma: Annotated[float, Field(ge=0, le=MAX_BLUR)] = Field(
        default=0.0, description="the largest standard deviation, in pixels; 0 is off"
    )
    probability: Probability = Field(default=1.0, description="fraction of the images")


class CutoutSpec(Spec):
    """A filled square (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks", 2017)."""

    size: Annotated[int, Field(ge=0, le=MAX_LENGTH)] = Field(default=0, description="side in pixels; 0 is off")
    probability: Probability = Field(default=1.0, description="fraction of the images")


class RandAugmentSpec(Spec):
    """Random operations of one strength on each image (Cubuk et al., "RandAugment", 2020)."""

    magnitude: Magnitude = Field(default=0.0, description="strength, up to 30; 0 is off")
    operations: Annotated[int, Field(gt=0, le=14)] = Field(default=2, description="operations on each image")


class MixSpec(Spec):
    """Mixes each image, and its label, with another image of the batch."""

    alpha: MixAlpha = Field(
        default=0.0,
        description="the share of the image is drawn from Beta(alpha, alpha); 0 is off, else 0.001 to 100",
    )
    probability: Probability = Field(default=1.0, description="fraction of the images")


class AugmentSpec(Spec):
    """Random augmentation of training images, new for every image and epoch; off by default.

    Pixels from outside the image have the value `fill`, unless `border` says otherwise.
    """

    crop: Annotated[CropSpec, _principal("area", CropSpec | Annotated[float, Field(gt=0, le=1)])] = CropSpec()
    shift: Pixels = Field(default=0.0, description="maximum along each axis, in pixels of the resized image")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        default=0.0, description="maximum angle in degrees, in both directions"
    )
    scale: Fraction01 = Field(default=0.0, description="0.1 is a factor from 0.9 to 1.1")
    shear: Angle = Field(default=0.0, description="maximum angle in degrees, in both directions")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        default="none", description="mirrored with probability 1/2"
    )
    elastic: Annotated[ElasticSpec, _principal("alpha", ElasticSpec | Pixels)] = ElasticSpec()
    erase: Annotated[EraseSpec, _principal("probability", EraseSpec | Probability)] = EraseSpec()
    rand_augment: Annotated[RandAugmentSpec, _principal("magnitude", RandAugmentSpec | Magnitude)] = RandAugmentSpec()
    brightness: Fraction01 = Field(default=0.0, description="0.2 is a factor from 0.8 to 1.2")
    contrast: Fraction01 = Field(default=0.0, description="a factor, like brightness, of the difference from the mean")
    saturation: Fraction01 = Field(default=0.0, description="a factor, like brightness, of the difference from gray")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.0, description="maximum turn of the color circle in both directions, as a fraction of it"
    )
    gamma: Strength = Field(default=0.0, description="0.5 is an exponent from 1 / 1.5 to 1.5")
    blur: Annotated[BlurSpec, _principal("sigma", BlurSpec | Annotated[float, Field(ge=0, le=MAX_BLUR)])] = BlurSpec()
    cutout: Annotated[CutoutSpec, _principal("size", CutoutSpec | LengthFromZero)] = CutoutSpec()
    noise: Strength = Field(default=0.0, description="standard deviation of Gaussian noise, where white is 1")

    mixup: Annotated[MixSpec, _principal("alpha", MixSpec | MixAlpha)] = MixSpec()
    fill: Annotated[
        Probability | Annotated[tuple[Probability, ...], Listed],
        Field(description="value of pixels from outside and of erased ones: 0 black, 1 white; or a list by channel"),
    ] = 0.0
    border: Literal["fill", "edge", "reflect"] = Field(
        default="fill", description="pixels from outside: fill, the nearest of the image, or the image mirrored"
    )
    cutmix: Annotated[MixSpec, _principal("alpha", MixSpec | MixAlpha)] = MixSpec()

    @property
    def fill_values(self) -> tuple[float, ...]:
        """`fill`: one number, or one for each channel."""
        return self.fill if isinstance(self.fill, tuple) else (self.fill,)

    @property
    def active(self) -> tuple[str, ...]:
        """The names of the augmentations that are on, such as `shift`."""
        on = {
            "crop": self.crop.area < 1,
            "shift": self.shift > 0,
            "rotate": self.rotate > 0,
            "scale": self.scale > 0,
            "shear": self.shear > 0,
            "flip": self.flip != "none",
            "elastic": self.elastic.alpha > 0,
            "erase": self.erase.probability > 0,
            "rand_augment": self.rand_augment.magnitude > 0,
            "brightness": self.brightness > 0,
            "contrast": self.contrast > 0,
            "saturation": self.saturation > 0,
            "hue": self.hue > 0,
            "gamma": self.gamma > 0,
            "blur": self.blur.sigma > 0,
            "cutout": self.cutout.size > 0,
            "noise": self.noise > 0,
            "mixup": self.mixup.alpha > 0,
            "cutmix": self.cutmix.alpha > 0,
        }
        return tuple(name for name, is_on in on.items() if is_on)
