"""The effect of one operation: the layout of its output, and which positions of its input a unit reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one operation.

    Attributes:
        type: as in configs; as in ATen if configs have no such type.
        layout: of each output.
        reads: which positions of its inputs a unit reads.
        statistics: whether it also depends on every position, through a mean and a variance only.
        macs: multiply-accumulates for one image; None if unknown.
        minor: whether it belongs to the layer before it, so that it has no separate row.
        view: whether it only rearranges numbers.
        groups: of a convolution.
        by_constant: whether it multiplies or divides by a constant, so that its gradient needs no input.
        instead: what a unit of its layer reads, because it hides a part from it; None: what it did before.
        zeros: the known zeros that `reads` or `instead` leave out, as `spread_nan` takes them.
        placed: what a unit reads of each input, if their positions differ: concatenated along them, or pooled keys.
        upper_bound: see `GraphNode`.
        saved_bytes: see `Part`; for one image.
        note: what a reader should know.
    """

    type: str
    layout: Layout
    reads: Reads = Reach.SAME
    statistics: bool = False
    macs: int | None = 0
    minor: bool = False
    view: bool = False
    groups: int = 1
    by_constant: bool = False
    instead: Reads | None = None
    zeros: Tensor | None = None
    placed: tuple[tuple[Value, Reads], ...] = ()
    upper_bound: bool = False
    saved_bytes: int = 0
    note: str = ""


@dataclass(frozen=True)
class Scores:
    """The scores of positions with positions in an attention, by which one of them reads the others.

    Attributes:
        keys: the positions that are read, which the last axis of the scores counts.
        visible: bool (rows, keys): which keys a row reads; None: all.
    """

    keys: Factors
    visible: Tensor | None = None


@dataclass(frozen=True)
class Context:
    """The values known so far.

    Attributes:
        axes: the number of axes of positions of the input.
        layouts: of every value that depends on the input.
        complete: the values whose every number depends on the whole input.
        scores: values whose last two axes are positions and the positions that they read.
    """

    axes: int
    layouts: dict[Value, Layout] = field(default_factory=dict)
    complete: set[Value] = field(default_factory=set)
    scores: dict[Value, Scores] = field(default_factory=dict)

    def layout(self, value: object) -> Layout:
        """The layout of a value.

        Raises:
            UnsupportedOp: it does not depend on the input.
        """
        if not isinstance(value, Value) or value not in self.layouts:
            raise UnsupportedOp("takes its kernel, not its map, from the input")
        return self.layouts[value]

    def reads(self, windows: dict[int, Window]) -> Reads:
        """What a unit reads, given its windows along the axes where it reads more than its own position."""
        if not windows:
            return Reach.SAME
        return tuple(windows.get(axis, SAME) for axis in range(self.axes))

    def reads_along(self, before: Iterable[Layout], after: Layout, over: Iterable[Factors]) -> Reads:
        """What a unit reads that depends on every position along some axes of its inputs.

        Args:
            before: layouts of the inputs.
            after: layout of the output.
            over: those axes.
        """
        all_pieces: Pieces = {}
        for layout in before:
            for axis, pieces in pieces_of(chain.from_iterable(layout)).items():
                all_pieces[axis] = all_pieces.get(axis, {}) | pieces
        reduced = pieces_of(set(chain.from_iterable(over)))
        reduced_large = {axis: pieces for axis, pieces in reduced.items() if pieces}
        if not reduced_large:
            # On a map of a single position that is the whole map as well.
            return Reach.ALL if reduced and reduced == all_pieces else Reach.SAME
        if reduced_large == {axis: pieces for axis, pieces in all_pieces.items() if pieces}:
            return Reach.ALL
        left = pieces_of(chain.from_iterable(after))
        return self.reads({
            axis: _window_over(all_pieces[axis], pieces, left.get(axis, {})) for axis, pieces in reduced_large.items()
        })  # fmt: skip


Rule = Callable[[Operation, Context], Effect]
"""Determines the effect of an operator."""


def _window_over(before: Mapping[int, int], reduced: Mapping[int, int], after: Mapping[int, int]) -> Window:
    """The window of units that read every position along some pieces of an axis, and only their own along the others.

    Args:
        before: the pieces of the input: step -> size; `{7: 8, 1: 7}` is 8 windows of 7.
        reduced: the pieces along which every position is read.
        after: the pieces of the output.
    """
    own = [step for step in before if step not in reduced]
    read: dict[tuple[int, ...], list[int]] = {}
    for position, index in enumerate(_indices(before)):
        read.setdefault(tuple(index[step] for step in own), []).append(position)
    positions = tuple(tuple(read[tuple(index[step] for step in own)]) for index in _indices(after))
    size = prod(reduced.values())
    sliding = Sliding(kernel=size, stride=size)
    if own and all(tuple(sliding.reads(unit, 0)) == each for unit, each in enumerate(positions)):
        return sliding
    return Gathered(positions)


def _indices(pieces: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """For each unit along an axis, in order, its index in each piece."""
    steps = sorted(pieces, reverse=True)
    for indices in product(*(range(pieces[step]) for step in steps)):
        yield dict(zip(steps, indices, strict=True))


def probe_window(operate: Callable[[Tensor], Tensor], size: int, expected: Sequence[Window]) -> Window:
    """The window of a linear operation along one axis, by its own weights: with torch's rounding and borders.

    Args:
        operate: the operation, (N, 1, size) to (N, 1, units).
        size: positions before it.
        expected: likely windows; the first one that reads the same positions is returned.
    """
    return window_of_weights(operate(torch.eye(size)[:, None])[:, 0], size, expected)


def window_of_weights(weights: Tensor, size: int, expected: Sequence[Window]) -> Window:
    """The window of a linear operation along one axis, given its weights (position, unit); see `probe_window`."""
    reached = weights != 0
    actual = Gathered(tuple(tuple(column.nonzero().flatten().tolist()) for column in reached.T))
    for window in expected:
        units = window.output_size(size)
        if tuple(tuple(window.reads(unit, size)) for unit in range(units)) == actual.positions:
            return window
    return actual


def compose(first: Reads, then: Reads) -> Reads | None:
    """What a unit reads through two operations, `then` after `first`; None if no single window describes it."""
    if isinstance(first, Unknown) or then is Reach.SAME:
        return first
    if isinstance(then, Unknown) or first is Reach.SAME:
        return then
    if first is Reach.ALL or then is Reach.ALL:
        return Reach.ALL
    assert isinstance(first, tuple), first
    assert isinstance(then, tuple), then
    windows = [_compose_windows(a, b) for a, b in zip(first, then, strict=True)]
    known = tuple(window for window in windows if window is not None)
    return known if len(known) == len(windows) else None


def _compose_windows(first: Window, then: Window) -> Window | None:
    """A window after constant padding (or cropping, which is negative padding) as one window."""
    if first == SAME:
        return then
    if then == SAME:
        return first
    if not isinstance(first, Padded) or first.mode != "constant":
        return None
    if not isinstance(then, Sliding) or then.ceil_mode:
        return None
    return replace(then, before=first.before + then.before, after=first.after + then.after)


def per_axis(value: Any, count: int) -> tuple[int, ...]:
    """One number per axis, from an argument that may be a single number for all axes."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * count if len(values) == 1 else values)
