"""Which numbers of its input a unit of a window reads.

Letters: C input channels, (H, W) input, (kh, kw) kernel, O output channels, g groups.
"""

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor

from cnncli.geometry import Adaptive, Sliding
from cnncli.reference.unit import Patch, Unit
from cnncli.spec.layers import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    Conv,
    ConvTranspose,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Upsample,
)

Taps = list[int | None]
"""One for each place of a window along an axis: a position of the input, or None outside it."""


def patches_of_conv(layer: Conv, x: Tensor, weight: Tensor, unit: Unit) -> tuple[Patch, ...]:
    """What a unit of a convolution sees of each channel in its group, with its kernel.

    Args:
        layer: the convolution.
        x: (C, H, W).
        weight: (O, C / g, kh, kw).
        unit: (channel, row, column) of its output.
    """
    rows, columns = _inside(layer.windows(), x, unit)
    depth = weight.shape[1]
    first = unit.channel // (layer.out_channels // layer.groups) * depth
    return tuple(Patch.cut(x, first + k, rows, columns, weight[unit.channel, k]) for k in range(depth))


def patches_of_conv_transpose(layer: ConvTranspose, x: Tensor, weight: Tensor, unit: Unit) -> tuple[Patch, ...]:
    """What reaches a unit of a transposed convolution: for each place of the kernel the number stamped through it.

    Args:
        layer: the transposed convolution.
        x: (C, H, W).
        weight: (C, O / g, kh, kw).
        unit: (channel, row, column) of its output.
    """
    rows, columns = (
        [_stamped_from(place + p - d * tap, s, size) for tap in range(k)]
        for place, k, s, p, d, size in zip(
            unit.index[1:], layer.kernel_size, layer.stride, layer.padding, layer.dilation, x.shape[1:], strict=True
        )
    )
    maps, depth = weight.shape[1], len(x) // layer.groups
    group, within = divmod(unit.channel, maps)
    channels = range(group * depth, (group + 1) * depth)
    return tuple(Patch.cut(x, channel, rows, columns, weight[channel, within]) for channel in channels)


def _stamped_from(offset: int, stride: int, size: int) -> int | None:
    """The input position whose stamp, `stride` apart from the next, begins at `offset`."""
    position, between = divmod(offset, stride)
    return position if not between and 0 <= position < size else None


def window_taps(
    layer: MaxPool | AvgPool | AdaptiveMaxPool | AdaptiveAvgPool | GlobalMaxPool | GlobalAvgPool, x: Tensor, unit: Unit
) -> tuple[Taps, Taps]:
    """Rows and columns of x (C, H, W) that a unit of a pool reads."""
    match layer:
        case MaxPool() | AvgPool():
            return _inside(layer.windows(), x, unit)
        case AdaptiveMaxPool() | AdaptiveAvgPool():
            height, width = layer.output_size
            return _inside((Adaptive(units=height), Adaptive(units=width)), x, unit)
        case GlobalMaxPool() | GlobalAvgPool():
            return list(range(x.shape[1])), list(range(x.shape[2]))


def _inside(windows: Sequence[Adaptive | Sliding], x: Tensor, unit: Unit) -> tuple[Taps, Taps]:
    rows, columns = (
        [each if 0 <= each < size else None for each in window.reads(place, size)]
        for window, place, size in zip(windows, unit.index[1:], x.shape[1:], strict=True)
    )
    return rows, columns


def pool_divisor(layer: AvgPool, x: Tensor, unit: Unit) -> int:
    """By what an average pool divides: the numbers in its window.

    Padding counts unless `count_include_pad` is off. What hangs over the padding's end, with `ceil_mode`, never does.
    """
    divisor = 1
    for window, place, size in zip(layer.windows(), unit.index[1:], x.shape[1:], strict=True):
        low, high = (-window.before, size + window.after) if layer.count_include_pad else (0, size)
        divisor *= sum(low <= each < high for each in window.reads(place, size))
    return divisor


def upsample_taps(layer: Upsample, x: Tensor, unit: Unit) -> list[tuple[Unit, float]]:
    """The numbers of x (C, H, W) that a unit of an upsampled map blends, each with its share."""
    height, width = x.shape[1:]
    rows, columns = (
        _blend(place, size, units) if layer.mode == "bilinear" else [(place * size // units, 1.0)]
        for place, size, units in zip(unit.index[1:], (height, width), layer.output_size(height, width), strict=True)
    )
    return [(Unit((unit.channel, i, j)), a * b) for i, a in rows for j, b in columns if a * b]


def _blend(place: int, size: int, units: int) -> list[tuple[int, float]]:
    """The two positions around `(i + 1/2) n / m - 1/2`, the nearer with the larger share."""
    exact = max(Fraction(0), (place + Fraction(1, 2)) * size / units - Fraction(1, 2))
    first = int(exact)
    share = float(exact - first)
    return [(first, 1 - share), (first + 1, share)] if first + 1 < size else [(first, 1.0)]
