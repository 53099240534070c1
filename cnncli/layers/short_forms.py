"""Short forms: layers of a config that stand for convolutions, which depend on the channels of their input."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from cnncli.fields import Channels, Choice
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Shape, ShapeError, image
from cnncli.layers.convolution import Conv, KernelFields, Padding
from cnncli.layers.norm import NormChoice
from cnncli.limits import MAX_CHANNELS
from cnncli.windows import PaddingMode


class ShortForm(Choice):
    """What stands for one or several layers.

    Attributes:
        name: what it is called; `depthwise_conv1`, ... where it is not given.
    """

    name: str | None = None

    has_kernels: ClassVar[bool] = False
    """Whether the last of its layers is a convolution with the `norm` that is given here."""

    def layers(self, shape: Shape) -> Mapping[str, Conv]:
        """The layers for an input of shape (C, H, W), in order, by name; a single one is called `""`.

        Raises:
            ShapeError: they cannot take this shape.
        """
        raise NotImplementedError(self.type)


class _Depthwise(ShortForm, KernelFields):
    has_kernels = True

    padding: Padding = (0, 0)
    padding_mode: PaddingMode = Field(default="zeros", description="what is in the padding")
    depth_multiplier: Channels = Field(default=1, description="output channels for each input channel")

    def _depthwise(self, shape: Shape, **changes: Any) -> Conv:  # noqa: ANN401  values of any field
        """The convolution with a group for each input channel, with some other fields than those given here."""
        channels, _, _ = image(shape, self)
        outputs = channels * self.depth_multiplier
        if outputs > MAX_CHANNELS:
            raise ShapeError(
                f"depth_multiplier: {self.depth_multiplier} times {channels} channels is more than {MAX_CHANNELS:,}; "
                "lower it",
                about_channels=True,
            )
        conv = Conv(out_channels=outputs, kernel_size=self.kernel_size, groups=channels)
        return conv.model_copy(update=self._given() | changes)

    def _given(self) -> dict[str, Any]:
        """The fields that a convolution has as well."""
        given = type(self).model_fields.keys() & Conv.model_fields.keys() - {"type", "name", "out_channels"}
        return {name: getattr(self, name) for name in given}


class DepthwiseConv(_Depthwise):
    """A convolution of each channel by itself: `conv` with a group for each input channel."""

    type: Literal["depthwise_conv"] = "depthwise_conv"
    other_names = ("DepthwiseConv2D",)
    principal = "kernel_size"

    def layers(self, shape: Shape) -> Mapping[str, Conv]:
        return {"": self._depthwise(shape)}


class SeparableConv(_Depthwise):
    """A depthwise convolution and a convolution of 1x1 (Chollet, Xception, 2016; Howard et al., MobileNet, 2017)."""

    type: Literal["separable_conv"] = "separable_conv"
    other_names = ("SeparableConv2D",)
    principal = "out_channels"

    out_channels: Channels
    depthwise_norm: NormChoice = Field(default=None, description="norm between the two convolutions")
    depthwise_activation: ActivationChoice = Field(default=None, description="activation between the two convolutions")

    def layers(self, shape: Shape) -> Mapping[str, Conv]:
        # Without an activation in between, the bias of the second convolution does what one of the first would do.
        bias = False if self.depthwise_activation is None else self.bias
        depthwise = self._depthwise(shape, bias=bias, norm=self.depthwise_norm, activation=self.depthwise_activation)
        of_one_pixel: dict[str, Any] = {"kernel_size": (1, 1), "stride": (1, 1), "dilation": (1, 1)}
        of_one_pixel |= {"padding": (0, 0), "padding_mode": "zeros"}
        pointwise = Conv(out_channels=self.out_channels, kernel_size=(1, 1))
        return {"depthwise": depthwise, "pointwise": pointwise.model_copy(update=self._given() | of_one_pixel)}
