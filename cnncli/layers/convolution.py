"""Convolutions, with the norm and the activation that may be given on them."""

from typing import ClassVar, Literal, Self

from pydantic import Field

from cnncli.fields import Pair, PairFromZero, Positive
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import Description, Kernels, Shape, ShapeError, format_shape, image, slide
from cnncli.layers.composite import Composite
from cnncli.layers.norm import NormChoice
from cnncli.windows import Sliding, Transposed

Padding = Literal["same", "valid"] | PairFromZero


class _Convolution(Composite):
    """Fields that both convolutions have; names and meanings as in `torch.nn.Conv2d`."""

    principal = "out_channels"
    has_kernels: ClassVar[bool] = True

    out_channels: Positive
    kernel_size: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: Positive = 1
    bias: bool | None = Field(default=None, description="off where a norm follows, unless given")
    norm: NormChoice = None
    activation: ActivationChoice = None

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias: as given, else only where no norm follows."""
        return self.norm is None if self.bias is None else self.bias

    def before_norm(self) -> Self:
        """See `Layer.before_norm`."""
        return self.model_copy(update={"bias": False}) if self.bias is None and self.activation is None else self

    def _kernels(self, in_channels: int) -> Kernels:
        """The kernels: each looks at `in_channels / groups` channels."""
        for channels, name in ((in_channels, "input channels"), (self.out_channels, "out_channels")):
            if channels % self.groups:
                raise ShapeError(
                    f"groups: {self.groups} does not divide the {channels} {name}; "
                    f"use a divisor of both {in_channels} and {self.out_channels}",
                    about_channels=True,
                )
        biases = self.out_channels if self.has_bias else 0
        return Kernels(self.out_channels, in_channels // self.groups, *self.kernel_size, biases)

    def _described(
        self,
        shape: Shape,
        reads: tuple[Sliding, Sliding] | tuple[Transposed, Transposed],
        kernels: Kernels,
        positions: tuple[int, int],
    ) -> Description:
        """The description of a layer that uses each weight once at each of height x width positions."""
        return self.with_followers(
            Description(
                shape=shape,
                reads=reads,
                params=kernels.weights + kernels.biases,
                macs=kernels.weights * positions[0] * positions[1],
                kernels=kernels,
                groups=self.groups,
            )
        )


class Conv(_Convolution):
    """`torch.nn.Conv2d`: one kernel of depth `in_channels / groups` for each of its `out_channels` feature maps."""

    type: Literal["conv"] = "conv"
    padding: Padding = (0, 0)

    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding (before, after) of each axis.

        `same` is `d (k - 1) / 2` on each side for odd kernels, whatever the stride; an even kernel gets one more after
        than before, as in PyTorch, and only with stride 1.
        """
        if self.padding == "valid":
            return ((0, 0), (0, 0))
        if self.padding != "same":
            (height, width) = self.padding
            return ((height, height), (width, width))
        pads = []
        for kernel, stride, dilation in zip(self.kernel_size, self.stride, self.dilation, strict=True):
            total = dilation * (kernel - 1)
            if total % 2 and stride > 1:
                raise ShapeError(
                    f"padding: same has no center for a kernel of {kernel} with stride {stride}; "
                    f"use an odd kernel_size such as {kernel + 1}, or give padding as a number"
                )
            pads.append((total // 2, total - total // 2))
        return (pads[0], pads[1])

    def windows(self) -> tuple[Sliding, Sliding]:
        """The windows over height and width."""
        over_height, over_width = (
            Sliding(kernel=k, stride=s, dilation=d, before=before, after=after)
            for k, s, d, (before, after) in zip(self.kernel_size, self.stride, self.dilation, self.pads(), strict=True)
        )
        return over_height, over_width

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(out_channels, H', W')`."""
        channels, height, width = image(shape, self)
        kernels = self._kernels(channels)
        windows = self.windows()
        out = (self.out_channels, *slide(windows, (height, width), f"a kernel of {format_shape(self.kernel_size)}"))
        return self._described(out, windows, kernels, positions=(out[1], out[2]))


class ConvTranspose(_Convolution):
    """`torch.nn.ConvTranspose2d`: every input position stamps the kernel onto the output, `stride` apart."""

    type: Literal["conv_transpose"] = "conv_transpose"
    padding: PairFromZero = (0, 0)
    output_padding: PairFromZero = (0, 0)

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(out_channels, H', W')`."""
        channels, height, width = image(shape, self)
        kernels = self._kernels(channels)
        for extra, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(stride, dilation):
                raise ShapeError(f"output_padding: {extra} must be smaller than stride or dilation; lower it")
        over_height, over_width = (
            Transposed(kernel=k, stride=s, dilation=d, padding=p, output_padding=extra)
            for k, s, d, p, extra in zip(
                self.kernel_size, self.stride, self.dilation, self.padding, self.output_padding, strict=True
            )
        )
        windows = (over_height, over_width)
        out = (self.out_channels, *slide(windows, (height, width), f"a kernel of {format_shape(self.kernel_size)}"))
        return self._described(out, windows, kernels, positions=(height, width))
