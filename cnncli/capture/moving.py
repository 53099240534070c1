"""Windows along single axes of a tensor, which may be axes of the input, pieces of them, or blocks of positions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, product
from math import prod

from cnncli.capture.effect import Context
from cnncli.capture.joining import simplest
from cnncli.capture.layout import Factor, Factors, Layout, Role, UnsupportedOp, free, pieces_of, renumbered
from cnncli.layers.base import Reads
from cnncli.windows import Adaptive, Sliding, Window


@dataclass(frozen=True)
class _Moved:
    """What the units along a piece of an axis read.

    Attributes:
        window: over the whole axis of the tensor.
        positions: for each unit the positions along the piece.
        whole: whether that axis of the tensor is the piece alone.
    """

    window: Window
    positions: tuple[tuple[int, ...], ...]
    whole: bool


def through_windows(
    before: Layout, windows: Mapping[int, Window], context: Context, *, without: Mapping[int, Factors] | None = None
) -> tuple[Layout, Reads]:
    """The layout of an output, and what a unit reads, through windows along some axes of a tensor.

    Args:
        before: the layout of the tensor.
        windows: by the number of an axis of the tensor.
        context: of the values known so far.
        without: other axes of the tensor, with what remains of their factors; a unit reads all that does not.

    Raises:
        UnsupportedOp: an axis merges positions of several axes.
    """
    pieces = pieces_of(chain.from_iterable(before))
    after = list(before)
    moved: dict[int, dict[int, _Moved]] = {}
    for dim, window in windows.items():
        size = prod(factor.size for factor in before[dim])
        factor = _positions(before[dim], pieces)
        if factor is None:
            after[dim] = free(window.output_size(size))
            continue
        assert isinstance(factor.of, int), factor
        inner = prod(each.size for each in before[dim][before[dim].index(factor) + 1 :])
        positions = tuple(
            tuple(sorted({each // inner % factor.size for each in window.reads(unit, size) if 0 <= each < size}))
            for unit in range(window.output_size(size))
        )
        moved.setdefault(factor.of, {})[factor.step] = _Moved(window, positions, whole=size == factor.size)
        after[dim] = (replace(factor, size=len(positions)),)
    left = dict(without or {})
    for dim, factors in left.items():
        after[dim] = factors
    dropped = pieces_of(
        factor for dim, factors in left.items() for factor in before[dim] if factor.of not in (f.of for f in factors)
    )
    result: dict[int, Window] = {}
    for axis, own in pieces.items():
        lost = set(dropped.get(axis, {}))
        if axis in moved or lost:
            result[axis] = _window(own or {1: 1}, moved.get(axis, {}), lost)
    return renumbered(tuple(after)), context.reads(result)


def along_rows(before: Layout, dim: int, window: Window, context: Context) -> tuple[Layout, Reads, bool]:
    """What units read through a window over a flattened map, and their layout, with all of them along its slowest axis.

    Along the other axes a unit counts as one that reads every position, if it is only a part; then it is not exact.

    Raises:
        UnsupportedOp: the axis is not a flattened map.
    """
    grid = [factor for factor in before[dim] if factor.size > 1]
    if any(not isinstance(factor.of, int) or factor.whole for factor in grid):
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    size, inner = prod(factor.size for factor in grid), prod(factor.size for factor in grid[1:])
    rows: list[tuple[int, ...]] = []
    exact = True
    for unit in range(window.output_size(size)):
        inside = [each for each in window.reads(unit, size) if 0 <= each < size]
        exact = exact and len({each % inner for each in inside}) == inner
        rows.append(tuple(sorted({each // inner for each in inside})))
    windows: dict[int, Window] = {factor.of: Adaptive(units=1) for factor in grid[1:] if isinstance(factor.of, int)}
    slowest = grid[0].of
    assert isinstance(slowest, int), grid
    windows[slowest] = simplest(tuple(rows), grid[0].size) or Sliding(kernel=1)
    after = (*before[:dim], (Factor(len(rows), slowest),), *before[dim + 1 :])
    return renumbered(after), context.reads(windows), exact


def _positions(factors: Factors, pieces: Mapping[int, Mapping[int, int]]) -> Factor | None:
    """The factor of an axis of a tensor that counts positions; None if there is none."""
    large = [each for each in factors if each.size > 1 and each.of not in (Role.FREE, Role.BATCH)]
    if len(large) > 1 or any(each.of is Role.TOKENS for each in large):
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    if large:
        return large[0]
    if any(each.size > 1 for each in factors):
        return None
    single = [each for each in factors if isinstance(each.of, int) and not pieces.get(each.of)]
    return single[0] if len(single) == 1 else None


def _window(own: Mapping[int, int], moved: Mapping[int, _Moved], lost: set[int]) -> Window:
    """The window along one axis of the input.

    Args:
        own: its pieces: step -> size.
        moved: what units read along some of these.
        lost: those along which they read every position.
    """
    if not moved and lost == set(own):
        return Adaptive(units=1)
    outermost = max(own)
    only = moved.get(outermost) if len(moved) == 1 else None
    if only is not None and only.whole:
        if len(own) == 1:
            return only.window
        window = only.window
        if (
            lost == set(own) - {outermost}
            and isinstance(window, Sliding)
            and window.dilation == 1
            and window.used is None
        ):
            step = prod(size for each, size in own.items() if each != outermost)
            return replace(
                window,
                kernel=window.kernel * step,
                stride=window.stride * step,
                before=window.before * step,
                after=window.after * step,
            )
    steps = sorted(own, reverse=True)
    reads: list[tuple[int, ...]] = []
    kept = [step for step in steps if step not in lost]
    lengths = [len(moved[step].positions) if step in moved else own[step] for step in kept]
    for unit in product(*map(range, lengths)):
        index = dict(zip(kept, unit, strict=True))
        each_piece = (
            moved[step].positions[index[step]]
            if step in moved
            else (index[step],)
            if step in index
            else range(own[step])
            for step in steps
        )
        reads.append(tuple(sorted(_position(place, own, steps) for place in product(*each_piece))))
    size = prod(own.values())
    return simplest(tuple(reads), size) or Sliding(kernel=1)


def _position(place: tuple[int, ...], own: Mapping[int, int], steps: list[int]) -> int:
    """The position along an axis of its index in each piece, the slowest first."""
    position = 0
    for index, step in zip(place, steps, strict=True):
        position = position * own[step] + index
    return position
