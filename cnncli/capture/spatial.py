"""Rules for operators that slide, pad or resample along the positions of a map (N, C, positions ...)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
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
    batch_size,
    free,
    has_batch,
    input_axis,
    units,
)
from cnncli.capture.record import Operation, Value
from cnncli.windows import Adaptive, Gathered, Padded, Resampled, Sliding, Transposed, Window
from cnncli.windows.window import Interpolation


def _slide(operation: Operation, context: Context, type: str, window: Callable[[int, int], Window]) -> Effect:
    """The effect of an operation that applies `window(i, size)` to the i-th spatial axis of its input."""
    layout, shape = context.layout(operation.inputs[0]), operation.outputs[0].shape
    count = len(shape) - 2
    result: list[Factors] = list(layout)
    windows: dict[int, Window] = {}
    mixes = type in ("conv", "conv_transpose") and operation.arguments["groups"] == 1
    blocks = _blocks(layout, count) if mixes else {}
    if blocks:
        layout = (layout[0], free(operation.inputs[0].shape[1]), *layout[2:])
    if layout[1:2] and input_axis(layout[1]) is not None:
        raise UnsupportedOp("slides over an axis that is not an axis of the input")
    result[1] = free(shape[1])
    for i in range(count):
        large = [factor for factor in layout[2 + i] if factor.size > 1]
        if len(large) > 1 and window(i, 1) == SAME:  # at each of the positions that are merged
            result[2 + i] = layout[2 + i]
            continue
        regrouped = (*blocks[i], 1) if i in blocks else _merged(layout[2 + i])
        if regrouped is not None:
            of, step, repeats = regrouped
            size = operation.inputs[0].shape[2 + i]
            windows[of] = _regrouped(window(i, size), size, step, repeats)
            result[2 + i] = (Factor(shape[2 + i], of),)
            continue
        axis = input_axis(layout[2 + i])
        lost = all(factor.size == 1 for factor in layout[2 + i]) and i not in units(layout)
        if axis is None and lost and count == context.axes:
            axis = i  # a single position, whose axis was lost in a pool, is identified by its place
        if axis is None:
            result[2 + i] = free(shape[2 + i])
            continue
        size = units(layout).get(axis, 1)
        windows[axis] = window(i, size)
        assert windows[axis].output_size(size) == shape[2 + i], f"{operation.name}: {windows[axis]} over {size}"
        result[2 + i] = (Factor(shape[2 + i], axis),)
    return Effect(type=type, layout=tuple(result), reads=context.reads(windows))


def _blocks(layout: Layout, count: int) -> dict[int, tuple[int, int]]:
    """Space to depth: spatial dimensions that count blocks of positions, whose insides are among the channels.

    Returns:
        Dimension -> the axis of the input and the positions in a block; empty unless that describes all channels.
    """
    inside: dict[int, int] = {}
    for factor in layout[1]:
        if isinstance(factor.of, int):
            inside[factor.of] = inside.get(factor.of, 1) * factor.size
        elif factor.of is not Role.FREE:
            return {}
    blocks: dict[int, tuple[int, int]] = {}
    for i in range(count):
        large = [factor for factor in layout[2 + i] if factor.size > 1]
        if len(large) == 1 and isinstance(large[0].of, int) and large[0].whole == large[0].size * large[0].step:
            if inside.pop(large[0].of, 1) != large[0].step:
                return {}
            blocks[i] = (large[0].of, large[0].step)
    return {} if any(size > 1 for size in inside.values()) else blocks


def _merged(factors: Factors) -> tuple[int, int, int] | None:
    """Depth to space, or repeated positions: an axis of the input, 1, and how often each position occurs; else None."""
    large = [factor for factor in factors if factor.size > 1]
    if len(large) < 2 or not isinstance(large[0].of, int) or large[0].whole:
        return None
    if any(factor.of is not Role.FREE for factor in large[1:]):
        return None
    return large[0].of, 1, prod(factor.size for factor in large[1:])


def _regrouped(window: Window, size: int, step: int, repeats: int) -> Window:
    """A window over `size` blocks of `step` positions, or over positions that each occur `repeats` times."""
    if isinstance(window, Sliding) and repeats == 1 and window.dilation == 1 and window.used is None:
        return replace(
            window,
            kernel=window.kernel * step,
            stride=window.stride * step,
            before=window.before * step,
            after=window.after * step,
        )
    reads = []
    for unit in range(window.output_size(size)):
        inside = [each for each in window.reads(unit, size) if 0 <= each < size]
        reads.append(tuple(sorted({each // repeats * step + j for each in inside for j in range(step)})))
    return Gathered(tuple(reads))


def convolution(operation: Operation, context: Context) -> Effect:
    """Convolutions with any number of axes, transposed or not."""
    a = operation.arguments
    weight = a["weight"]
    context.layout(a["input"])  # raises if only the kernel depends on the input
    if weight.dynamic:
        raise UnsupportedOp("its kernel depends on the input")
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
    effect = _slide(operation, context, "conv_transpose" if a["transposed"] else "conv", window)
    layout = context.layout(a["input"])
    macs = conv_macs(operation, batch_size(layout)) if has_batch(layout) else None
    effect = replace(effect, macs=macs, groups=a["groups"])
    if operation.zeros is None:
        return effect
    counts = [size if each is None else len(each) for each, size in zip(used, kernel, strict=True)]
    read = int((~operation.zeros).sum())
    note = f"at {prod(kernel) - read} of the {prod(kernel)} positions of its kernel all weights are 0, by a mask"
    return replace(effect, zeros=operation.zeros, upper_bound=read < prod(counts), note=note)


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
    before, after = context.layout(a["self"]), operation.outputs[0].shape
    pads = [(0, 0)] * (len(after) - len(a["pad"]) // 2) + list(zip(a["pad"][::2], a["pad"][1::2], strict=True))[::-1]
    result, windows = list(before), dict[int, Window]()
    for i, (first, last) in enumerate(pads):
        if (first, last) == (0, 0):
            continue
        axis = input_axis(before[i])
        if axis is None:
            result[i] = free(after[i])
        else:
            windows[axis] = Padded(before=first, after=last)
            result[i] = (Factor(after[i], axis),)
    return Effect(type="pad", layout=tuple(result), reads=context.reads(windows))


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
    windows: dict[int, Window] = {}
    for dim, shift in zip(dims, shifts, strict=True):
        axis = input_axis(layout[dim])
        if axis is not None:
            size = value.shape[dim]
            order = [(i - shift) % size for i in range(size)] if "shifts" in a else range(size)[::-1]
            windows[axis] = Gathered(tuple((each,) for each in order))
    if not dims and a.get("shifts"):
        raise UnsupportedOp("rolls a flattened map")
    return Effect(type=operation.name, layout=layout, reads=context.reads(windows))
