"""Normalizations. Each keeps the shape and has a weight and a bias per channel (or feature)."""

from math import prod
from typing import Annotated, Literal

from cnncli.fields import OneOf, Positive
from cnncli.layers.base import Description, Layer, Shape, ShapeError, format_shape


class BatchNorm(Layer):
    """`torch.nn.BatchNorm2d` or `BatchNorm1d`: in use, a fixed scale and shift per channel."""

    kind: Literal["batch_norm"] = "batch_norm"

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape, params=2 * shape[0])


class GroupNorm(Layer):
    """`torch.nn.GroupNorm`: mean and variance of each group of channels over the whole map (Wu and He, 2018)."""

    kind: Literal["group_norm"] = "group_norm"
    principal = "num_groups"

    num_groups: Positive

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
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


class LayerNorm(Layer):
    """`torch.nn.LayerNorm` over the channels of each position (as in ConvNeXt), or over the features of a row."""

    kind: Literal["layer_norm"] = "layer_norm"

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`."""
        return Description(shape=shape, params=2 * shape[0])


Norm = BatchNorm | GroupNorm | LayerNorm

NormChoice = Annotated[
    Norm | None,
    OneOf(
        "norm",
        BatchNorm,
        GroupNorm,
        LayerNorm,
        aliases={"batch": BatchNorm, "group": GroupNorm, "layer": LayerNorm},
        none=True,
    ),
]
