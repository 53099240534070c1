"""Which part of a tensor a view of it is."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Region:
    """A part of a tensor, as an index of slices and numbers selects it.

    Attributes:
        ranges: along each axis of the tensor the positions in the part.
        axes: the axis of the part for each axis of the tensor; None where a single position was selected.
    """

    ranges: tuple[range, ...]
    axes: tuple[int | None, ...]


def region_of(part: Tensor, whole: Tensor) -> Region | None:
    """The part of `whole` that a tensor in its memory is; None if no slices of its axes are."""
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    steps = [int(whole.stride(axis)) for axis in range(whole.ndim)]
    order = sorted(range(whole.ndim), key=lambda axis: (-steps[axis], whole.shape[axis] == 1))
    ranges: dict[int, range] = {}
    axes: dict[int, int | None] = {}
    rest = list(range(part.ndim))
    for axis in order:
        step, size = steps[axis], whole.shape[axis]
        start, offset = divmod(offset, step) if step and size > 1 else (0, offset)
        own = next((each for each in rest if _lies_along(part, each, step, size, start)), None)
        if own is None:
            ranges[axis], axes[axis] = range(start, start + 1), None
        else:
            count, stride = part.shape[own], part.stride(own) // step if part.shape[own] > 1 else 1
            ranges[axis], axes[axis] = range(start, start + (count - 1) * stride + 1, stride), own
            rest.remove(own)
        if not 0 <= start < size:
            return None
    if offset or any(part.shape[each] > 1 for each in rest):
        return None
    found = range(whole.ndim)
    return Region(tuple(ranges[axis] for axis in found), tuple(axes[axis] for axis in found))


def _lies_along(part: Tensor, axis: int, step: int, size: int, start: int) -> bool:
    """Whether an axis of the part is an axis with this step and size of the whole, from a start."""
    count, stride = part.shape[axis], part.stride(axis)
    if count == 1:
        return size == 1 or stride == step
    return step > 0 and stride % step == 0 and start + (count - 1) * (stride // step) < size
