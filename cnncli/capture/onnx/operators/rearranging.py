"""Operators that only rearrange numbers: shapes, slices, concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.capture.onnx.file import dtype_of
from cnncli.capture.onnx.operators.registry import Spec, Unsupported, axes_of, check_lengths, ints, operator, scalar

_FAR = 1 << 62


@operator("Reshape", numbers=(1,))
def reshape(spec: Spec, x: Tensor, shape: np.ndarray) -> Tensor:
    """Another shape; 0 keeps a size, -1 is what is left."""
    sizes = ints(shape)
    if not spec.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 and i < x.ndim else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


@operator("Flatten")
def flatten(spec: Spec, x: Tensor) -> Tensor:
    """Two axes: those before `axis`, and the others."""
    axis = spec.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    if axis == 1 and x.ndim > 1:
        return x.flatten(1)
    return x.reshape(prod(x.shape[:axis]), -1)


@operator("Squeeze", numbers=(1,))
def squeeze(spec: Spec, x: Tensor, axes: np.ndarray | None = None) -> Tensor:
    """Without some or all axes of size 1."""
    given = axes_of(spec, axes, x.ndim)
    return x.squeeze() if given is None else x.squeeze(tuple(given))


@operator("Unsqueeze", numbers=(1,))
def unsqueeze(spec: Spec, x: Tensor, axes: np.ndarray | None = None) -> Tensor:
    """Additional axes of size 1."""
    given = ints(axes, spec.get("axes", []))
    for axis in sorted(each % (x.ndim + len(given)) for each in given):
        x = x.unsqueeze(axis)
    return x


@operator("Transpose")
def transpose(spec: Spec, x: Tensor) -> Tensor:
    """Axes in another order, by default reversed."""
    return x.permute(*spec.get("perm", range(x.ndim)[::-1]))


@operator("Concat")
def concat(spec: Spec, *values: Tensor) -> Tensor:
    """Tensors one after the other along an axis."""
    return torch.cat(values, spec.get("axis", 1))


@operator("Split", numbers=(1,))
def split(spec: Spec, x: Tensor, sizes: np.ndarray | None = None) -> tuple[Tensor, ...]:
    """Parts along an axis: of given sizes, or of the same size, of which the last may be smaller."""
    axis = spec.get("axis", 0)
    given = ints(sizes, spec.get("split", []))
    if given:
        return torch.split(x, given, axis)
    return torch.split(x, -(-x.shape[axis] // spec.get("num_outputs", spec.outputs)), axis)


@operator("Slice", numbers=(1, 2, 3, 4))
def cut(
    spec: Spec,
    x: Tensor,
    starts: np.ndarray | None = None,
    ends: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> Tensor:
    """Every n-th position of a range, along some axes."""
    first, last = ints(starts, spec.get("starts", [])), ints(ends, spec.get("ends", []))
    along = axes_of(spec, axes, x.ndim) or list(range(len(first)))
    by = ints(steps, [1] * len(first))
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        size = x.shape[axis]
        begin, stop, _ = slice(start, end if abs(end) < _FAR else None, step).indices(size)
        if step < 0:
            # From the other end, in positive steps.
            x, begin, stop, step = x.flip(axis), size - 1 - begin, size - 1 - stop, -step
        if (begin, stop, step) != (0, size, 1):
            index = [slice(None)] * axis + [slice(begin, max(begin, stop), step)]
            x = x[tuple(index)]
    return x


@operator("Gather", either=(1,))
def gather(spec: Spec, data: Tensor, indices: Tensor | np.ndarray) -> Tensor:
    """Positions along an axis; the result has the axes of the indices in its place."""
    axis = spec.get("axis", 0) % data.ndim
    if isinstance(indices, np.ndarray):
        size = data.shape[axis]
        if indices.ndim == 0:
            return data.select(axis, int(indices) % size)
        index = torch.from_numpy(np.where(indices < 0, indices + size, indices).astype(np.int64).flatten())
        picked = torch.index_select(data, axis, index.to(data.device))
    else:
        if axis == 0 and data.ndim == 2:
            return functional.embedding(indices, data)
        picked = torch.index_select(data, axis, indices.flatten())
    return picked.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


@operator("GatherElements")
def gather_elements(spec: Spec, data: Tensor, indices: Tensor) -> Tensor:
    """Along an axis, the number at a position that is given for each."""
    axis = spec.get("axis", 0)
    return torch.gather(data, axis, torch.remainder(indices.long(), data.shape[axis]))


@operator("Compress", numbers=(1,))
def compress(spec: Spec, x: Tensor, condition: np.ndarray) -> Tensor:
    """The positions along an axis at which a condition is true."""
    axis = spec.get("axis")
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    index = torch.from_numpy(condition.flatten().nonzero()[0].astype(np.int64))
    return torch.index_select(x, axis, index.to(x.device))


@operator("ScatterND", numbers=(1,))
def scatter(spec: Spec, x: Tensor, indices: np.ndarray, updates: Tensor) -> Tensor:
    """Parts of a tensor replaced: here, a range along one axis, whole along the others."""
    rank = indices.shape[-1]
    rows = indices.reshape(-1, rank) % np.array(x.shape[:rank])
    ranges = [(int(column.min()), int(column.max()) + 1) for column in rows.T] if len(rows) else []
    box = [stop - start for start, stop in ranges]
    counts = [np.arange(*each) for each in ranges]
    grid = np.stack(np.meshgrid(*counts, indexing="ij"), -1).reshape(-1, rank) if box else rows
    if spec.get("reduction", "none") != "none" or len(grid) != len(rows) or not (grid == rows).all():
        raise Unsupported("writes to positions that are no range")
    updates = updates.reshape(*box, *x.shape[rank:])
    cut_axes = [axis for axis, size in enumerate(box) if size < x.shape[axis]]
    if not cut_axes:
        return torch.clone(updates)
    if len(cut_axes) > 1:
        raise Unsupported("writes to a part of a map along several axes")
    [axis] = cut_axes
    start, stop = ranges[axis]
    parts = [x.narrow(axis, 0, start), updates, x.narrow(axis, stop, x.shape[axis] - stop)]
    return torch.cat([each for each in parts if each.shape[axis]], axis)


@operator("Expand", numbers=(1,))
def expand(_spec: Spec, x: Tensor, shape: np.ndarray) -> Tensor:
    """Axes of size 1 repeated."""
    return x.expand(np.broadcast_shapes(x.shape, tuple(ints(shape))))


@operator("Tile", numbers=(1,))
def tile(_spec: Spec, x: Tensor, repeats: np.ndarray) -> Tensor:
    """Copies along axes."""
    times = ints(repeats)
    check_lengths((size * each for size, each in zip(x.shape, times, strict=True)), x.shape)
    return x.repeat(times)


@operator("Pad", numbers=(1, 2, 3))
def pad(
    spec: Spec,
    x: Tensor,
    pads: np.ndarray | None = None,
    value: np.ndarray | None = None,
    axes: np.ndarray | None = None,
) -> Tensor:
    """Padding with a number, or with numbers of the tensor; negative padding crops."""
    given = ints(pads, spec.get("pads", []))
    along = axes_of(spec, axes, x.ndim) or list(range(x.ndim))
    before = dict(zip(along, given, strict=False))
    after = dict(zip(along, given[len(along) :], strict=True))
    mode = spec.get("mode", "constant")
    both = [(before.get(axis, 0), after.get(axis, 0)) for axis in range(x.ndim)]
    if not any(map(any, both)):
        return torch.clone(x)
    check_lengths((size + sum(each) for size, each in zip(x.shape, both, strict=True)), x.shape)
    filled = scalar(value, spec.get("value", 0.0))
    return padded(x, both, mode, filled)


_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def padded(x: Tensor, pads: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Tensor:
    """A tensor with positions added before and after, along each axis."""
    first = next(i for i, each in enumerate(pads) if any(each))
    flat = [number for each in reversed(pads[first:]) for number in each]
    if mode == "constant":
        return functional.pad(x, flat, value=value)
    if mode not in _PAD_MODES:
        raise Unsupported(f"pads in the mode {mode}")
    if first > 1:  # of a batch of maps, as torch pads them
        flat += [0, 0] * (first - 2)
        return functional.pad(x, flat, mode=_PAD_MODES[mode])
    raise Unsupported("pads images or channels with numbers of others")


@operator("DepthToSpace")
def depth_to_space(spec: Spec, x: Tensor) -> Tensor:
    """Channels rearranged to blocks of positions; `DCR`: the channels are the fastest."""
    size = spec.get("blocksize")
    if spec.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, size)
    n, c, h, w = x.shape
    blocks = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // size**2, h * size, w * size)


@operator("SpaceToDepth")
def space_to_depth(spec: Spec, x: Tensor) -> Tensor:
    """Blocks of positions rearranged to channels, of which those of the input are the fastest."""
    size = spec.get("blocksize")
    if spec.get("mode", "DCR") == "CRD":
        return functional.pixel_unshuffle(x, size)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * size**2, h // size, w // size)


@operator("Trilu", numbers=(1,))
def triangle(spec: Spec, x: Tensor, diagonal: np.ndarray | None = None) -> Tensor:
    """The part above or below a diagonal of each matrix, and 0."""
    cut_off = torch.triu if spec.get("upper", 1) else torch.tril
    return cut_off(x, scalar(diagonal, 0))


@operator("ConstantOfShape", numbers=(0,))
def filled(spec: Spec, shape: np.ndarray) -> Tensor:
    """The same number everywhere."""
    raise Unsupported(f"makes {prod(ints(shape)):,} numbers")


@operator("EyeLike")
def eye_like(spec: Spec, x: Tensor) -> Tensor:
    """A matrix of the shape of another with 1 on a diagonal, and 0."""
    dtype = dtype_of(spec.get("dtype", 0)) or x.dtype
    rows, columns = x.shape
    ones = np.eye(rows, columns, spec.get("k", 0))
    return torch.from_numpy(ones).to(device=x.device, dtype=dtype)


@operator("Shape")
def shape_of(spec: Spec, x: Tensor) -> np.ndarray:
    """The sizes of the axes."""
    return np.array(x.shape[spec.get("start", 0) : spec.get("end", x.ndim)], dtype=np.int64)


@operator("Size")
def size_of(_spec: Spec, x: Tensor) -> np.ndarray:
    """The number of elements."""
    return np.array(x.numel(), dtype=np.int64)


@operator("Col2Im", numbers=(1, 2))
def fold(spec: Spec, x: Tensor, size: np.ndarray, block: np.ndarray) -> Tensor:
    """Columns (N, C * block, positions) added up where their patches lie."""
    image, kernel = tuple(ints(size)), tuple(ints(block))
    if len(image) != 2:
        raise Unsupported("adds up patches of maps that are not images")
    pads = spec.get("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        raise Unsupported("adds up patches with different padding before and after")
    strides, dilations = spec.get("strides", [1, 1]), spec.get("dilations", [1, 1])
    return functional.fold(x, image, kernel, dilation=dilations, padding=pads[:2], stride=strides)


@operator("SequenceConstruct")
def sequence(_spec: Spec, *values: Tensor) -> list[Tensor]:
    """A list of tensors."""
    return list(values)


@operator("SequenceEmpty")
def empty_sequence(_spec: Spec) -> list[Tensor]:
    """A list without tensors."""
    return []


@operator("SequenceAt", numbers=(1,))
def sequence_at(_spec: Spec, values: list[Tensor], position: np.ndarray) -> Tensor:
    """A tensor of a list."""
    value: Tensor = values[scalar(position)]
    return value


@operator("SequenceLength")
def sequence_length(_spec: Spec, values: list[Tensor]) -> np.ndarray:
    """How many tensors a list has."""
    return np.array(len(values), dtype=np.int64)


@operator("SequenceInsert", numbers=(2,))
def sequence_insert(
    _spec: Spec, values: list[Tensor], value: Tensor, position: np.ndarray | None = None
) -> list[Tensor]:
    """A list with one more tensor, by default at the end."""
    at = scalar(position, len(values))
    return [*values[:at], value, *values[at:]]


@operator("SequenceErase", numbers=(1,))
def sequence_erase(_spec: Spec, values: list[Tensor], position: np.ndarray | None = None) -> list[Tensor]:
    """A list without one of its tensors, by default the last."""
    at = scalar(position, -1) % len(values)
    return [*values[:at], *values[at + 1 :]]


@operator("SplitToSequence", numbers=(1,))
def split_to_sequence(spec: Spec, x: Tensor, sizes: np.ndarray | None = None) -> list[Tensor]:
    """Parts along an axis as a list; by default single positions."""
    axis = spec.get("axis", 0)
    if sizes is None:
        parts = torch.split(x, 1, axis)
        return list(parts) if spec.get("keepdims", 1) else [part.squeeze(axis) for part in parts]
    given: Any = scalar(sizes) if sizes.ndim == 0 else ints(sizes)
    return list(torch.split(x, given, axis))


@operator("ConcatFromSequence")
def concat_sequence(spec: Spec, values: list[Tensor]) -> Tensor:
    """The tensors of a list one after the other, along an axis or along a new one."""
    axis = spec.get("axis", 0)
    return torch.stack(values, axis) if spec.get("new_axis", 0) else torch.cat(values, axis)
