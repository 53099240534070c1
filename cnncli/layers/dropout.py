"""Layers that return their input unchanged, at least in inference."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Literal

from cnncli.fields import Fraction01
from cnncli.layers.base import Description, Layer, Saved, Shape, image
from cnncli.layers.operation import Operation
from cnncli.layers.unit import Trace, Unit, passed_on

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Passing(Layer):
    keeps_channels = True
    keeps_zero = True
    saved = Saved.NOTHING

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        return passed_on(inputs[0], unit)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return ()


class _Dropping(_Passing):
    principal = "p"

    p: Fraction01 = 0.5

    def _describe(self, shape: Shape) -> Description:
        part = self._part(shape, saved_bytes=self._mask_bytes(shape)) if self.p else self._part(shape, alias=True)
        return Description(shape=shape, view=True, parts=(part,))

    def _mask_bytes(self, shape: Shape) -> int:
        """Of what is kept for the gradient."""
        raise NotImplementedError(self.type)


class Dropout(_Dropping):
    """`torch.nn.Dropout`: in training, each value is set to 0 with probability `p`."""

    type: Literal["dropout"] = "dropout"
    torch_class = "Dropout"

    def _mask_bytes(self, shape: Shape) -> int:
        return prod(shape)  # a byte each, as on CUDA


class Dropout2d(_Dropping):
    """`torch.nn.Dropout2d`: in training, each whole channel is set to 0 with probability `p`."""

    type: Literal["dropout2d"] = "dropout2d"
    other_names = ("SpatialDropout2D", "channel_dropout")
    torch_class = "Dropout2d"

    def _describe(self, shape: Shape) -> Description:
        image(shape, self)
        return super()._describe(shape)

    def _mask_bytes(self, shape: Shape) -> int:
        return 4 * shape[0]  # a factor for each channel, as float32


class DropPath(_Dropping):
    """Stochastic depth (Huang et al., 2016): in training, all values of an image are set to 0 with probability `p`.

    At the end of the main path of a residual block, it leaves only the shortcut, as `StochasticDepth` of torchvision
    does in mode `row`.
    """

    type: Literal["drop_path"] = "drop_path"
    other_names = ("StochasticDepth", "stochastic_depth", "DropPath")

    def _mask_bytes(self, shape: Shape) -> int:
        return 4  # one factor, as float32

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import DropImages

        return DropImages(self.p)


class Identity(_Passing):
    """`torch.nn.Identity`: its output equals its input."""

    type: Literal["identity"] = "identity"
    torch_class = "Identity"

    def _describe(self, shape: Shape) -> Description:
        return Description(shape=shape, view=True, parts=(self._part(shape, alias=True),))
