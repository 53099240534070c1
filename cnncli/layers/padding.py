"""What is around a map: constants, or pixels of the map that are repeated; and layers that add it, or take it away.

Letters for shapes: C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cnncli.fields import Ends, Pair, Sides, given
from cnncli.layers.base import Description, Layer, Part, Reach, Saved, Shape, ShapeError, image
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Constant, Trace, Unit, passed_on
from cnncli.windows import Padded, Sliding

if TYPE_CHECKING:
    from torch import Tensor, nn

Pads = tuple[tuple[int, int], tuple[int, int]]
"""(before, after) of height and width."""
Mode = Literal["constant", "zeros", "reflect", "replicate", "circular"]


def check_padding(mode: Mode, pads: Pads, size: Sequence[int]) -> None:
    """Check that a map of `size`, (H, W), has the pixels that its padding repeats.

    Raises:
        ShapeError: it has too few.
    """
    for axis, (before, after), length in zip(("height", "width"), pads, size, strict=True):
        widest = max(before, after)
        if mode == "reflect" and widest >= length:
            raise ShapeError(
                f"reflected padding of {widest} needs more than {widest} pixels, but the {axis} of its input is "
                f"{length}; use less padding or replicate"
            )
        if mode == "circular" and widest > length:
            raise ShapeError(
                f"circular padding of {widest} needs as many pixels, but the {axis} of its input is {length}; "
                "use less padding or replicate"
            )


def padding_part(mode: Mode, pads: Pads, shape: Shape) -> Part:
    """The operation that pads maps (C, H, W)."""
    padded = (size + sum(ends) for size, ends in zip(shape[1:], pads, strict=True))
    saved = Saved.INPUT if mode in ("reflect", "replicate") else Saved.NOTHING
    return Part("pad", shape[0] * prod(padded), saved, trained=False)


def padding_module(mode: Mode, pads: Pads) -> "nn.Module":
    """The torch module that pads maps (N, C, H, W)."""
    from torch import nn

    classes = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "circular": nn.CircularPad2d}
    (top, bottom), (left, right) = pads
    return classes.get(mode, nn.ZeroPad2d)((left, right, top, bottom))


class Pad(Layer):
    """`torch.nn.functional.pad`: (C, H, W) to (C + channels, H + rows, W + columns)."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["mode"],
                "properties": {"mode": {"enum": ["reflect", "replicate", "circular"]}},
                "anyOf": [
                    {"required": ["channels"], "properties": {"channels": {"not": {"enum": [0, [0, 0]]}}}},
                    {"required": ["value"], "properties": {"value": {"not": {"const": 0}}}},
                ],
            }
        }
    )

    type: Literal["pad"] = "pad"
    principal = "padding"
    other_names = (
        "ZeroPad2d",
        "ConstantPad2d",
        "ReflectionPad2d",
        "ReplicationPad2d",
        "CircularPad2d",
        "ZeroPadding2D",
    )
    saved = Saved.NOTHING

    padding: Sides = Field(default=((0, 0), (0, 0)), description="rows and columns added on each side")
    channels: Ends = Field(default=(0, 0), description="channels added before and after")
    mode: Literal["constant", "reflect", "replicate", "circular"] = Field(
        default="constant", description="what is in the padding"
    )
    value: float = Field(default=0.0, description="of the padding, if it is constant")

    @model_validator(mode="after")
    def _constant_alone(self) -> Self:
        for name, given_ in (("channels", any(self.channels)), ("value", self.value != 0)):
            if given_ and self.mode != "constant":
                raise PydanticCustomError(
                    "constant_alone", "{name} needs mode: constant; remove it, or use two layers", {"name": name}
                )
        return self

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        check_padding(self.mode, self.padding, (height, width))
        rows, columns = (Padded(before=before, after=after, mode=self.mode) for before, after in self.padding)
        part = padding_part(self.mode, self.padding, (channels + sum(self.channels), height, width))
        return Description(
            shape=(channels + sum(self.channels), rows.output_size(height), columns.output_size(width)),
            reads=(rows, columns) if any(map(any, self.padding)) else Reach.SAME,
            parts=(part,),
        )

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        if self.mode != "constant":
            return padding_module(self.mode, self.padding)
        (top, bottom), (left, right) = self.padding
        if not any(self.channels):
            return nn.ConstantPad2d((left, right, top, bottom), self.value)
        return nn.ConstantPad3d((left, right, top, bottom, *self.channels), self.value)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        windows = [Padded(before=self.channels[0], after=self.channels[1])]
        windows += [Padded(before=before, after=after, mode=self.mode) for before, after in self.padding]
        source = tuple(
            position
            for window, place, size in zip(windows, unit.index, x.shape, strict=True)
            for position in window.reads(place, size)
        )
        if all(0 <= position < size for position, size in zip(source, x.shape, strict=True)):
            return passed_on(x, Unit(source))
        return Trace((), (), (Constant("padding", self.value),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        before = (self.channels[0], *(first for first, _ in self.padding))
        numbers = {"before": before, "mode": self.mode, "value": self.value}
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers=numbers),)


class Crop(Layer):
    """Leaves out rows and columns, a number on each side or all but a `size` in the center."""

    model_config = ConfigDict(json_schema_extra={"not": given("cropping", "size")})

    type: Literal["crop"] = "crop"
    principal = "cropping"
    other_names = ("Cropping2D", "CenterCrop", "center_crop")
    keeps_channels = True
    keeps_zero = True
    saved = Saved.NOTHING

    cropping: Sides | None = Field(default=None, description="rows and columns left out on each side")
    size: Pair | None = Field(default=None, description="height and width of what is kept in the center")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.cropping is not None and self.size is not None:
            raise PydanticCustomError("both", "give either cropping or size")
        return self

    def sides(self, height: int, width: int) -> Pads:
        """What is left out on each side.

        Raises:
            ShapeError: neither `cropping` nor `size` is given, or nothing is left.
        """
        if self.cropping is not None:
            for axis, sides, length in zip(("height", "width"), self.cropping, (height, width), strict=True):
                if sum(sides) >= length:
                    raise ShapeError(f"cropping leaves nothing of a {axis} of {length}; leave out less")
            return self.cropping
        if self.size is None:
            raise ShapeError("crop needs either cropping or size; give one of them")
        around = []
        for axis, kept, length in zip(("height", "width"), self.size, (height, width), strict=True):
            if kept > length:
                raise ShapeError(f"size: {kept} is more than the {axis} of its input, {length}; lower it, or use pad")
            before = (length - kept) // 2
            around.append((before, length - kept - before))
        return (around[0], around[1])

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        windows = tuple(Sliding(kernel=1, before=-before, after=-after) for before, after in self.sides(height, width))
        size = (window.output_size(length) for window, length in zip(windows, (height, width), strict=True))
        return Description(shape=(channels, *size), reads=windows)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        # Torch's padding by a negative size makes a copy: a view would be copied where a flatten follows.
        (top, bottom), (left, right) = self.sides(*shape[1:])
        return nn.ZeroPad2d((-left, -right, -top, -bottom))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        channel, row, column = unit.index
        (top, _), (left, _) = self.sides(*inputs[0].shape[1:])
        return passed_on(inputs[0], Unit((channel, row + top, column + left)))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        (top, _), (left, _) = self.sides(*shapes[0][1:])
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape, numbers={"before": (top, left)}),)
