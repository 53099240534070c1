"""Normalizations and scales: each output is its input times a factor, and perhaps a bias per channel."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat

from cnncli.fields import Channels, OneOf
from cnncli.layers.base import Description, Layer, Saved, Shape, ShapeError, WeightedLayer, format_shape, image
from cnncli.layers.operation import Operation
from cnncli.layers.tuning import Tuning
from cnncli.layers.unit import EPSILON, Combined, Normalized, Scaling, Term, Trace, Unit

if TYPE_CHECKING:
    from torch import Tensor, nn


class Norm(WeightedLayer):
    """A layer that divides by a standard deviation or a root mean square; most subtract a mean before.

    Most have a weight and a bias per channel.
    """

    is_norm = True
    replaces_bias = True
    keeps_channels = True
    saved = Saved.INPUT

    def _tensors(self) -> tuple[str, ...]:
        """What is in its state dict and used in inference."""
        return ("weight", "bias")

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape, params=2 * shape[0])

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        tensors = {name: name for name in self._tensors()}
        return (Operation(name=self.type, shape=shapes[0], numbers=self._numbers(), tensors=tensors),)

    def _numbers(self) -> dict[str, float]:
        """What it is computed with besides its tensors."""
        return {"eps": self._eps}

    @property
    def _eps(self) -> float:
        """What is added to the variance."""
        return EPSILON

    def _statistics(self, maps: "Tensor", weights: "Mapping[str, Tensor]", unit: Unit) -> tuple[float | None, float]:
        """Mean and variance of the numbers among which the unit is normalized, in inference; see `Scaling`."""
        among = self._among(maps, unit)
        return among.mean().item(), among.var(correction=0).item()

    def _among(self, maps: "Tensor", unit: Unit) -> "Tensor":
        """The numbers whose mean and variance are taken."""
        raise NotImplementedError(self.type)

    def stage(self, before: float, maps: "Tensor | None", weights: "Mapping[str, Tensor]", unit: Unit) -> Normalized:
        assert maps is not None, "a norm needs what it normalizes"
        mean, variance = self._statistics(maps, weights, unit)
        weight, bias = (weights[name][unit.channel].item() if name in weights else None for name in ("weight", "bias"))
        scaling = Scaling(mean, variance, weight, bias, self._eps)
        return Normalized(before, scaling, scaling(before))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        before = inputs[0][unit.index].item()
        stage = self.stage(before, inputs[0], weights, unit)
        return Trace((), (Term(unit, before, stage.scaling.factor),), (stage,))


class BatchNorm(Norm):
    """`torch.nn.BatchNorm2d` or `BatchNorm1d`: in inference, a fixed scale and shift per channel."""

    type: Literal["batch_norm"] = "batch_norm"
    other_names = ("BatchNorm2d", "BatchNorm1d", "BatchNormalization", "bn")

    momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="share of a batch in the running mean and variance after its step"
    )
    eps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=EPSILON, description="added to the variance"
    )

    @property
    def takes_batch_statistics(self) -> bool:
        return self.is_trained

    def _tensors(self) -> tuple[str, ...]:
        return ("weight", "bias", "running_mean", "running_var")

    def _describe(self, shape: Shape) -> Description:
        # float32 mean and variance per channel, and an int64 count of batches
        return Description(shape=shape, params=2 * shape[0], buffer_bytes=2 * 4 * shape[0] + 8)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return kind(shape[0], eps=self.eps, momentum=self.momentum)

    @property
    def _eps(self) -> float:
        return self.eps

    def _statistics(self, maps: "Tensor", weights: "Mapping[str, Tensor]", unit: Unit) -> tuple[float | None, float]:
        return weights["running_mean"][unit.channel].item(), weights["running_var"][unit.channel].item()


class GroupNorm(Norm):
    """`torch.nn.GroupNorm`: mean and variance of each group of channels over the whole map (Wu and He, 2018)."""

    type: Literal["group_norm"] = "group_norm"
    other_names = ("GroupNorm", "gn")
    principal = "num_groups"

    num_groups: Channels

    def _describe(self, shape: Shape) -> Description:
        if shape[0] % self.num_groups:
            raise ShapeError(
                f"num_groups: {self.num_groups} does not divide the {shape[0]} channels; use a divisor of {shape[0]}",
                about_channels=True,
            )
        if self.num_groups == prod(shape):
            raise ShapeError(
                f"num_groups: {self.num_groups} leaves one number in each group of {format_shape(shape)}, "
                "which has no mean and variance; use fewer groups",
                about_channels=True,
            )
        return Description(shape=shape, statistics=True, params=2 * shape[0])

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.GroupNorm(self.num_groups, shape[0])

    def _numbers(self) -> dict[str, float]:
        return {"num_groups": self.num_groups, **super()._numbers()}

    def _among(self, maps: "Tensor", unit: Unit) -> "Tensor":
        size = len(maps) // self.num_groups
        first = unit.channel // size * size
        return maps[first : first + size]


class LayerNorm(Norm):
    """`torch.nn.LayerNorm` over the channels of each position (as in ConvNeXt), or over the features of a vector."""

    type: Literal["layer_norm"] = "layer_norm"
    other_names = ("LayerNorm", "LayerNormalization", "ln")

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        from cnncli.layers.modules import ChannelNorm

        return ChannelNorm(shape[0]) if len(shape) == 3 else nn.LayerNorm(shape[0])

    def _among(self, maps: "Tensor", unit: Unit) -> "Tensor":
        return _of_position(maps, unit)


class InstanceNorm(Norm):
    """`torch.nn.InstanceNorm2d`: mean and variance of each channel over its own map (Ulyanov et al., 2016)."""

    type: Literal["instance_norm"] = "instance_norm"
    other_names = ("InstanceNorm2d",)
    principal = "affine"

    affine: bool = Field(default=False, description="whether it has a weight and a bias per channel")
    eps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=EPSILON, description="added to the variance"
    )

    def _tensors(self) -> tuple[str, ...]:
        return super()._tensors() if self.affine else ()

    def _tuning(self) -> Tuning | None:
        return super()._tuning() if self.affine else None

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        if height * width == 1:
            raise ShapeError(
                f"{format_shape(shape)} has one number in each channel, which has no mean and variance; "
                "use layer_norm or batch_norm"
            )
        weights = channels if self.affine else 0
        part = self._part(shape, saved_bytes=4 * weights)  # torch repeats the weights for each image
        return Description(shape=shape, statistics=True, params=2 * weights, parts=(part,))

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.InstanceNorm2d(shape[0], eps=self.eps, affine=self.affine)

    @property
    def _eps(self) -> float:
        return self.eps

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        (operation,) = super()._operations(shapes)
        return (replace(operation, name="group_norm", numbers={**operation.numbers, "num_groups": shapes[0][0]}),)

    def _among(self, maps: "Tensor", unit: Unit) -> "Tensor":
        return maps[unit.channel]


class RmsNorm(Norm):
    """`torch.nn.RMSNorm` over the channels of each position, or over the features of a vector.

    Zhang and Sennrich, 2019: `x / sqrt(mean of the squares + eps)`, times a weight per channel.
    """

    type: Literal["rms_norm"] = "rms_norm"
    other_names = ("RMSNorm",)
    principal = "eps"
    replaces_bias = False
    keeps_zero = True

    eps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1e-6, description="added to the mean of the squares"
    )

    def _tensors(self) -> tuple[str, ...]:
        return ("weight",)

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape, params=shape[0])

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers import modules

        kind = modules.ChannelRmsNorm if len(shape) == 3 else modules.RmsNorm
        return kind(shape[0], eps=self.eps)

    @property
    def _eps(self) -> float:
        return self.eps

    def _statistics(self, maps: "Tensor", weights: "Mapping[str, Tensor]", unit: Unit) -> tuple[float | None, float]:
        return None, _of_position(maps, unit).square().mean().item()


class LocalResponseNorm(Layer):
    """`torch.nn.LocalResponseNorm`: `x / (k + alpha m)^beta`, m the mean square over `size` neighboring channels.

    Krizhevsky et al., AlexNet, 2012. It follows the activation there, so it is a layer and no `norm:`.
    """

    type: Literal["local_response_norm"] = "local_response_norm"
    other_names = ("lrn",)
    torch_class = "LocalResponseNorm"
    principal = "size"
    keeps_channels = True
    keeps_zero = True
    saved = Saved.INPUT

    size: Channels = Field(description="number of channels, including the unit's own")
    alpha: PositiveFloat = 1e-4
    beta: PositiveFloat = 0.75
    k: PositiveFloat = 1.0

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        # The padded squares, their means, and the divisors, as float32.
        saved = 4 * height * width * ((channels + self.size - 1) + 2 * channels)
        return Description(shape=shape, parts=(self._part(shape, saved_bytes=saved),))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        channel, row, column = unit.index
        first = channel - self.size // 2
        neighbors = x[max(0, first) : first + self.size, row, column]
        divisor = (self.k + self.alpha * neighbors.square().sum().item() / self.size) ** self.beta
        term = Term(unit, x[unit.index].item(), 1 / divisor)
        return Trace((), (term,), (Combined(f"divided by {divisor:.6g}", term.amount),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        numbers = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return (Operation(name=self.type, shape=shapes[0], numbers=numbers),)


class Scale(WeightedLayer):
    """Multiplies each channel by a learned factor, like the layer scale of CaiT (Touvron et al., 2021) and ConvNeXt."""

    type: Literal["scale"] = "scale"
    other_names = ("layer_scale",)
    principal = "init"
    keeps_channels = True
    keeps_zero = True
    saved = Saved.INPUT

    init: float = Field(default=1.0, description="initial value of the factors")

    def _saved(self) -> Saved | None:
        return self.saved if self.is_trained else Saved.NOTHING

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape, params=shape[0])

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import ChannelScale

        return ChannelScale(shape[0], self.init)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        factor = weights["weight"][unit.channel].item()
        term = Term(unit, inputs[0][unit.index].item(), factor)
        return Trace((), (term,), (Combined("times the factor of its channel", term.amount),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=shapes[0], tensors={"weight": "weight"}),)


def _of_position(maps: "Tensor", unit: Unit) -> "Tensor":
    """The numbers of all channels at the position of a unit, (C,); a vector as it is."""
    return maps if maps.ndim == 1 else maps[:, unit.index[1], unit.index[2]]


_REMARKS = {
    name: "it comes after the activation, so it is a layer: write local_response_norm after this one"
    for name in ("local_response_norm", "local_response", "lrn", "localresponsenorm")
}

NormChoice = Annotated[
    Norm | None,
    OneOf(
        "norm",
        *Norm.__subclasses__(),
        aliases={each.type_name().removesuffix("_norm"): each for each in Norm.__subclasses__()},
        none=True,
        remarks=_REMARKS,
    ),
]
