"""Normalizations. Each keeps the shape and has a weight and a bias per channel (or feature)."""

from math import prod
from typing import Annotated, ClassVar, Literal

from cnncli.fields import OneOf, Positive
from cnncli.layers.base import Description, Layer, Shape, ShapeError, format_shape


class _Norm(Layer):
    is_norm: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True


class BatchNorm(_Norm):
    """`torch.nn.BatchNorm2d` or `BatchNorm1d`: in use, a fixed scale and shift per channel."""

    type: Literal["batch_norm"] = "batch_norm"

    @property
    def takes_batch_statistics(self) -> bool:
        """See `Layer`."""
        return True

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`; the buffers are mean and variance per channel, and a count of batches."""
        return Description(shape=shape, params=2 * shape[0], buffer_bytes=2 * 4 * shape[0] + 8)


class GroupNorm(_Norm):
    """`torch.nn.GroupNorm`: mean and variance of each group of channels over the whole map (Wu and He, 2018)."""

    type: Literal["group_norm"] = "group_norm"
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


class LayerNorm(_Norm):
    """`torch.nn.LayerNorm` over the channels of each position (as in ConvNeXt), or over the features of a row."""

    type: Literal["layer_norm"] = "layer_norm"

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
