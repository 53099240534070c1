"""Pooling layers: each channel is pooled separately, so the number of channels does not change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb, prod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cnncli.fields import Pair, PairFromZero
from cnncli.layers.base import (
    Description,
    Layer,
    Part,
    Reach,
    Reads,
    Saved,
    Shape,
    ShapeError,
    format_shape,
    image,
    output_size,
)
from cnncli.layers.operation import Number, Operation
from cnncli.layers.padding import Pads, check_padding, padding_module, padding_part
from cnncli.layers.unit import Combined, Patch, Trace, Unit, positions
from cnncli.windows import Adaptive, PaddingMode, Sliding

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_BINOMIAL = 63
"""The largest binomial filter along an axis: the corners of a larger one would be near 0 in single precision."""


class _Pool(Layer):
    is_pool = True
    keeps_channels = True
    keeps_zero = True

    def _output(self, shape: Shape) -> tuple[Shape, Reads]:
        """The output shape for an input (C, H, W), and what a unit reads."""
        raise NotImplementedError(self.type)

    def _operations(self, shapes: Sequence[Shape]) -> tuple[Operation, ...]:
        return (Operation(name=self.type, shape=self._output(shapes[0])[0], numbers=self._numbers()),)

    def _numbers(self) -> dict[str, Number]:
        """What its windows depend on besides the shapes of its input and output."""
        return {}

    def _patch(self, x: "Tensor", unit: Unit) -> Patch:
        """What a unit reads of x (C, H, W)."""
        _, reads = self._output(x.shape)
        if not isinstance(reads, tuple):
            return Patch.crop(x, unit.channel, range(x.shape[1]), range(x.shape[2]))
        return Patch.crop(x, unit.channel, *positions(reads, x, unit))


class _LargestPool(_Pool):
    """The maximum of each window; padding is never the maximum; of equal values the first one counts, as in torch."""

    saved = Saved.INPUT

    def _describe(self, shape: Shape) -> Description:
        out, reads = self._output(shape)
        places = 8 * prod(out)  # int64
        return Description(shape=out, reads=reads, parts=(self._part(out, index_bytes=places),))

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        patch = self._patch(inputs[0], unit)
        winner = max(patch.terms(), key=lambda term: term.value)
        return Trace((patch,), (winner,), (Combined("largest", winner.value),))


class _MeanPool(_Pool):
    """The mean of each window."""

    saved = Saved.INPUT

    def _describe(self, shape: Shape) -> Description:
        out, reads = self._output(shape)
        return Description(shape=out, reads=reads)

    def _divisor(self, patch: Patch, x: "Tensor", unit: Unit) -> int:
        """By how much the sum of the patch is divided."""
        return patch.values.numel()

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        patch = self._patch(inputs[0], unit)
        divisor = self._divisor(patch, inputs[0], unit)
        total = patch.values.sum().item()
        return Trace((patch,), tuple(patch.terms(1 / divisor)), (Combined(f"sum / {divisor}", total / divisor),))


class _WindowPool(_Pool):
    """A pool with a kernel; names and meanings of the fields as in `torch.nn.MaxPool2d`."""

    principal = "kernel_size"

    kernel_size: Pair
    stride: Pair | None = None

    def strides(self) -> tuple[int, int]:
        """The stride of each axis: as given; by default, the kernel size."""
        return self.stride or self.kernel_size

    def windows(self) -> tuple[Sliding, Sliding]:
        """The windows over height and width."""
        raise NotImplementedError(self.type)

    def _numbers(self) -> dict[str, Number]:
        windows = self.windows()
        return {
            "kernel_size": self.kernel_size,
            "stride": self.strides(),
            "before": [window.before for window in windows],
            "dilation": [window.dilation for window in windows],
        }

    def _output(self, shape: Shape) -> tuple[Shape, Reads]:
        channels, height, width = image(shape, self)
        windows = self.windows()
        what = f"a pool of {format_shape(self.kernel_size)}"
        return (channels, *output_size(windows, (height, width), what)), windows


class _SlidingPool(_WindowPool):
    """A pool that padding never changes, or with zeros."""

    ceil_mode: bool = False

    def _dilations(self) -> tuple[int, int]:
        return (1, 1)

    def pads(self) -> tuple[int, int]:
        """Padding on each side, per axis."""
        return (0, 0)

    def windows(self) -> tuple[Sliding, Sliding]:
        over_height, over_width = (
            Sliding(kernel=k, stride=s, dilation=d, before=p, after=p, ceil_mode=self.ceil_mode)
            for k, s, d, p in zip(self.kernel_size, self.strides(), self._dilations(), self.pads(), strict=True)
        )
        return over_height, over_width


class _PaddedPool(_SlidingPool):
    padding: PairFromZero | Literal["same"] = (0, 0)

    def pads(self) -> tuple[int, int]:
        """See `_SlidingPool`: at most half a kernel, as torch demands."""
        if self.padding != "same":
            for kernel, pad in zip(self.kernel_size, self.padding, strict=True):
                if pad > kernel // 2:
                    raise ShapeError(
                        f"padding: {pad} is more than half of kernel_size {kernel}; use at most {kernel // 2}"
                    )
            return self.padding
        for kernel in self.kernel_size:
            if kernel % 2 == 0:
                raise ShapeError(f"padding: same needs an odd kernel_size in a pool, not {kernel}")
        height, width = (d * (k - 1) // 2 for k, d in zip(self.kernel_size, self._dilations(), strict=True))
        return (height, width)


class MaxPool(_PaddedPool, _LargestPool):
    """`torch.nn.MaxPool2d`: the maximum of each window."""

    type: Literal["max_pool"] = "max_pool"
    other_names = ("MaxPool2d", "MaxPooling2D")
    dilation: Pair = (1, 1)

    def _dilations(self) -> tuple[int, int]:
        return self.dilation

    def pads(self) -> tuple[int, int]:
        height, width = super().pads()
        for kernel, pad in zip(self.kernel_size, (height, width), strict=True):
            if pad > kernel // 2:
                raise ShapeError(
                    f"padding: same would need {pad}, more than half of kernel_size {kernel}, which torch rejects; "
                    "use dilation: 1"
                )
        return (height, width)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.MaxPool2d(self.kernel_size, self.strides(), self.pads(), self.dilation, ceil_mode=self.ceil_mode)


class AvgPool(_PaddedPool, _MeanPool):
    """`torch.nn.AvgPool2d`: the mean of each window; padding counts as zeros unless `count_include_pad` is off."""

    type: Literal["avg_pool"] = "avg_pool"
    other_names = ("AvgPool2d", "AveragePooling2D", "mean_pool")
    count_include_pad: bool = True

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.AvgPool2d(self.kernel_size, self.strides(), self.pads(), self.ceil_mode, self.count_include_pad)

    def _numbers(self) -> dict[str, Number]:
        return {**super()._numbers(), "count_include_pad": self.count_include_pad}

    def _divisor(self, patch: Patch, x: "Tensor", unit: Unit) -> int:
        """See `_MeanPool`. What a window covers beyond the padding's end, with `ceil_mode`, never counts."""
        divisor = 1
        for window, place, size in zip(self.windows(), unit.index[1:], x.shape[1:], strict=True):
            low, high = (-window.before, size + window.after) if self.count_include_pad else (0, size)
            divisor *= sum(low <= each < high for each in window.reads(place, size))
        return divisor


class LpPool(_SlidingPool):
    """`torch.nn.LPPool2d`: a root of the sum of powers, `(sum of x^p)^(1/p)`, of each window.

    A window beyond the end, with `ceil_mode`, is scaled up to a whole one, as in torch.
    """

    type: Literal["lp_pool"] = "lp_pool"
    torch_class = "LPPool2d"
    saved = Saved.INPUT

    norm_type: Annotated[float, Field(ge=1)] = Field(description="p, the power")

    def _describe(self, shape: Shape) -> Description:
        out, reads = self._output(shape)
        # The powers; their mean, its sign and magnitude, and their sum, as float32.
        saved = 4 * prod(shape) + 4 * 4 * prod(out)
        return Description(shape=out, reads=reads, parts=(self._part(out, saved_bytes=saved),))

    def _numbers(self) -> dict[str, Number]:
        return {**super()._numbers(), "norm_type": self.norm_type}

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        patch, p = self._patch(inputs[0], unit), self.norm_type
        inside = patch.terms()
        scale = prod(self.kernel_size) / len(inside)
        powers = patch.values ** (p - 1) * scale
        terms = tuple(replace(patch, kernel=powers).terms())
        total = patch.values.new_tensor(sum(term.amount for term in terms))
        stages = (
            Combined("sum of the powers", total.item()),
            Combined(f"to the power of 1 / {p:g}", (total ** (1 / p)).item()),
        )
        return Trace((patch,), terms, stages)


class BlurPool(_WindowPool):
    """A binomial filter, then a stride: pixels are blurred before some are left out (Zhang, 2019)."""

    type: Literal["blur_pool"] = "blur_pool"
    other_names = ("BlurPool2D", "anti_alias")
    saved = Saved.INPUT

    kernel_size: Pair = (3, 3)
    stride: Pair = (2, 2)
    padding_mode: PaddingMode = Field(default="reflect", description="what is in the padding")

    def _pads(self) -> Pads:
        """What `padding: same` is for a convolution; an even kernel gets one more after than before."""
        height, width = (((k - 1) // 2, k // 2) for k in self.kernel_size)
        return (height, width)

    def windows(self) -> tuple[Sliding, Sliding]:
        over_height, over_width = (
            Sliding(kernel=k, stride=s, before=before, after=after, padding_mode=self.padding_mode)
            for k, s, (before, after) in zip(self.kernel_size, self.strides(), self._pads(), strict=True)
        )
        return over_height, over_width

    def _describe(self, shape: Shape) -> Description:
        for kernel in self.kernel_size:
            if kernel > MAX_BINOMIAL:
                raise ShapeError(f"kernel_size: {kernel} is more than {MAX_BINOMIAL}; its outer weights would be 0")
        check_padding(self.padding_mode, self._pads(), image(shape, self)[1:])
        out, reads = self._output(shape)
        weights = prod(self.kernel_size)
        parts = (padding_part(self.padding_mode, self._pads(), shape), self._part(out))
        return Description(shape=out, reads=reads, macs=weights * prod(out), buffer_bytes=4 * weights, parts=parts)

    def _filters(self) -> tuple[list[float], list[float]]:
        """The weights of the rows and of the columns: binomial coefficients with a sum of 1."""
        rows, columns = ([comb(k - 1, i) / 2 ** (k - 1) for i in range(k)] for k in self.kernel_size)
        return rows, columns

    def build(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import BlurPool as Module

        return Module(padding_module(self.padding_mode, self._pads()), *self._filters(), self.strides())

    def _numbers(self) -> dict[str, Number]:
        return {**super()._numbers(), "padding_mode": self.padding_mode}

    def _trace(self, inputs: "Sequence[Tensor]", weights: "Mapping[str, Tensor]", unit: Unit) -> Trace:
        rows, columns = (inputs[0].new_tensor(each) for each in self._filters())
        patch = replace(self._patch(inputs[0], unit), kernel=rows[:, None] * columns)
        return Trace((patch,), tuple(patch.terms()), (Combined("weighted mean", patch.total),))


class _AdaptivePool(_Pool):
    principal = "output_size"

    output_size: Pair

    def _output(self, shape: Shape) -> tuple[Shape, Reads]:
        channels, _, _ = image(shape, self)
        height, width = self.output_size
        return (channels, height, width), (Adaptive(units=height), Adaptive(units=width))

    def _bins(self, shape: Shape) -> tuple[list[list[int]], list[list[int]]]:
        """The rows and the columns of each bin, for an input (C, H, W)."""
        rows, columns = (
            [list(Adaptive(units=units).reads(unit, size)) for unit in range(units)]
            for units, size in zip(self.output_size, shape[1:], strict=True)
        )
        return rows, columns


class AdaptiveAvgPool(_AdaptivePool, _MeanPool):
    """`torch.nn.AdaptiveAvgPool2d`: the mean of each of `output_size` bins, which may differ in size by one."""

    type: Literal["adaptive_avg_pool"] = "adaptive_avg_pool"
    torch_class = "AdaptiveAvgPool2d"

    def build_portable(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import BinMeans

        return BinMeans(*self._bins(shape))

    def _describe(self, shape: Shape) -> Description:
        description = super()._describe(shape)
        if self.output_size != (1, 1):
            return description
        # Torch computes a single bin as a mean, whose gradient needs nothing.
        part = Part(self.type, prod(description.shape), Saved.NOTHING)
        return replace(description, parts=(part,))


class AdaptiveMaxPool(_AdaptivePool, _LargestPool):
    """`torch.nn.AdaptiveMaxPool2d`: the maximum of each of `output_size` bins."""

    type: Literal["adaptive_max_pool"] = "adaptive_max_pool"
    torch_class = "AdaptiveMaxPool2d"

    def build_portable(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import BinMaxima

        return BinMaxima(*self._bins(shape))


class _GlobalPool(_Pool):
    def _output(self, shape: Shape) -> tuple[Shape, Reads]:
        channels, _, _ = image(shape, self)
        return (channels,), Reach.ALL


class GlobalAvgPool(_GlobalPool, _MeanPool):
    """The mean of each channel: (C, H, W) to (C,) (Lin, Chen and Yan, "Network in Network", 2013)."""

    type: Literal["global_avg_pool"] = "global_avg_pool"
    other_names = ("GlobalAveragePooling2D", "gap")
    saved = Saved.NOTHING

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def build_portable(self, shape: Shape) -> "nn.Module":
        from cnncli.layers.modules import PositionMeans

        return PositionMeans()


class GlobalMaxPool(_GlobalPool, _LargestPool):
    """The maximum of each channel: (C, H, W) to (C,)."""

    type: Literal["global_max_pool"] = "global_max_pool"
    other_names = ("GlobalMaxPooling2D",)

    def build(self, shape: Shape) -> "nn.Module":
        from torch import nn

        return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
