"""Activations: one number in, one number out, at every position."""

from typing import Annotated, Literal

from pydantic import Field

from cnncli.fields import OneOf
from cnncli.layers.base import Description, Layer, Shape


class _Activation(Layer):
    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape)


class Relu(_Activation):
    """`max(0, x)`."""

    kind: Literal["relu"] = "relu"


class LeakyRelu(_Activation):
    """`x` where positive, else `negative_slope * x`."""

    kind: Literal["leaky_relu"] = "leaky_relu"
    principal = "negative_slope"

    negative_slope: Annotated[float, Field(ge=0)] = 0.01


class Elu(_Activation):
    """`x` where positive, else `alpha (exp(x) - 1)` (Clevert et al., 2015)."""

    kind: Literal["elu"] = "elu"
    principal = "alpha"

    alpha: Annotated[float, Field(gt=0)] = 1.0


class Gelu(_Activation):
    """`x` times the normal distribution function of `x` (Hendrycks and Gimpel, 2016)."""

    kind: Literal["gelu"] = "gelu"


class Silu(_Activation):
    """`x sigmoid(x)`, also called swish."""

    kind: Literal["silu"] = "silu"


class Tanh(_Activation):
    """The hyperbolic tangent, between -1 and 1."""

    kind: Literal["tanh"] = "tanh"


class Sigmoid(_Activation):
    """`1 / (1 + exp(-x))`, between 0 and 1."""

    kind: Literal["sigmoid"] = "sigmoid"


class Hardswish(_Activation):
    """`x relu6(x + 3) / 6` (Howard et al., MobileNetV3, 2019)."""

    kind: Literal["hardswish"] = "hardswish"


Activation = Relu | LeakyRelu | Elu | Gelu | Silu | Tanh | Sigmoid | Hardswish

ActivationChoice = Annotated[
    Activation | None,
    OneOf("activation", Relu, LeakyRelu, Elu, Gelu, Silu, Tanh, Sigmoid, Hardswish, none=True),
]
