"""Convolutions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from cnncli.fields import Channels, Pair, PairFromZero
from cnncli.layers.activation import ActivationChoice
from cnncli.layers.base import (
    Description,
    Kernels,
    Saved,
    Shape,
    ShapeError,
    format_shape,
    image,
    output_size,
)
from cnncli.layers.norm import NormChoice
from cnncli.layers.operation import Number, Operation
from cnncli.layers.padding import Pads, check_padding, padding_module, padding_part
from cnncli.layers.unit import Biased, Combined, Patch, Stage, Trace, Unit, positions
from cnncli.layers.weighted_sum import WeightedSum, WeightFields
from cnncli.windows import PaddingMode, Sliding, Transposed, Window

if TYPE_CHECKING:
    from torch import Tensor, nn

Padding = Literal["same", "valid"] | PairFromZero


class KernelFields(WeightFields):
    """Fields of all convolutions; names and meanings as in `torch.nn.Conv2d`."""

    kernel_size: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    bias: bool | None = Field(default=None, description="default: true unless a norm follows")
    norm: NormChoice = None
    activation: ActivationChoice = None


class _Convolution(WeightedSum, KernelFields):
    principal = "out_channels"
    core = "conv"
    has_kernels = True
    saved = Saved.INPUT

    out_channels: Channels
    groups: Channels = 1

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias: as given; by default, only if no norm follows that replaces it."""
        return not (self.norm and self.norm.replaces_bias) if self.bias is None else self.bias

    def before_norm(self) -> Self:
        return self.model_copy(update={"bias": False}) if self.bias is None and self.activation is None else self

    def _fill(self, weight: "Tensor") -> None:
        assert self.init is not None
        self.init.fill(weight, self.groups)

    def windows(self) -> tuple[Window, Window]:
        """The windows over height and width."""
        raise NotImplementedError(self.type)

    def _slide(self, shape: Shape, *, transposed: bool = False) -> Description:
        """The description for an input (C, H, W)."""
        in_channels, *size = image(shape, self)
        for channels, name in ((in_channels, "input channels"), (self.out_channels, "out_channels")):
            if channels % self.groups:
                raise ShapeError(
                    f"groups: {self.groups} does not divide the {channels} {name}; "
                    f"use a divisor of both {in_channels} and {self.out_channels}",
                    about_channels=True,
                )
        windows = self.windows()
        what = f"a kernel of {format_shape(self.kernel_size)}"
        out = (self.out_channels, *output_size(windows, (size[0], size[1]), what))
        biases = self.out_channels if self.has_bias else 0
        kernels = Kernels(
            self.out_channels, in_channels // self.groups, *self.kernel_size, biases, transposed=transposed
        )
        if self.init is not None:
            self.init.check((kernels.count, kernels.depth, kernels.height, kernels.width))
        return Description(
            shape=out,
            reads=windows,
            params=kernels.weights + kernels.biases,
            macs=kernels.weights * prod(size if transposed else out[1:]),
            kernels=kernels,
            groups=self.groups,
        )

    def _operation(self, name: str, shape: Shape, before: tuple[int, int]) -> tuple[Operation, ...]:
        """The operation for an output of this shape and this padding above and on the left."""
        numbers: dict[str, Number] = {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "before": before,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        tensors = {"weight": "conv.weight"} | ({"bias": "conv.bias"} if self.has_bias else {})
        return (Operation(name=name, shape=shape, numbers=numbers, tensors=tensors),)

    def _trace_patches(self, patches: tuple[Patch, ...], weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        """Each channel's sum of products, their sum, the bias."""
        total = sum(patch.total for patch in patches)
        stages: tuple[Stage, ...] = (Combined("sum of the channels", total),)
        if self.has_bias:
            bias = weights["conv.bias"][unit.channel].item()
            stages += (Biased(bias, total + bias),)
        return Trace(patches, tuple(term for patch in patches for term in patch.terms()), stages)


class Conv(_Convolution):
    """`torch.nn.Conv2d`: one kernel of depth `in_channels / groups` for each of its `out_channels` feature maps."""

    type: Literal["conv"] = "conv"
    other_names = ("Conv2d", "convolution")
    padding: Padding = (0, 0)
    padding_mode: PaddingMode = Field(default="zeros", description="what is in the padding")

    def pads(self) -> Pads:
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

    def windows(self) -> tuple[Window, Window]:
        over_height, over_width = (
            Sliding(kernel=k, stride=s, dilation=d, before=before, after=after, padding_mode=self._mode)
            for k, s, d, (before, after) in zip(self.kernel_size, self.stride, self.dilation, self.pads(), strict=True)
        )
        return over_height, over_width

    @property
    def _mode(self) -> PaddingMode:
        """What is in the padding, where there is some."""
        return self.padding_mode if any(map(any, self.pads())) else "zeros"

    @property
    def _is_uneven(self) -> bool:
        """Whether a module pads before the convolution, which itself pads both ends alike."""
        return any(before != after for before, after in self.pads())

    def _describe(self, shape: Shape) -> Description:
        check_padding(self._mode, self.pads(), image(shape, self)[1:])
        description = self._slide(shape)
        parts = [self._part(description.shape)]
        if self._is_uneven or self._mode != "zeros":
            parts.insert(0, padding_part(self._mode, self.pads(), shape))
        return replace(description, parts=tuple(parts))

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        from cnncli.layers.modules import chain

        (top, _), (left, _) = self.pads()
        padding = (0, 0) if self._is_uneven else (top, left)
        conv = nn.Conv2d(
            shape[0],
            self.out_channels,
            self.kernel_size,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            self.has_bias,
            "zeros" if self._is_uneven else self._mode,
        )
        pad = {"pad": padding_module(self._mode, self.pads())} if self._is_uneven else {}
        return chain({**pad, "conv": conv, **self.build_followers((self.out_channels, *shape[1:]))})

    def kernels_of(self, module: "nn.Module") -> "Tensor":
        return module.get_parameter("conv.weight")

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        (top, _), (left, _) = self.pads()
        (operation,) = self._operation("convolution", self._describe(shapes[0]).shape, (top, left))
        return (replace(operation, numbers={**operation.numbers, "padding_mode": self._mode}),)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,), weight = inputs, weights["conv.weight"]  # (O, C / groups, kh, kw)
        rows, columns = positions(self.windows(), x, unit)
        depth = weight.shape[1]
        first = unit.channel // (self.out_channels // self.groups) * depth
        patches = tuple(Patch.crop(x, first + k, rows, columns, weight[unit.channel, k]) for k in range(depth))
        return self._trace_patches(patches, weights, unit)


class ConvTranspose(_Convolution):
    """`torch.nn.ConvTranspose2d`: every input position adds the kernel to the output, `stride` apart."""

    type: Literal["conv_transpose"] = "conv_transpose"
    other_names = ("ConvTranspose2d", "Conv2DTranspose", "deconv", "deconvolution", "transposed_conv")
    padding: PairFromZero = (0, 0)
    output_padding: PairFromZero = (0, 0)

    def windows(self) -> tuple[Window, Window]:
        over_height, over_width = (
            Transposed(kernel=k, stride=s, dilation=d, padding=p, output_padding=extra)
            for k, s, d, p, extra in zip(
                self.kernel_size, self.stride, self.dilation, self.padding, self.output_padding, strict=True
            )
        )
        return over_height, over_width

    def _describe(self, shape: Shape) -> Description:
        for extra, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(stride, dilation):
                raise ShapeError(f"output_padding: {extra} must be smaller than stride or dilation; lower it")
        return self._slide(shape, transposed=True)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        from cnncli.layers.modules import chain

        conv = nn.ConvTranspose2d(
            shape[0],
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.has_bias,
            self.dilation,
        )
        return chain({"conv": conv, **self.build_followers((self.out_channels, *shape[1:]))})

    def _fill(self, weight: "Tensor") -> None:
        groups, (inputs, maps, *size) = self.groups, weight.shape
        kernels = weight.new_empty(groups * maps, inputs // groups, *size)
        super()._fill(kernels)
        by_group = kernels.reshape(groups, maps, inputs // groups, *size)
        weight.copy_(by_group.transpose(1, 2).reshape_as(weight))

    def kernels_of(self, module: "nn.Module") -> "Tensor":
        """See `Layer.kernels_of`; torch keeps them as (I, O / groups, kh, kw)."""
        weight = module.get_parameter("conv.weight")
        inputs, outputs, *size = weight.shape
        by_group = weight.reshape(self.groups, inputs // self.groups, outputs, *size)
        return by_group.transpose(1, 2).reshape(self.groups * outputs, inputs // self.groups, *size)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return self._operation("transposed_convolution", self._describe(shapes[0]).shape, self.padding)

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        (x,), weight = inputs, weights["conv.weight"]  # (C, O / groups, kh, kw)
        rows, columns = (
            [_input_position(place + p - d * tap, s, size) for tap in range(k)]
            for place, k, s, p, d, size in zip(
                unit.index[1:], self.kernel_size, self.stride, self.padding, self.dilation, x.shape[1:], strict=True
            )
        )
        maps, depth = weight.shape[1], len(x) // self.groups
        group, within = divmod(unit.channel, maps)
        channels = range(group * depth, (group + 1) * depth)
        patches = tuple(Patch.crop(x, channel, rows, columns, weight[channel, within]) for channel in channels)
        return self._trace_patches(patches, weights, unit)


def _input_position(offset: int, stride: int, size: int) -> int | None:
    """The input position whose kernel begins at `offset` of the output."""
    position, between = divmod(offset, stride)
    return position if not between and 0 <= position < size else None
