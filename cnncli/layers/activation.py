"""Activations: one number in, one number out, at every position."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnncli.fields import OneOf
from cnncli.layers.base import Description, Layer, Shape


class _Activation(Layer):
    is_activation: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)


class Relu(_Activation):
    """`max(0, x)`."""

    type: Literal["relu"] = "relu"

    @property
    def can_die(self) -> bool:
        """See `Layer`."""
        return True


class LeakyRelu(_Activation):
    """`x` where positive, else `negative_slope * x`."""

    type: Literal["leaky_relu"] = "leaky_relu"
    principal = "negative_slope"

    negative_slope: Annotated[float, Field(ge=0)] = 0.01

    @property
    def can_die(self) -> bool:
        """See `Layer`."""
        return self.negative_slope == 0


class Elu(_Activation):
    """`x` where positive, else `alpha (exp(x) - 1)` (Clevert et al., 2015)."""

    type: Literal["elu"] = "elu"
    principal = "alpha"

    alpha: Annotated[float, Field(gt=0)] = 1.0


class Gelu(_Activation):
    """`x` times the normal distribution function of `x` (Hendrycks and Gimpel, 2016)."""

    type: Literal["gelu"] = "gelu"


class Silu(_Activation):
    """`x sigmoid(x)`, also called swish."""

    type: Literal["silu"] = "silu"


class Tanh(_Activation):
    """The hyperbolic tangent, between -1 and 1."""

    type: Literal["tanh"] = "tanh"


class Sigmoid(_Activation):
    """`1 / (1 + exp(-x))`, between 0 and 1."""

    type: Literal["sigmoid"] = "sigmoid"
    keeps_zero: ClassVar[bool] = False


class Hardswish(_Activation):
    """`x relu6(x + 3) / 6` (Howard et al., MobileNetV3, 2019)."""

    type: Literal["hardswish"] = "hardswish"

    @property
    def can_die(self) -> bool:
        """See `Layer`."""
        return True


Activation = Relu | LeakyRelu | Elu | Gelu | Silu | Tanh | Sigmoid | Hardswish

ActivationChoice = Annotated[
    Activation | None,
    OneOf("activation", Relu, LeakyRelu, Elu, Gelu, Silu, Tanh, Sigmoid, Hardswish, none=True),
]
