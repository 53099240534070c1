"""Rules for operators that slide, pad or resample along the positions of a map (N, C, positions ...)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from cnncli.capture.effect import SAME, Context, Effect, Rule, per_axis, probe_window
from cnncli.capture.layout import (
    Factor,
    Factors,
    Layout,
    Role,
    UnsupportedOp,
    axes_of,
    batch_size,
    free,
    has_batch,
    pieces_of,
    units,
)
from cnncli.capture.moving import along_rows, through_windows
from cnncli.capture.rearranging import extend
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
from cnncli.layers.base import Reads
from cnncli.windows import Adaptive, Gathered, Padded, Resampled, Sliding, Transposed, Window
from cnncli.windows.window import Interpolation


def _slide(
    operation: Operation, context: Context, type: str, window: Callable[[int, int], Window], *, groups: int = 0
) -> Effect:
    """The effect of an operation that applies `window(i, size)` to the i-th spatial axis of its input.

    Args:
        operation, context: see `Rule`.
        type: of the effect.
        window: see above.
        groups: in which channels are mixed; 0: each channel on its own.
    """
    value, shape = operation.inputs[0], operation.outputs[0].shape
    layout = list(context.layout(value))
    count = len(shape) - 2
    present = units(tuple(layout))
    for i in range(count if count == context.axes else 0):
        if i not in present and all(factor.size == 1 for factor in layout[2 + i]):
            layout[2 + i] = (Factor(1, i),)  # a single position, whose axis was lost in a pool, is known by its place
    windows = {2 + i: window(i, value.shape[2 + i]) for i in range(count)}
    channels = _channels(layout[1], shape[1], groups)
    merged = [dim for dim in windows if len(pieces_of(layout[dim])) > 1 and windows[dim] != SAME]
    if len(merged) == 1 and channels is not None and not pieces_of(layout[1]):
        return _slide_over_rows(type, tuple(layout), windows, merged[0], channels, context)
    at_each = [dim for dim in windows if sum(factor.size > 1 for factor in layout[dim]) > 1 and windows[dim] == SAME]
    moved = {dim: each for dim, each in windows.items() if dim not in at_each}
    after, reads = through_windows(tuple(layout), moved, context, without={} if channels is None else {1: channels})
    return Effect(type=type, layout=after, reads=reads)


def _slide_over_rows(
    type: str, layout: Layout, windows: dict[int, Window], dim: int, channels: Factors, context: Context
) -> Effect:
    """The effect of an operation that slides over a flattened map: units are counted along its slowest axis."""
    after, reads, exact = along_rows(layout, dim, windows[dim], context)
    if any(window.output_size(1) != 1 for other, window in windows.items() if other != dim):
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    note = "" if exact else "it slides over a flattened map: the table gives the whole rows that a unit reads a part of"
    return Effect(type=type, layout=(after[0], channels, *after[2:]), reads=reads, upper_bound=not exact, note=note)


def _channels(before: Factors, count: int, groups: int) -> Factors | None:
    """The channels of an operation's output; None if they are those of its input.

    Blocks of positions and images that a reshape has moved among the channels remain if they are groups.
    """
    if not pieces_of(before) and not any(factor.of is Role.BATCH for factor in before):
        return free(count)
    if not groups:
        if prod(factor.size for factor in before) != count:
            raise UnsupportedOp("works on positions that a reshape has merged with channels")
        return None
    kept: list[Factor] = []
    rest = groups
    for factor in before:
        if rest > 1:
            whole = rest % factor.size == 0
            if not whole and (factor.of is not Role.FREE or factor.size % rest):
                raise UnsupportedOp("its groups of channels divide positions that a reshape has merged with channels")
            kept.append(factor if whole else Factor(rest, Role.FREE))
            rest = rest // factor.size if whole else 1
    return (*kept, Factor(count // groups, Role.FREE))


def convolution(operation: Operation, context: Context) -> Effect:
    """Convolutions with any number of axes, transposed or not."""
    a = operation.arguments
    weight = a["weight"]
    layout = context.layout(a["input"])
    kernel = weight.shape[2:]
    stride, padding, dilation = (per_axis(a[name], len(kernel)) for name in ("stride", "padding", "dilation"))
    extra = per_axis(a["output_padding"], len(kernel))
    after = a.get("padding_after", padding)  # of ONNX, where the two sides may differ

    def window(i: int, size: int) -> Window:
        if a["transposed"]:
            return Transposed(
                kernel=kernel[i], stride=stride[i], dilation=dilation[i], padding=padding[i], output_padding=extra[i]
            )
        return Sliding(
            kernel=kernel[i],
            stride=stride[i],
            dilation=dilation[i],
            before=padding[i],
            after=after[i],
            used=used[i],
        )

    used = _used_taps(operation.zeros, len(kernel))
    effect = _slide(operation, context, "conv_transpose" if a["transposed"] else "conv", window, groups=a["groups"])
    macs = conv_macs(operation, batch_size(layout)) if has_batch(layout) else None
    effect = replace(effect, macs=macs, groups=a["groups"])
    if weight.dynamic:
        return _with_kernel(effect, a["input"], weight, context)
    if operation.zeros is None:
        return effect
    counts = [size if each is None else len(each) for each, size in zip(used, kernel, strict=True)]
    read = int((~operation.zeros).sum())
    note = f"at {prod(kernel) - read} of the {prod(kernel)} positions of its kernel all weights are 0, by a mask"
    return replace(effect, zeros=operation.zeros, upper_bound=read < prod(counts), note=note)


def _with_kernel(effect: Effect, maps: Value, kernel: Value, context: Context) -> Effect:
    """The effect of a convolution whose kernel depends on the input: a unit reads all that the kernel depends on."""
    layout = context.layout(kernel)
    if has_batch(layout) and not any(factor.of is Role.BATCH for factor in context.layout(maps)[1]):
        raise UnsupportedOp("its kernel depends on the input")
    reads: Reads = Reach.ALL if any(pieces_of(chain.from_iterable(layout)).values()) else Reach.SAME
    return replace(effect, reads=Reach.SAME, placed=((maps, effect.reads), (kernel, reads)))


def _used_taps(zeros: Tensor | None, axes: int) -> list[tuple[int, ...] | None]:
    """Along each axis of a kernel the positions whose weights are not all 0; None: all."""
    if zeros is None:
        return [None] * axes
    used: list[tuple[int, ...] | None] = []
    for axis in range(axes):
        some = (~zeros).movedim(axis, 0).reshape(zeros.shape[axis], -1).any(1)
        used.append(None if some.all() else tuple(some.nonzero().flatten().tolist()))
    return used


def conv_macs(operation: Operation, images: int) -> int:
    """Multiply-accumulates of a convolution for one of several images: each weight is used once at each position.

    A reshape may have moved frames, channels or rows of an image into the first axis; they count as well.
    """
    a = operation.arguments
    maps = a["input"] if a["transposed"] else operation.outputs[0]
    return int(a["weight"].numel) * maps.shape[0] * prod(maps.shape[2:]) // images


def pool(type: str) -> Rule:
    """Pools with a kernel."""

    def rule(operation: Operation, context: Context) -> Effect:
        a = operation.arguments
        count = len(operation.outputs[0].shape) - 2
        kernel = per_axis(a["kernel_size"], count)
        stride = per_axis(a["stride"] or kernel, count)
        padding, dilation = per_axis(a["padding"], count), per_axis(a.get("dilation", 1), count)

        def window(i: int, size: int) -> Window:
            return Sliding(
                kernel=kernel[i],
                stride=stride[i],
                dilation=dilation[i],
                before=padding[i],
                after=padding[i],
                ceil_mode=a["ceil_mode"],
            )

        return _slide(operation, context, type, window)

    return rule


def sliding(operation: Operation, context: Context) -> Effect:
    """An operation with given windows along the axes of positions; None: each position by itself."""
    windows: Sequence[Window | None] = operation.arguments["windows"]
    return _slide(operation, context, operation.arguments["type"], lambda i, _size: windows[i] or SAME)


def local_response_norm(operation: Operation, context: Context) -> Effect:
    """Division by the squares of neighboring channels, as one operator."""
    value: Value = operation.arguments["self"]
    layout = context.layout(value)
    images, channels = batch_size(layout), value.shape[1]
    # The padded squares, their means, and the divisors.
    saved = value.item_bytes * (value.numel // images) * (3 * channels + operation.arguments["size"] - 1) // channels
    return Effect(type="local_response_norm", layout=layout, saved_bytes=saved)


def adaptive_pool(type: str) -> Rule:
    """Pools with a given number of bins."""

    def rule(operation: Operation, context: Context) -> Effect:
        shape = operation.outputs[0].shape
        return _slide(operation, context, type, lambda i, size: Adaptive(units=shape[2 + i]))

    return rule


_aten = torch.ops.aten
_RESAMPLERS: dict[str, tuple[Interpolation, Any]] = {
    **{f"upsample_nearest{n}d": ("nearest", _aten.upsample_nearest2d) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": ("nearest-exact", _aten._upsample_nearest_exact2d) for n in (1, 2, 3)},
    **{f"upsample_{name}": ("linear", _aten.upsample_bilinear2d) for name in ("linear1d", "bilinear2d", "trilinear3d")},
    "upsample_bicubic2d": ("cubic", _aten.upsample_bicubic2d),
    "_upsample_bilinear2d_aa": ("linear", _aten._upsample_bilinear2d_aa),
    "_upsample_bicubic2d_aa": ("cubic", _aten._upsample_bicubic2d_aa),
}
"""Every resampling operator -> its mode, and the same operator for two axes."""

UPSAMPLES = tuple(_RESAMPLERS)


def upsample(operation: Operation, context: Context) -> Effect:
    """`torch.nn.functional.interpolate`; which positions it reads is measured."""
    a = operation.arguments
    shape = operation.outputs[0].shape
    names = {3: ("scales",), 4: ("scales_h", "scales_w"), 5: ("scales_d", "scales_h", "scales_w")}[len(shape)]
    mode, resampler = _RESAMPLERS[operation.name]
    flags = [a["align_corners"]] if "align_corners" in a else []

    def window(i: int, size: int) -> Window:
        units, scale = shape[2 + i], a.get(names[i])
        ratio = None if scale is None else 1 / Fraction(scale).limit_denominator(1 << 16)
        expected = [
            Resampled(units=units, mode=mode, align_corners=any(flags), ratio=None if plain else ratio)
            for plain in (True, False)
        ]

        def resample(line: Tensor) -> Tensor:
            # Axes are resampled independently: this one, and a second one that keeps its size.
            image = line[..., None].expand(-1, -1, -1, 2).contiguous()
            resampled: Tensor = resampler(image, [units, 2], *flags, scale, None)
            return resampled[..., 0]

        return probe_window(resample, size, expected)

    return _slide(operation, context, "upsample", window)


def constant_pad(operation: Operation, context: Context) -> Effect:
    """Constant padding of positions or channels; negative padding crops."""
    a = operation.arguments
    before = context.layout(a["self"])
    pads = [(0, 0)] * (len(before) - len(a["pad"]) // 2) + list(zip(a["pad"][::2], a["pad"][1::2], strict=True))[::-1]
    windows = {i: Padded(before=first, after=last) for i, (first, last) in enumerate(pads) if (first, last) != (0, 0)}
    if len(windows) == 1:
        ((dim, window),) = windows.items()
        if len(pieces_of(before[dim])) > 1 and min(window.before, window.after) >= 0:  # tokens without a position
            size = operation.outputs[0].shape[dim]
            return replace(extend(a["self"], dim, before=window.before, size=size, context=context), type="pad")
    layout, reads = through_windows(before, windows, context)
    return Effect(type="pad", layout=layout, reads=reads)


def border_pad(mode: Literal["reflect", "replicate", "circular"]) -> Rule:
    """Padding with pixels of the map: mirrored, repeated, or from the opposite border."""

    def rule(operation: Operation, context: Context) -> Effect:
        padding = operation.arguments["padding"]
        pads = list(zip(padding[::2], padding[1::2], strict=True))[::-1]
        unpadded = len(operation.outputs[0].shape) - 2 - len(pads)

        def window(i: int, size: int) -> Window:
            before, after = pads[i - unpadded] if i >= unpadded else (0, 0)
            return Padded(before=before, after=after, mode=mode)

        return _slide(operation, context, "pad", window)

    return rule


def pixel_shuffle(operation: Operation, context: Context) -> Effect:
    """Channels rearranged to more positions."""
    shape = operation.outputs[0].shape
    return _slide(operation, context, "pixel_shuffle", lambda i, size: Resampled(units=shape[2 + i]))


def pixel_unshuffle(operation: Operation, context: Context) -> Effect:
    """Blocks of positions rearranged to more channels."""
    factor = operation.arguments["downscale_factor"]
    return _slide(operation, context, "pixel_unshuffle", lambda i, size: Sliding(kernel=factor, stride=factor))


def move(operation: Operation, context: Context) -> Effect:
    """`roll` and `flip`: positions in another order."""
    a = operation.arguments
    value: Value = a["self"]
    layout = context.layout(value)
    dims = [dim % len(layout) for dim in a["dims"]]
    shifts = list(per_axis(a["shifts"], len(dims))) if "shifts" in a else [0] * len(dims)
    if not dims and a.get("shifts"):
        raise UnsupportedOp("rolls a flattened map")
    windows: dict[int, Window] = {}
    for dim, shift in zip(dims, shifts, strict=True):
        if axes_of(layout[dim]):
            size = value.shape[dim]
            order = [(i - shift) % size for i in range(size)] if "shifts" in a else range(size)[::-1]
            windows[dim] = Gathered(tuple((each,) for each in order))
    after, reads = through_windows(layout, windows, context)
    return Effect(type=operation.name, layout=after, reads=reads)
