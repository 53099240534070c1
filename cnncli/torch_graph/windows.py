"""Windows that no formula of `geometry` describes, and windows one after another as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from cnncli.geometry import Gathered, Padded, Sliding, Window
from cnncli.spec.layers import Reach
from cnncli.spec.layers.base import Reads, Unknown

SAME = Sliding(kernel=1)


def mixed(there: Mapping[int, int], gone: Mapping[int, int], left: Mapping[int, int]) -> Window:
    """The window of units that each read every position along some pieces of an axis, and their own along the others.

    Args:
        there: the pieces before: positions from one to the next -> how many; `{7: 8, 1: 7}` is 8 windows of 7.
        gone: those along which every position is read.
        left: the pieces after, all of those that are not gone, and of the others those that still tell units apart.
    """
    own = [step for step in there if step not in gone]
    found = {tuple(unit[step] for step in own): list[int]() for unit in _indices(there)}
    for position, unit in enumerate(_indices(there)):
        found[tuple(unit[step] for step in own)].append(position)
    positions = tuple(tuple(found[tuple(unit[step] for step in own)]) for unit in _indices(left))
    together = Sliding(kernel=prod(gone.values()), stride=prod(gone.values()))
    alike = all(tuple(together.reads(unit, 0)) == each for unit, each in enumerate(positions))
    return together if alike and own else Gathered(positions)


def _indices(pieces: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """For each unit along an axis, in order, its index in each piece."""
    steps = sorted(pieces, reverse=True)
    for indices in product(*(range(pieces[step]) for step in steps)):
        yield dict(zip(steps, indices, strict=True))


def measured(operate: Callable[[Tensor], Tensor], size: int, expected: Sequence[Window]) -> Window:
    """The window of an operation along one axis, found by what becomes NaN: (N, 1, size) to (N, 1, units).

    This asks torch itself, whose rounding and borders differ from a formula here and there.

    Args:
        operate: the operation.
        size: positions before it.
        expected: windows that it should have; the first that reads the same is returned.
    """
    probes = torch.zeros(size, 1, size)
    probes[range(size), 0, range(size)] = torch.nan
    touched = operate(probes)[:, 0].isnan()  # (position, unit)
    found = Gathered(tuple(tuple(column.nonzero().flatten().tolist()) for column in touched.T))
    for window in expected:
        units = window.output_size(size)
        if tuple(tuple(window.reads(unit, size)) for unit in range(units)) == found.positions:
            return window
    return found


def reads_of(windows: dict[int, Window], axes: int) -> Reads:
    """What a unit reads, given the windows along those axes of the input on which it is not just its own position."""
    if not windows:
        return Reach.SAME
    return tuple(windows.get(axis, SAME) for axis in range(axes))


def composed(first: Reads, then: Reads) -> Reads | None:
    """What is read through two operations, the second on top of the first; None where no one window says so."""
    if isinstance(first, Unknown) or then is Reach.SAME:
        return first
    if isinstance(then, Unknown) or first is Reach.SAME:
        return then
    if first is Reach.ALL or then is Reach.ALL:
        return Reach.ALL
    assert isinstance(first, tuple), first
    assert isinstance(then, tuple), then
    windows = [_after_padding(a, b) for a, b in zip(first, then, strict=True)]
    known = tuple(window for window in windows if window is not None)
    return known if len(known) == len(windows) else None


def _after_padding(first: Window, then: Window) -> Window | None:
    """A window over positions that were padded with a constant (or, with negative padding, cut off) before."""
    if first == SAME:
        return then
    if then == SAME:
        return first
    if not isinstance(first, Padded) or first.mode != "constant":
        return None
    if not isinstance(then, Sliding) or then.ceil_mode:
        return None
    return Sliding(
        kernel=then.kernel,
        stride=then.stride,
        dilation=then.dilation,
        before=first.before + then.before,
        after=first.after + then.after,
    )
