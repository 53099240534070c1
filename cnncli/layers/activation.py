"""Activation functions, applied to each value separately, and softmax."""

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from cnncli.fields import Channels, OneOf
from cnncli.layers.base import Description, Layer, Saved, Shape, ShapeError, WeightedLayer
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Activated, Term, Trace, Unit

if TYPE_CHECKING:
    from torch import Tensor, nn


CRELU_REMARK = (
    "it concatenates relu of x and of -x: use a branch with merge: concat and the paths [relu] and "
    "[{scale: {init: -1, freeze: true}}, relu]"
)
"""For those who look for `crelu` (Shang et al., 2016)."""
_REMARKS = {"crelu": CRELU_REMARK} | {
    name: f"it reads several channels, so it is a layer: write {name} after this one"
    for name in ("softmax", "glu", "maxout")
}


class Activation(Layer):
    """A function of one value."""

    is_activation = True
    keeps_channels = True
    keeps_zero = True
    saved = Saved.INPUT
    zero_on_half_line: ClassVar[bool] = False
    """Whether it is exactly 0, with a gradient of 0, below or above some number, whatever the fields are."""

    @property
    def can_die(self) -> bool:
        return self.zero_on_half_line

    def apply(self, x: float) -> float:
        """The activation of x."""
        raise NotImplementedError(self.type)

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        before = inputs[0][unit.index].item()
        return Trace((), (Term(unit, before, 1.0),), (self.stage(before, inputs[0], weights, unit),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=shapes[0], numbers=self._numbers()),)

    def _numbers(self) -> dict[str, float]:
        """The fields that the function depends on."""
        names = [each for each in type(self).model_fields if each not in ("type", "name")]
        return {each: getattr(self, each) for each in names}

    def stage(self, before: float, maps: "Tensor | None", weights: "Mapping[str, Tensor]", unit: Unit) -> Activated:
        return Activated(self.type, before, self.apply(before))


def sigmoid(x: float) -> float:
    """`1 / (1 + exp(-x))`."""
    # Of the two equal forms the one whose exponential cannot overflow.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


class Relu(Activation):
    """`max(0, x)`."""

    type: Literal["relu"] = "relu"
    torch_class = "ReLU"
    saved = Saved.OUTPUT
    zero_on_half_line = True

    def apply(self, x: float) -> float:
        return max(0.0, x)


class Relu6(Activation):
    """`min(max(x, 0), 6)`."""

    type: Literal["relu6"] = "relu6"
    torch_class = "ReLU6"
    zero_on_half_line = True

    def apply(self, x: float) -> float:
        return min(max(0.0, x), 6.0)


class LeakyRelu(Activation):
    """`x` where positive, else `negative_slope * x`."""

    type: Literal["leaky_relu"] = "leaky_relu"
    torch_class = "LeakyReLU"
    principal = "negative_slope"

    negative_slope: Annotated[float, Field(ge=0)] = 0.01

    @property
    def can_die(self) -> bool:
        return self.negative_slope == 0

    def apply(self, x: float) -> float:
        return x if x > 0 else self.negative_slope * x


class Prelu(Activation, WeightedLayer):
    """`x` where positive, else a learned slope times `x` (He et al., 2015)."""

    type: Literal["prelu"] = "prelu"
    other_names = ("PReLU",)
    principal = "num_parameters"

    num_parameters: Literal["channels"] | Channels = Field(
        default=1, description="number of slopes: 1 for all channels, or channels for one per channel"
    )
    init: float = Field(default=0.25, description="initial value of the slopes")

    def _slopes(self, channels: int) -> int:
        if self.num_parameters not in (1, channels, "channels"):
            raise ShapeError(
                f"num_parameters: {self.num_parameters} is neither 1 nor the number of channels, {channels}; "
                "use 1 or channels",
                about_channels=True,
            )
        return channels if self.num_parameters == "channels" else self.num_parameters

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape, params=self._slopes(shape[0]))

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.PReLU(self._slopes(shape[0]), self.init)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=shapes[0], tensors={"weight": "weight"}),)

    def stage(self, before: float, maps: "Tensor | None", weights: "Mapping[str, Tensor]", unit: Unit) -> Activated:
        slopes = weights["weight"]
        slope = slopes[unit.channel if len(slopes) > 1 else 0].item()
        return Activated(self.type, before, before if before > 0 else slope * before)


class Elu(Activation):
    """`x` where positive, else `alpha (exp(x) - 1)` (Clevert et al., 2015)."""

    type: Literal["elu"] = "elu"
    torch_class = "ELU"
    principal = "alpha"

    alpha: Annotated[float, Field(gt=0)] = 1.0

    def apply(self, x: float) -> float:
        return x if x > 0 else self.alpha * math.expm1(x)


class Celu(Activation):
    """`x` where positive, else `alpha (exp(x / alpha) - 1)` (Barron, 2017): `elu` with a continuous slope at 0."""

    type: Literal["celu"] = "celu"
    torch_class = "CELU"
    principal = "alpha"

    alpha: Annotated[float, Field(gt=0)] = 1.0

    def apply(self, x: float) -> float:
        return x if x > 0 else self.alpha * math.expm1(x / self.alpha)


class Selu(Activation):
    """`scale x` where positive, else `scale alpha (exp(x) - 1)`, with fixed numbers (Klambauer et al., 2017).

    They are such that values with mean 0 and variance 1 keep these from layer to layer.
    """

    type: Literal["selu"] = "selu"
    torch_class = "SELU"

    def apply(self, x: float) -> float:
        return _SELU_SCALE * (x if x > 0 else _SELU_ALPHA * math.expm1(x))


class Gelu(Activation):
    """`x` times the normal distribution function of `x` (Hendrycks and Gimpel, 2016)."""

    type: Literal["gelu"] = "gelu"
    torch_class = "GELU"

    def apply(self, x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2


class Silu(Activation):
    """`x sigmoid(x)`, also called swish."""

    type: Literal["silu"] = "silu"
    other_names = ("swish",)
    torch_class = "SiLU"

    def apply(self, x: float) -> float:
        return x * sigmoid(x)


class Mish(Activation):
    """`x tanh(log(1 + exp(x)))` (Misra, 2019)."""

    type: Literal["mish"] = "mish"
    torch_class = "Mish"

    def apply(self, x: float) -> float:
        return x * math.tanh(_softplus(x))


class Softplus(Activation):
    """`log(1 + exp(beta x)) / beta`, and `x` where `beta x` is above `threshold`."""

    type: Literal["softplus"] = "softplus"
    torch_class = "Softplus"
    principal = "beta"
    keeps_zero = False

    beta: Annotated[float, Field(gt=0)] = 1.0
    threshold: float = 20.0

    def apply(self, x: float) -> float:
        return x if x * self.beta > self.threshold else _softplus(x * self.beta) / self.beta


class Softsign(Activation):
    """`x / (1 + |x|)`, between -1 and 1 (Turian et al., 2009)."""

    type: Literal["softsign"] = "softsign"
    torch_class = "Softsign"

    def _describe(self, shape: Shape) -> Description:
        divisors = 4 * prod(shape)
        return Description(shape=shape, parts=(self._part(shape, saved_bytes=divisors),))

    def apply(self, x: float) -> float:
        return x / (1 + abs(x))


class Softshrink(Activation):
    """`x` moved towards 0 by `lambd`, and 0 where it is not larger in magnitude."""

    type: Literal["softshrink"] = "softshrink"
    torch_class = "Softshrink"
    principal = "lambd"

    lambd: NonNegativeFloat = 0.5

    def apply(self, x: float) -> float:
        return math.copysign(max(abs(x) - self.lambd, 0.0), x)


class Hardshrink(Activation):
    """`x`, but 0 where its magnitude is at most `lambd`."""

    type: Literal["hardshrink"] = "hardshrink"
    torch_class = "Hardshrink"
    principal = "lambd"

    lambd: NonNegativeFloat = 0.5

    def apply(self, x: float) -> float:
        return x if abs(x) > self.lambd else 0.0


class Tanhshrink(Activation):
    """`x - tanh(x)`."""

    type: Literal["tanhshrink"] = "tanhshrink"
    torch_class = "Tanhshrink"
    saved = Saved.NOTHING

    def _describe(self, shape: Shape) -> Description:
        tanh = 4 * prod(shape)
        return Description(shape=shape, parts=(self._part(shape, saved_bytes=tanh),))

    def apply(self, x: float) -> float:
        return x - math.tanh(x)


class Threshold(Activation):
    """`x` where it is above `threshold`, else `value`."""

    type: Literal["threshold"] = "threshold"
    torch_class = "Threshold"
    keeps_zero = False

    threshold: float
    value: float

    @property
    def can_die(self) -> bool:
        return self.value == 0

    def apply(self, x: float) -> float:
        return x if x > self.threshold else self.value


class Tanh(Activation):
    """The hyperbolic tangent, between -1 and 1."""

    type: Literal["tanh"] = "tanh"
    torch_class = "Tanh"
    saved = Saved.OUTPUT

    def apply(self, x: float) -> float:
        return math.tanh(x)


class Hardtanh(Activation):
    """`x`, but at least `min_val` and at most `max_val`."""

    type: Literal["hardtanh"] = "hardtanh"
    torch_class = "Hardtanh"
    keeps_zero = False

    min_val: float = -1.0
    max_val: float = 1.0

    @property
    def can_die(self) -> bool:
        return 0 in (self.min_val, self.max_val)

    def _describe(self, shape: Shape) -> Description:
        if self.min_val >= self.max_val:
            raise ShapeError(f"min_val: {self.min_val:g} must be less than max_val, {self.max_val:g}; lower it")
        return Description(shape=shape)

    def apply(self, x: float) -> float:
        return min(max(x, self.min_val), self.max_val)


class Sigmoid(Activation):
    """`1 / (1 + exp(-x))`, between 0 and 1."""

    type: Literal["sigmoid"] = "sigmoid"
    torch_class = "Sigmoid"
    keeps_zero = False
    saved = Saved.OUTPUT

    def apply(self, x: float) -> float:
        return sigmoid(x)


class LogSigmoid(Activation):
    """`log(sigmoid(x))`, always below 0."""

    type: Literal["logsigmoid"] = "logsigmoid"
    other_names = ("LogSigmoid", "log_sigmoid")
    keeps_zero = False
    saved = Saved.NOTHING

    def _describe(self, shape: Shape) -> Description:
        negated = 4 * prod(shape)
        return Description(shape=shape, parts=(self._part(shape, saved_bytes=negated),))

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import LogSigmoid as Module

        return Module()

    def apply(self, x: float) -> float:
        return -_softplus(-x)


class Hardsigmoid(Activation):
    """`min(max(x + 3, 0), 6) / 6` (Howard et al., MobileNetV3, 2019)."""

    type: Literal["hardsigmoid"] = "hardsigmoid"
    other_names = ("hsigmoid", "h_sigmoid")
    torch_class = "Hardsigmoid"
    keeps_zero = False
    zero_on_half_line = True

    def apply(self, x: float) -> float:
        return min(max(x + 3, 0.0), 6.0) / 6


class Hardswish(Activation):
    """`x min(max(x + 3, 0), 6) / 6` (Howard et al., MobileNetV3, 2019)."""

    type: Literal["hardswish"] = "hardswish"
    other_names = ("hswish", "h_swish")
    torch_class = "Hardswish"
    zero_on_half_line = True

    def apply(self, x: float) -> float:
        return x * min(max(x + 3, 0.0), 6.0) / 6


class Softmax(Layer):
    """`torch.nn.Softmax` over the channels of each position, or over the features of a vector.

    A unit depends on all channels, not on one number, so it is a layer and no `activation:`.
    """

    type: Literal["softmax"] = "softmax"
    keeps_channels = True
    saved = Saved.OUTPUT
    is_softmax = True

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.Softmax(dim=1)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        channels = [x[channel, *unit.index[1:]].item() for channel in range(len(x))]
        before, largest = channels[unit.channel], max(channels)
        value = math.exp(before - largest) / sum(math.exp(each - largest) for each in channels)
        return Trace((), (Term(unit, before, 1.0),), (Activated(self.type, before, value),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=shapes[0]),)


ActivationChoice = Annotated[
    Activation | None,
    OneOf("activation", *Activation.__subclasses__(), none=True, remarks=_REMARKS),
]
