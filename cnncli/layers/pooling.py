"""Pools: each channel on its own, so the number of channels stays."""

from typing import ClassVar, Literal

from cnncli.fields import Pair, PairFromZero
from cnncli.layers.base import Description, Layer, Reach, Shape, ShapeError, format_shape, image, slide
from cnncli.windows import Adaptive, Resampled, Sliding


class _Pool(Layer):
    is_pool: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True


class _SlidingPool(_Pool):
    """Fields that both pools with a kernel have; names and meanings as in `torch.nn.MaxPool2d`."""

    principal = "kernel_size"

    kernel_size: Pair
    stride: Pair | None = None
    padding: PairFromZero | Literal["same"] = (0, 0)
    ceil_mode: bool = False

    def strides(self) -> tuple[int, int]:
        """The stride of each axis: as given, else the kernel's size."""
        return self.stride or self.kernel_size

    def _dilations(self) -> tuple[int, int]:
        return (1, 1)

    def pads(self) -> tuple[int, int]:
        """Padding on each side, per axis: at most half a kernel, as torch demands."""
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

    def windows(self) -> tuple[Sliding, Sliding]:
        """The windows over height and width."""
        over_height, over_width = (
            Sliding(kernel=k, stride=s, dilation=d, before=p, after=p, ceil_mode=self.ceil_mode)
            for k, s, d, p in zip(self.kernel_size, self.strides(), self._dilations(), self.pads(), strict=True)
        )
        return over_height, over_width

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C, H', W')`."""
        channels, height, width = image(shape, self)
        windows = self.windows()
        size = slide(windows, (height, width), f"a pool of {format_shape(self.kernel_size)}")
        return Description(shape=(channels, *size), reads=windows)


class MaxPool(_SlidingPool):
    """`torch.nn.MaxPool2d`: the largest number in each window."""

    type: Literal["max_pool"] = "max_pool"
    dilation: Pair = (1, 1)

    def _dilations(self) -> tuple[int, int]:
        return self.dilation

    def pads(self) -> tuple[int, int]:
        """See `_SlidingPool.pads`."""
        height, width = super().pads()
        for kernel, pad in zip(self.kernel_size, (height, width), strict=True):
            if pad > kernel // 2:
                raise ShapeError(
                    f"padding: same would need {pad}, more than half of kernel_size {kernel}, which torch refuses; "
                    "use dilation: 1"
                )
        return (height, width)


class AvgPool(_SlidingPool):
    """`torch.nn.AvgPool2d`: the mean of each window; padding counts as zeros unless `count_include_pad` is off."""

    type: Literal["avg_pool"] = "avg_pool"
    count_include_pad: bool = True


class _AdaptivePool(_Pool):
    principal = "output_size"

    output_size: Pair

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C, *output_size)`."""
        channels, _, _ = image(shape, self)
        height, width = self.output_size
        return Description(shape=(channels, height, width), reads=(Adaptive(units=height), Adaptive(units=width)))


class AdaptiveAvgPool(_AdaptivePool):
    """`torch.nn.AdaptiveAvgPool2d`: the mean of each of `output_size` bins, which may differ in size by one."""

    type: Literal["adaptive_avg_pool"] = "adaptive_avg_pool"


class AdaptiveMaxPool(_AdaptivePool):
    """`torch.nn.AdaptiveMaxPool2d`: the largest number of each of `output_size` bins."""

    type: Literal["adaptive_max_pool"] = "adaptive_max_pool"


class _GlobalPool(_Pool):
    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C,)`, one number per channel."""
        channels, _, _ = image(shape, self)
        return Description(shape=(channels,), reads=Reach.ALL)


class GlobalAvgPool(_GlobalPool):
    """The mean of each channel (Lin, Chen and Yan, "Network in Network", 2013)."""

    type: Literal["global_avg_pool"] = "global_avg_pool"


class GlobalMaxPool(_GlobalPool):
    """The largest number of each channel."""

    type: Literal["global_max_pool"] = "global_max_pool"


class Upsample(Layer):
    """`torch.nn.Upsample`: more positions, by a whole `scale_factor` or to a `size`."""

    type: Literal["upsample"] = "upsample"
    keeps_channels: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True
    principal = "scale_factor"

    scale_factor: Pair | None = None
    size: Pair | None = None
    mode: Literal["nearest", "bilinear"] = "nearest"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after it.

        Raises:
            ShapeError: not exactly one of `scale_factor` and `size` is given.
        """
        if (self.scale_factor is None) == (self.size is None):
            raise ShapeError("upsample needs either scale_factor or size; give exactly one of them")
        if self.scale_factor is None:
            assert self.size is not None
            return self.size
        return height * self.scale_factor[0], width * self.scale_factor[1]

    def describe(self, shape: Shape) -> Description:
        """See `Layer.describe`: `(C, H, W)` to `(C, H', W')`."""
        channels, height, width = image(shape, self)
        size = self.output_size(height, width)
        over_height, over_width = (
            Resampled(units=units, mode="linear" if self.mode == "bilinear" else "nearest") for units in size
        )
        return Description(shape=(channels, *size), reads=(over_height, over_width))
