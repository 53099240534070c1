"""What an operation does to the positions of its input."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from math import prod
from typing import Any

import torch
from torch import Tensor

from cnncli.capture.layout import Factors, Layout, Pieces, UnsupportedOp, pieces_of
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
from cnncli.layers.base import Reads, Unknown
from cnncli.windows import Gathered, Padded, Sliding, Window

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


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one operation does.

    Attributes:
        word: its kind, as in configs where they have it.
        layout: of each output.
        reads: which positions of its inputs a unit reads.
        statistics: whether it also depends on every position, through a mean and a variance alone.
        macs: multiply-accumulates for one image; None where unknown.
        minor: whether it is part of the layer before it rather than a layer, and so gets no row of its own.
        view: whether the numbers stay as they are and only their order or shape changes.
        groups: of a convolution.
    """

    type: str
    layout: Layout
    reads: Reads = Reach.SAME
    statistics: bool = False
    macs: int | None = 0
    minor: bool = False
    view: bool = False
    groups: int = 1


@dataclass(frozen=True)
class Context:
    """What is known when an operation's turn comes.

    Attributes:
        axes: how many axes of positions the input has.
        layouts: of every value so far that depends on the input.
        whole: those of which every number depends on the whole input.
    """

    axes: int
    layouts: dict[Value, Layout] = field(default_factory=dict)
    whole: set[Value] = field(default_factory=set)

    def layout(self, value: object) -> Layout:
        """The layout of a value.

        Raises:
            UnsupportedOp: it does not depend on the input, where only a map of the input makes sense.
        """
        if not isinstance(value, Value) or value not in self.layouts:
            raise UnsupportedOp("takes its kernel, not its map, from the input")
        return self.layouts[value]

    def reads(self, windows: dict[int, Window]) -> Reads:
        """See `reads_of`."""
        return reads_of(windows, self.axes)

    def summed(self, before: Iterable[Layout], after: Layout, over: Iterable[Factors]) -> Reads:
        """What a unit reads that depends on every position along some axes of tensors.

        Args:
            before: layouts of the tensors that are read.
            after: of the result.
            over: those axes.
        """
        there: Pieces = {}
        for layout in before:
            for axis, pieces in pieces_of(chain.from_iterable(layout)).items():
                there[axis] = there.get(axis, {}) | pieces
        given = pieces_of(set(chain.from_iterable(over)))
        gone = {axis: pieces for axis, pieces in given.items() if pieces}
        if not gone:
            # Of a map of one position that is everything as well.
            return Reach.ALL if given and given == there else Reach.SAME
        if gone == {axis: pieces for axis, pieces in there.items() if pieces}:
            return Reach.ALL
        left = pieces_of(chain.from_iterable(after))
        return self.reads({axis: mixed(there[axis], pieces, left.get(axis, {})) for axis, pieces in gone.items()})


Rule = Callable[[Operation, Context], Effect]
"""How one operator, or a family of them, works on positions."""


def numbers(value: Any, count: int) -> tuple[int, ...]:  # noqa: ANN401  as torch takes it: a number or a list
    """One number per axis, where torch takes one for all of them as well."""
    given = [value] if isinstance(value, int) else list(value)
    return tuple(given * count if len(given) == 1 else given)
