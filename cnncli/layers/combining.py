"""Activations that make one channel of several."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cnncli.fields import Channels
from cnncli.layers.activation import sigmoid
from cnncli.layers.base import Description, Layer, Saved, Shape, ShapeError
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Combined, Term, Trace, Unit

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Combining(Layer):
    def _pieces(self) -> int:
        """How many channels become one."""
        raise NotImplementedError(self.type)

    def _output(self, shape: Shape) -> Shape:
        channels, pieces = shape[0], self._pieces()
        if channels % pieces:
            raise ShapeError(
                f"{channels} channels cannot be divided into groups of {pieces}; "
                f"use a layer with a multiple of {pieces} channels before it",
                about_channels=True,
            )
        return (channels // pieces, *shape[1:])

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=self._output(shapes[0]), numbers=self._numbers()),)

    def _numbers(self) -> dict[str, float]:
        """The fields that the function depends on."""
        return {}


class Glu(_Combining):
    """`torch.nn.GLU` over channels: (C, H, W) to (C / 2, H, W), the first half times the sigmoid of the second.

    Dauphin et al., 2016.
    """

    type: Literal["glu"] = "glu"
    other_names = ("GLU",)
    saved = Saved.INPUT

    def _pieces(self) -> int:
        return 2

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=self._output(shape))

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.GLU(dim=1)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,) = inputs
        gate = x[(unit.channel + len(x) // 2, *unit.index[1:])].item()
        term = Term(unit, x[unit.index].item(), sigmoid(gate))
        return Trace((), (term,), (Combined("times the sigmoid of its gate", term.amount),))


class Maxout(_Combining):
    """The largest of `pieces` neighboring channels: (C, H, W) to (C / pieces, H, W) (Goodfellow et al., 2013)."""

    type: Literal["maxout"] = "maxout"
    principal = "pieces"
    saved = Saved.NOTHING

    pieces: Annotated[Channels, Field(ge=2, description="channels of which the largest is taken")]

    def _pieces(self) -> int:
        return self.pieces

    def _numbers(self) -> dict[str, float]:
        return {"pieces": self.pieces}

    def _describe(self, shape: Shape) -> Description:
        out = self._output(shape)
        return Description(shape=out, parts=(self._part(out, index_bytes=8 * prod(out)),))

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import MaxOfChannels

        return MaxOfChannels(self.pieces)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        first = unit.channel * self.pieces
        units = [Unit((channel, *unit.index[1:])) for channel in range(first, first + self.pieces)]
        values = [inputs[0][each.index].item() for each in units]
        largest = max(values)
        term = Term(units[values.index(largest)], largest, 1.0)
        return Trace((), (term,), (Combined("largest", largest),))
