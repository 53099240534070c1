"""Convolutions and pools. A rank is that of the positions: 2 for images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from cnncli.capture.onnx.operators.rearranging import padded
from cnncli.capture.onnx.operators.registry import Spec, Unsupported, check_lengths, operator
from cnncli.capture.record import as_operator
from cnncli.windows import Sliding

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVG_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
T = TypeVar("T")
Pads = list[tuple[int, int]]
"""Positions added before and after, for each axis."""


def windows_of(spec: Spec, sizes: Sequence[int], kernel: Sequence[int]) -> list[Sliding]:
    """The windows of a convolution or a pool along each axis.

    Raises:
        Unsupported: the attributes do not fit.
    """
    rank = len(sizes)
    strides, dilations = list(spec.get("strides", [1] * rank)), list(spec.get("dilations", [1] * rank))
    pads = list(spec.get("pads", [0] * 2 * rank))
    auto, ceil_mode = spec.get("auto_pad", "NOTSET"), bool(spec.get("ceil_mode", 0))
    if not len(kernel) == len(strides) == len(dilations) == len(pads) / 2 == rank:
        raise Unsupported("has attributes for another number of axes")
    if min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise Unsupported("has a kernel, strides or dilations below 1, or negative padding")
    result = []
    for i, (size, k, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        before, after = pads[i], pads[i + rank]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
            before, after = (total // 2, -(-total // 2)) if auto == "SAME_UPPER" else (-(-total // 2), total // 2)
        elif auto == "VALID":
            before, after = 0, 0
        window = Sliding(
            kernel=k,
            stride=stride,
            dilation=dilation,
            before=before,
            after=after,
            ceil_mode=ceil_mode and auto == "NOTSET",
        )
        if window.output_size(size) < 1:
            raise ValueError(f"a kernel of {window.span} does not fit into {size} positions")
        check_lengths([window.output_size(size)], [size])
        result.append(window)
    return result


@operator("Conv", weights=(1, 2))
def convolution(spec: Spec, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolutions of (N, C, positions ...) with any padding."""
    rank = weight.ndim - 2
    if rank not in _CONV:
        raise Unsupported(f"is a convolution along {rank} axes")
    windows = windows_of(spec, x.shape[2:], spec.get("kernel_shape") or weight.shape[2:])
    pads = [(each.before, each.after) for each in windows]
    strides, dilations = [each.stride for each in windows], [each.dilation for each in windows]
    before, after = [first for first, _ in pads], [last for _, last in pads]
    groups = spec.get("group", 1)
    if before == after:
        return _CONV[rank](x, weight, bias, strides, before, dilations, groups)

    def compute() -> Tensor:
        return _CONV[rank](padded(x, [(0, 0), (0, 0), *pads]), weight, bias, strides, 0, dilations, groups)

    arguments: dict[str, Any] = {
        "input": x, "weight": weight, "bias": bias, "stride": strides, "padding": before, "padding_after": after,
        "dilation": dilations, "transposed": False, "output_padding": [0] * rank, "groups": groups,
    }  # fmt: skip
    return as_operator("convolution", arguments, compute)


@operator("ConvTranspose", weights=(1, 2))
def transposed_convolution(spec: Spec, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Transposed convolutions of (N, C, positions ...) with any padding, which crops."""
    rank = weight.ndim - 2
    if rank not in _CONV_TRANSPOSE:
        raise Unsupported(f"is a transposed convolution along {rank} axes")
    kernel = weight.shape[2:]
    strides, dilations = list(spec.get("strides", [1] * rank)), list(spec.get("dilations", [1] * rank))
    extra, groups = list(spec.get("output_padding", [0] * rank)), spec.get("group", 1)
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(x.shape[2:], strides, dilations, kernel, extra, strict=True)
    ]
    check_lengths(full, x.shape)
    pads = _cropped(spec, x.shape[2:], full, strides)
    if spec.get("output_shape"):
        wanted = list(spec.get("output_shape"))[-rank:]
        extra = [e + max(target - size, 0) for e, size, target in zip(extra, full, wanted, strict=True)]
        full = [max(size, target) for size, target in zip(full, wanted, strict=True)]
    before = [first for first, _ in pads]
    inside = all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    if inside and all(first == last for first, last in pads):
        return _CONV_TRANSPOSE[rank](x, weight, bias, strides, before, extra, groups, dilations)

    def whole() -> Tensor:
        # Without padding, and then cropped; `output_padding` must be smaller than a stride or a dilation in torch.
        maps = _CONV_TRANSPOSE[rank](x, weight, bias, strides, 0, 0, groups, dilations)
        missing = [max(size - found, 0) for size, found in zip(full, maps.shape[2:], strict=True)]
        maps = functional.pad(maps, [number for each in reversed(missing) for number in (0, each)])
        index = [slice(first, size - last) for (first, last), size in zip(pads, full, strict=True)]
        return maps[(slice(None), slice(None), *index)]

    # As padding that is the same on both sides, and so much more behind.
    output_padding = [e + first - last for e, (first, last) in zip(extra, pads, strict=True)]
    arguments: dict[str, Any] = {
        "input": x, "weight": weight, "bias": bias, "stride": strides, "padding": before, "dilation": dilations,
        "transposed": True, "output_padding": output_padding, "groups": groups,
    }  # fmt: skip
    return as_operator("convolution", arguments, whole)


def _cropped(spec: Spec, sizes: Sequence[int], full: Sequence[int], strides: Sequence[int]) -> Pads:
    """The positions that a transposed convolution leaves out before and after, along each axis."""
    rank = len(sizes)
    auto, output_shape = spec.get("auto_pad", "NOTSET"), spec.get("output_shape")
    pads = list(spec.get("pads", [0] * 2 * rank))
    wanted: list[int] | None = list(output_shape)[-rank:] if output_shape else None
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if wanted is None:
        return [(0, 0)] * rank if auto == "VALID" else list(zip(pads[:rank], pads[rank:], strict=True))
    result = []
    for size, target in zip(full, wanted, strict=True):
        total = max(size - target, 0)
        half = total // 2
        result.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
    return result


def pool(type: str, x: Tensor, windows: Sequence[Sliding], compute: Callable[[], T]) -> T:
    """A pool that torch has no operator for, as one operator.

    Args:
        type: of the row.
        x: (N, C, positions ...).
        windows: along each axis.
        compute: computes it.
    """
    return as_operator("sliding", {"self": x, "windows": tuple(windows), "type": type}, compute)


def patches(x: Tensor, windows: Sequence[Sliding], filled: float) -> Tensor:
    """The numbers that each unit reads (N, C, units ..., taps), with `filled` outside of the map."""
    for axis, window in enumerate(windows, start=2):
        size = x.shape[axis]
        units = window.output_size(size)
        end = (units - 1) * window.stride - window.before + window.span  # of the last window
        flat = [0, 0] * (x.ndim - 1 - axis) + [window.before, max(end - size, 0)]
        x = functional.pad(x, flat, value=filled)
        index = torch.arange(units)[:, None] * window.stride + torch.arange(window.kernel) * window.dilation
        x = x.index_select(axis, index.flatten().to(x.device)).reshape(
            *x.shape[:axis], units, window.kernel, *x.shape[axis + 1 :]
        )
        x = x.movedim(axis + 1, -1)
    return x.flatten(2 + len(windows))


@operator("MaxPool")
def max_pool(spec: Spec, x: Tensor) -> Any:
    """The largest number in each window; with the indices of a flattened tensor, if they are used."""
    windows = windows_of(spec, x.shape[2:], spec.get("kernel_shape", []))
    rank = len(windows)
    if all(each.before == each.after <= each.kernel // 2 for each in windows) and rank in _MAX_POOL:
        kernel, strides, padding, dilations = _numbers(windows)
        operation: Any = _MAX_POOL[rank]
        return operation(x, kernel, strides, padding, dilations, windows[0].ceil_mode, return_indices=spec.outputs > 1)

    def compute() -> Any:
        low = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        values, places = patches(x, windows, low).max(-1)
        return (values, places) if spec.outputs > 1 else values

    return pool("max_pool", x, windows, compute)


@operator("AveragePool")
def avg_pool(spec: Spec, x: Tensor) -> Tensor:
    """The mean of each window, over what lies inside the map or, with `count_include_pad`, also over its padding."""
    windows = windows_of(spec, x.shape[2:], spec.get("kernel_shape", []))
    rank, with_padding = len(windows), bool(spec.get("count_include_pad", 0))
    plain = all(each.before == each.after <= each.kernel // 2 and each.dilation == 1 for each in windows)
    if plain and rank in _AVG_POOL:
        kernel, strides, padding, _ = _numbers(windows)
        return _AVG_POOL[rank](x, kernel, strides, padding, windows[0].ceil_mode, with_padding)

    def compute() -> Tensor:
        inside = torch.ones_like(x[:1, :1])
        if with_padding:
            flat = [number for each in reversed(windows) for number in (each.before, each.after)]
            inside = functional.pad(inside, flat, value=1)
            bare = [replace(each, before=0, after=0) for each in windows]
            counted = patches(inside, bare, 0).sum(-1)
        else:
            counted = patches(inside, windows, 0).sum(-1)
        return patches(x, windows, 0).sum(-1) / counted

    return pool("avg_pool", x, windows, compute)


@operator("LpPool")
def lp_pool(spec: Spec, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    windows = windows_of(spec, x.shape[2:], spec.get("kernel_shape", []))
    power = spec.get("p", 2)

    def compute() -> Tensor:
        return patches(x.abs().pow(power), windows, 0).sum(-1).pow(1 / power)

    return pool("lp_pool", x, windows, compute)


def _numbers(windows: Sequence[Sliding]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernels, strides, padding and dilations."""
    return (
        [each.kernel for each in windows],
        [each.stride for each in windows],
        [each.before for each in windows],
        [each.dilation for each in windows],
    )


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(spec: Spec, x: Tensor) -> Tensor:
    """One number for each map: its mean, largest number, or p-norm."""
    axes = list(range(2, x.ndim))
    if not axes:
        return torch.clone(x)
    match spec.name:
        case "GlobalAveragePool":
            return as_operator("global_avg_pool", {"self": x}, lambda: x.mean(axes, keepdim=True))
        case "GlobalMaxPool":
            return as_operator("global_max_pool", {"self": x}, lambda: x.amax(axes, keepdim=True))
    norms: Tensor = torch.linalg.vector_norm(x, spec.get("p", 2), axes, keepdim=True)
    return norms


@operator("MaxUnpool", numbers=(2,))
def max_unpool(spec: Spec, x: Tensor, _indices: Tensor, output_shape: Any = None) -> Tensor:
    """Numbers at the places where a max pool found them, which depend on the input."""
    raise Unsupported("puts numbers at places that depend on the input")


@operator("DeformConv", weights=(1, 3))
def deformable_convolution(
    spec: Spec, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """A convolution whose windows are moved by offsets that depend on the input."""
    if weight.ndim != 4:
        raise Unsupported("is a deformable convolution of maps that are not images")
    windows = windows_of(spec, x.shape[2:], spec.get("kernel_shape") or weight.shape[2:])
    if any(each.before != each.after for each in windows):
        raise Unsupported("is a deformable convolution with different padding before and after")
    from torchvision.ops import deform_conv2d

    _, strides, padding, dilations = _numbers(windows)
    maps: Tensor = deform_conv2d(
        x, offset, weight, bias, (strides[0], strides[1]), (padding[0], padding[1]), (dilations[0], dilations[1]), mask
    )
    return maps
