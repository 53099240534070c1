"""Layers that rearrange values, or change the number of positions, without pooling or weights."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from cnncli.fields import Channels, Length, Pair, given
from cnncli.layers.base import Description, Layer, Saved, Shape, ShapeError, image
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Combined, Term, Trace, Unit, passed_on
from cnncli.windows import Resampled, Sliding

if TYPE_CHECKING:
    from torch import Tensor, nn


class Upsample(Layer):
    """`torch.nn.Upsample`: (C, H, W) to (C, H', W'), by a whole `scale_factor` or to a `size`."""

    model_config = ConfigDict(json_schema_extra={"not": given("scale_factor", "size")})

    type: Literal["upsample"] = "upsample"
    other_names = ("UpSampling2D", "interpolate", "Resize")
    principal = "scale_factor"
    keeps_channels = True
    keeps_zero = True
    saved = Saved.NOTHING

    scale_factor: Pair | None = None
    size: Pair | None = None
    mode: Literal["nearest", "bilinear"] = "nearest"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output.

        Raises:
            ShapeError: not exactly one of `scale_factor` and `size` is given.
        """
        if (self.scale_factor is None) == (self.size is None):
            raise ShapeError("upsample needs either scale_factor or size; give exactly one of them")
        if self.scale_factor is None:
            assert self.size is not None
            return self.size
        return height * self.scale_factor[0], width * self.scale_factor[1]

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        size = self.output_size(height, width)
        over_height, over_width = (
            Resampled(units=units, mode="linear" if self.mode == "bilinear" else "nearest") for units in size
        )
        return Description(shape=(channels, *size), reads=(over_height, over_width))

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.Upsample(size=self.output_size(shape[1], shape[2]), mode=self.mode)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        height, width = x.shape[1:]
        rows, columns = (
            _blend(place, size, units)
            if self.mode == "bilinear"
            else [(each, 1.0) for each in Resampled(units=units).reads(place, size)]
            for place, size, units in zip(unit.index[1:], (height, width), self.output_size(height, width), strict=True)
        )
        terms = tuple(
            Term(Unit((unit.channel, i, j)), x[unit.channel, i, j].item(), a * b)
            for i, a in rows
            for j, b in columns
            if a * b
        )
        how = "passed on" if len(terms) == 1 else "weighted mean"
        return Trace((), terms, (Combined(how, sum(term.amount for term in terms)),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers={"mode": self.mode}),)


def _blend(place: int, size: int, units: int) -> list[tuple[int, float]]:
    """The two positions around `(i + 1/2) n / m - 1/2`, the nearer with the larger share."""
    exact = max(Fraction(0), (place + Fraction(1, 2)) * size / units - Fraction(1, 2))
    first = int(exact)
    share = float(exact - first)
    return [(first, 1 - share), (first + 1, share)] if first + 1 < size else [(first, 1.0)]


class ChannelShuffle(Layer):
    """`torch.nn.ChannelShuffle`: the channels of each of `groups` groups in turn (Zhang et al., ShuffleNet, 2017)."""

    type: Literal["channel_shuffle"] = "channel_shuffle"
    torch_class = "ChannelShuffle"
    principal = "groups"
    saved = Saved.NOTHING

    groups: Channels

    def _describe(self, shape: Shape) -> Description:
        channels, _, _ = image(shape, self)
        if channels % self.groups:
            raise ShapeError(
                f"groups: {self.groups} does not divide the {channels} channels; use a divisor of {channels}",
                about_channels=True,
            )
        return Description(shape=shape)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        place, group = divmod(unit.channel, self.groups)
        source = group * (len(inputs[0]) // self.groups) + place
        return passed_on(inputs[0], Unit((source, *unit.index[1:])))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        numbers = {"groups": self.groups}
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers=numbers),)


class PixelShuffle(Layer):
    """`torch.nn.PixelShuffle`: (C r², H, W) to (C, H r, W r), r the `upscale_factor` (Shi et al., 2016).

    The channels of a position become r x r positions of one channel.
    """

    type: Literal["pixel_shuffle"] = "pixel_shuffle"
    torch_class = "PixelShuffle"
    principal = "upscale_factor"
    saved = Saved.NOTHING

    upscale_factor: Length

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        r = self.upscale_factor
        if channels % r**2:
            raise ShapeError(
                f"upscale_factor: {r}² = {r**2} does not divide the {channels} channels; "
                f"use a layer with a multiple of {r**2} channels before it",
                about_channels=True,
            )
        shape = (channels // r**2, height * r, width * r)
        return Description(shape=shape, reads=(Resampled(units=height * r), Resampled(units=width * r)))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        channel, row, column = unit.index
        r = self.upscale_factor
        source = channel * r**2 + row % r * r + column % r
        return passed_on(inputs[0], Unit((source, row // r, column // r)))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        numbers = {"upscale_factor": self.upscale_factor}
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers=numbers),)


class PixelUnshuffle(Layer):
    """`torch.nn.PixelUnshuffle`: (C, H, W) to (C r², H / r, W / r), r the `downscale_factor`.

    Blocks of r x r positions of a channel become the channels of one position.
    """

    type: Literal["pixel_unshuffle"] = "pixel_unshuffle"
    torch_class = "PixelUnshuffle"
    principal = "downscale_factor"
    saved = Saved.NOTHING

    downscale_factor: Length

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        r = self.downscale_factor
        for axis, size in (("height", height), ("width", width)):
            if size % r:
                raise ShapeError(
                    f"downscale_factor: {r} does not divide the {axis} {size}; use another data.size or padding"
                )
        window = Sliding(kernel=r, stride=r)
        return Description(shape=(channels * r**2, height // r, width // r), reads=(window, window))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        r = self.downscale_factor
        channel, place = divmod(unit.channel, r**2)
        row, column = unit.index[1:]
        down, right = divmod(place, r)
        return passed_on(inputs[0], Unit((channel, row * r + down, column * r + right)))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        numbers = {"downscale_factor": self.downscale_factor}
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers=numbers),)
