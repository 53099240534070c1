"""Channels that say where a position is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from cnncli.layers.base import Description, Layer, Saved, Shape, image
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Constant, Trace, Unit, passed_on

if TYPE_CHECKING:
    from torch import Tensor, nn


class Coordinates(Layer):
    """Appends two channels, the row and the column from -1 to 1: (C, H, W) to (C + 2, H, W).

    Liu et al., "An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution", 2018.
    """

    type: Literal["coordinates"] = "coordinates"
    other_names = ("CoordConv", "AddCoords", "coords")
    saved = Saved.NOTHING

    def _describe(self, shape: Shape) -> Description:
        channels, height, width = image(shape, self)
        return Description(shape=(channels + 2, height, width))

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import AppendCoordinates

        return AppendCoordinates(*shape[1:])

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        axis = unit.channel - len(x)  # 0: the row, 1: the column
        if axis < 0:
            return passed_on(x, unit)
        last = x.shape[1 + axis] - 1
        return Trace((), (), (Constant("coordinate", 2 * unit.index[1 + axis] / last - 1 if last else 0.0),))

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=self._describe(shapes[0]).shape),)
