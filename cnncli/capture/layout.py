"""Where the positions of the input went: what each axis of a tensor stands for.

Each axis is a row of *factors*, the slowest first. An image batch (N, C, H, W) has one factor per axis; flattened to
(N, C * H * W) its second axis has the three factors C, H, W; as tokens (N, H * W, C) two. Cut into windows of 7, an
axis of 56 is two factors: 8 windows, 7 positions apart, and the 7 positions in each. Together again they are one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from math import prod


class UnsupportedOp(Exception):  # noqa: N818  not an error: the reason stands in the row
    """What an operation reads cannot be said; the message says why."""


class Kind(Enum):
    """What a factor counts, where it is not the positions of an axis of the input."""

    BATCH = "images"
    FREE = "channels, features, heads"
    TOKENS = "positions of several axes in one, with tokens besides that have none"


@dataclass(frozen=True)
class Factor:
    """What an axis of a tensor, or a part of it, counts.

    Attributes:
        size: how many steps it has.
        of: the axis of the input, by its number, or a kind.
        grid: the axes among tokens.
        before: tokens before these.
        step: positions of its axis from one to the next.
        whole: the size of the axis that it is a piece of; 0 if it is all of it.
    """

    size: int
    of: int | Kind
    grid: tuple["Factor", ...] = ()
    before: int = 0
    step: int = 1
    whole: int = 0

    @property
    def pieces(self) -> "Pieces":
        """The pieces of axes of the input that it is."""
        if isinstance(self.of, int):
            return {self.of: {self.step: self.size}}
        return pieces_of(self.grid)


Pieces = dict[int, dict[int, int]]
"""Axis of the input -> its pieces of more than one position: positions from one to the next -> how many there are."""
Factors = tuple[Factor, ...]
Layout = tuple[Factors, ...]


def free(size: int) -> Factors:
    """An axis of `size` that no position of the input belongs to."""
    return (Factor(size, Kind.FREE),)


def of_input(shape: Sequence[int]) -> Layout:
    """The layout of the input itself: (N, C, positions ...)."""
    positions = [(Factor(size, axis),) for axis, size in enumerate(shape[2:])]
    return ((Factor(shape[0], Kind.BATCH),), free(shape[1]), *positions)


def pieces_of(factors: Iterable[Factor]) -> Pieces:
    """The pieces of axes of the input along some axes of a tensor.

    Raises:
        UnsupportedOp: a piece is there twice, or two overlap.
    """
    found: Pieces = {}
    for factor in factors:
        for axis, pieces in factor.pieces.items():
            for step, size in pieces.items():
                there = found.setdefault(axis, {})
                if size > 1 and any(step < other * most and other < step * size for other, most in there.items()):
                    raise UnsupportedOp(f"axis {axis} of the input would be there twice")
                if size > 1:
                    there[step] = size
    return found


def units(layout: Layout) -> dict[int, int]:
    """Axis of the input -> how many units a tensor has along it; an axis that is not there has been summed up."""
    return {axis: prod(pieces.values()) for axis, pieces in pieces_of(chain.from_iterable(layout)).items()}


def axes_of(factors: Iterable[Factor]) -> dict[int, int]:
    """The axes of the input along one axis of a tensor, with their sizes, where these are more than 1."""
    return {axis: prod(pieces.values()) for axis, pieces in pieces_of(factors).items() if pieces}


def position(factors: Factors) -> int | None:
    """The axis of the input that an axis of a tensor is, or None where it is none.

    Raises:
        UnsupportedOp: it is one among several factors.
    """
    if not axes_of(factors):
        only = [factor.of for factor in factors if isinstance(factor.of, int)]
        return only[0] if len(only) == 1 else None
    large = [factor for factor in factors if factor.size > 1]
    if len(large) > 1 or large[0].of is Kind.TOKENS:
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    if large[0].whole:
        raise UnsupportedOp("works on a part of an axis that a reshape has cut into pieces")
    assert isinstance(large[0].of, int)
    return large[0].of


def has_batch(layout: Layout) -> bool:
    """Whether a tensor still has its images one beside the other, along some axis."""
    return any(factor.of is Kind.BATCH for factors in layout for factor in factors)


def without_batch(shape: Sequence[int], layout: Layout) -> tuple[int, ...] | None:
    """A shape for one image; None where images have been mixed with something else."""
    if not has_batch(layout):
        return None
    sizes = []
    for size, factors in zip(shape, layout, strict=True):
        batch = [factor for factor in factors if factor.of is Kind.BATCH]
        if not batch:
            sizes.append(size)
        elif size > batch[0].size:
            sizes.append(size // batch[0].size)
    return tuple(sizes)


def batch_size(layout: Layout) -> int:
    """How many images a tensor holds."""
    return prod(factor.size for factors in layout for factor in factors if factor.of is Kind.BATCH)


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout after a view of another shape.

    Raises:
        UnsupportedOp: it cuts batch and positions in ways that no factors say.
    """
    rest = _coalesced([factor for factors in layout for factor in factors])[::-1]
    groups: list[Factors] = []
    for size in shape:
        group: list[Factor] = []
        missing = size
        while missing > 1:
            if not rest:
                raise UnsupportedOp("reshapes in a way that is not followed")
            factor = rest.pop()
            if missing % factor.size:
                outer, inner = _cut(factor, missing)
                rest.append(inner)
                factor = outer
            group.append(factor)
            missing //= factor.size
        if size == 1 and rest and rest[-1].size == 1:
            group.append(rest.pop())
        groups.append(tuple(group))
    if groups:
        groups[-1] += tuple(reversed(rest))  # of size 1 all of them
    return tuple(groups)


def _coalesced(factors: Iterable[Factor]) -> list[Factor]:
    """Neighbors of no position as one, so that they can be cut elsewhere, and pieces of an axis put together again."""
    done: list[Factor] = []
    for factor in factors:
        outer = done[-1] if done else None
        if outer is not None and outer.whole and outer.of == factor.of and outer.step == factor.size * factor.step:
            size, whole = outer.size * factor.size, outer.whole
            done[-1] = replace(factor, size=size, whole=0 if size == whole else whole)
            continue
        if factor.of is Kind.FREE and (factor.size == 1 or (done and done[-1].of is Kind.FREE)):
            if factor.size > 1:
                done[-1] = Factor(done[-1].size * factor.size, Kind.FREE)
        else:
            done.append(factor)
    return done


def _cut(factor: Factor, outer: int) -> tuple[Factor, Factor]:
    inner = factor.size // outer
    if factor.size % outer or factor.of in (Kind.BATCH, Kind.TOKENS):
        what = f"axis {factor.of} of the input" if isinstance(factor.of, int) else factor.of.value
        raise UnsupportedOp(f"a reshape cuts {what} into pieces")
    if factor.of is Kind.FREE:
        return Factor(outer, Kind.FREE), Factor(inner, Kind.FREE)
    whole = factor.whole or factor.size
    outside = replace(factor, size=outer, step=factor.step * inner, whole=whole)
    return outside, replace(factor, size=inner, whole=whole)


def merged(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
    """The layout of what number-by-number operations make of tensors that are broadcast to `shape`.

    Raises:
        UnsupportedOp: positions of one input would meet other positions of another.
    """
    result: list[Factors] = []
    for axis in range(-len(shape), 0):
        here = [layout[axis] for layout in layouts if len(layout) >= -axis]
        places = [factors for factors in here if axes_of(factors)]
        if len({tuple(f for f in factors if f.size > 1) for factors in places}) > 1:
            raise UnsupportedOp("combines maps whose axes do not correspond")
        size = shape[axis]
        full = [factors for factors in here if prod(f.size for f in factors) == size]
        result.append(places[0] if places else fullest(full) if full else free(size))
    units(tuple(result))
    return tuple(result)


def fullest(candidates: Sequence[Factors]) -> Factors:
    """The one that says most: batch before channels, an axis of size 1 before none."""
    return max(candidates, key=lambda factors: sum(factor.of is not Kind.FREE for factor in factors))
