"""Layouts: what each axis of a tensor counts, in terms of the axes of the input.

Each axis of a tensor is a sequence of *factors*, the slowest first. In an image batch (N, C, H, W) every axis is one
factor; flattened to (N, C * H * W) the second axis has the three factors C, H, W; as tokens (N, H * W, C) it has two.
An axis of 56 cut into windows of 7 is two factors: 8 windows, whose positions are 7 apart, and the 7 positions in each.
Joined again they are one factor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from math import prod


class UnsupportedOp(Exception):  # noqa: N818  not an error: the row shows the reason
    """An operation whose reads are unknown; the message gives the reason."""


class Role(Enum):
    """What a factor counts if not positions along one axis of the input."""

    BATCH = "images"
    FREE = "channels, features, heads"
    TOKENS = "positions along several axes, together with tokens that have no position"


@dataclass(frozen=True)
class Factor:
    """What an axis of a tensor, or a part of it, counts.

    Attributes:
        size: its length.
        of: the number of an axis of the input, or a role.
        grid: the factors of the tokens that have a position.
        before: the number of tokens before these.
        aware: whether the other tokens depend on the whole input, before any operation reads tokens of other positions.
        step: the distance between neighbors, in positions along the axis of the input.
        whole: the size of the axis that it is a piece of; 0 if it is the whole axis.
    """

    size: int
    of: int | Role
    grid: tuple["Factor", ...] = ()
    before: int = 0
    aware: bool = False
    step: int = 1
    whole: int = 0

    @property
    def pieces(self) -> "Pieces":
        """The pieces of axes of the input that it consists of."""
        if isinstance(self.of, int):
            return {self.of: {self.step: self.size}}
        return pieces_of(self.grid)


Pieces = dict[int, dict[int, int]]
"""Axis of the input -> its pieces of more than one position: step -> size."""
Factors = tuple[Factor, ...]
Layout = tuple[Factors, ...]


def free(size: int) -> Factors:
    """An axis without positions."""
    return (Factor(size, Role.FREE),)


def layout_of_input(shape: Sequence[int]) -> Layout:
    """The layout of the input: (N, C, positions ...)."""
    positions = [(Factor(size, axis),) for axis, size in enumerate(shape[2:])]
    return ((Factor(shape[0], Role.BATCH),), free(shape[1]), *positions)


def pieces_of(factors: Iterable[Factor]) -> Pieces:
    """The pieces of axes of the input among some factors.

    Raises:
        UnsupportedOp: a piece occurs twice, or two pieces overlap.
    """
    result: Pieces = {}
    for factor in factors:
        for axis, pieces in factor.pieces.items():
            for step, size in pieces.items():
                others = result.setdefault(axis, {})
                if size > 1 and any(step < other * length and other < step * size for other, length in others.items()):
                    raise UnsupportedOp(f"axis {axis} of the input would occur twice")
                if size > 1:
                    others[step] = size
    return result


def canonical(layout: Layout) -> Layout:
    """The layout with the pieces of each axis numbered without gaps, where others have been reduced.

    Raises:
        UnsupportedOp: a piece occurs twice, or two pieces overlap.
    """
    pieces_of(chain.from_iterable(layout))
    return renumbered(layout)


def renumbered(layout: Layout) -> Layout:
    """The layout with steps that follow from the order of pieces by step, and their sizes."""
    sizes: dict[int, dict[int, int]] = {}
    for factor in chain.from_iterable(layout):
        for each in factor.grid or (factor,):
            if isinstance(each.of, int) and each.size > 1:
                sizes.setdefault(each.of, {})[each.step] = each.size
    steps: dict[tuple[int, int], tuple[int, int]] = {}
    for axis, found in sizes.items():
        step, whole = 1, prod(found.values()) if len(found) > 1 else 0
        for old in sorted(found):
            steps[axis, old] = step, whole
            step *= found[old]

    def with_step(factor: Factor) -> Factor:
        if factor.grid:
            return replace(factor, grid=tuple(map(with_step, factor.grid)))
        if not isinstance(factor.of, int):
            return factor
        step, whole = steps[factor.of, factor.step] if factor.size > 1 else (1, 0)
        return factor if (factor.step, factor.whole) == (step, whole) else replace(factor, step=step, whole=whole)

    return tuple(tuple(map(with_step, factors)) for factors in layout)


def units(layout: Layout) -> dict[int, int]:
    """Axis of the input -> the number of units a tensor has along it. Axes that were reduced are missing."""
    return {axis: prod(pieces.values()) for axis, pieces in pieces_of(chain.from_iterable(layout)).items()}


def axes_of(factors: Iterable[Factor]) -> dict[int, int]:
    """The axes of the input, with their sizes, among some factors; only those of more than one position."""
    return {axis: prod(pieces.values()) for axis, pieces in pieces_of(factors).items() if pieces}


def input_axis(factors: Factors) -> int | None:
    """The axis of the input that an axis of a tensor represents, or None.

    Raises:
        UnsupportedOp: the axis is merged with others, or cut into pieces.
    """
    if not axes_of(factors):
        axes = [factor.of for factor in factors if isinstance(factor.of, int)]
        return axes[0] if len(axes) == 1 else None
    large = [factor for factor in factors if factor.size > 1]
    if len(large) > 1 or large[0].of is Role.TOKENS:
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    if large[0].whole:
        raise UnsupportedOp("works on a part of an axis that a reshape has cut into pieces")
    assert isinstance(large[0].of, int)
    return large[0].of


def has_batch(layout: Layout) -> bool:
    """Whether a tensor still holds the images of the batch separately."""
    return any(factor.of is Role.BATCH for factors in layout for factor in factors)


def without_batch(shape: Sequence[int], layout: Layout) -> tuple[int, ...] | None:
    """The shape for one image; None if the images have been mixed."""
    if not has_batch(layout):
        return None
    sizes = []
    for size, factors in zip(shape, layout, strict=True):
        batch = [factor for factor in factors if factor.of is Role.BATCH]
        if not batch:
            sizes.append(size)
        elif size > batch[0].size:
            sizes.append(size // batch[0].size)
    return tuple(sizes)


def batch_size(layout: Layout) -> int:
    """The number of images in a tensor."""
    return prod(factor.size for factors in layout for factor in factors if factor.of is Role.BATCH)


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout after a reshape.

    Raises:
        UnsupportedOp: no factors describe the result.
    """
    rest = _merge_neighbors([factor for factors in layout for factor in factors])[::-1]
    result: list[Factors] = []
    for size in shape:
        group: list[Factor] = []
        missing = size
        while missing > 1:
            if not rest:
                raise UnsupportedOp("the reshape is not supported")
            factor = rest.pop()
            if missing % factor.size:
                factor, inner = _cut(factor, missing)
                rest.append(inner)
            group.append(factor)
            missing //= factor.size
        if size == 1 and rest and rest[-1].size == 1:
            group.append(rest.pop())
        result.append(tuple(group))
    if result:
        result[-1] += tuple(reversed(rest))  # all of size 1
    return tuple(result)


def _merge_neighbors(factors: Iterable[Factor]) -> list[Factor]:
    """Join neighboring free factors, which may be cut elsewhere, and neighboring pieces of one axis."""
    result: list[Factor] = []
    for factor in factors:
        outer = result[-1] if result else None
        if outer is not None and outer.whole and outer.of == factor.of and outer.step == factor.size * factor.step:
            size, whole = outer.size * factor.size, outer.whole
            result[-1] = replace(factor, size=size, whole=0 if size == whole else whole)
        elif factor.of is not Role.FREE or (factor.size > 1 and not (outer and outer.of is Role.FREE)):
            result.append(factor)
        elif factor.size > 1:
            assert outer is not None
            result[-1] = Factor(outer.size * factor.size, Role.FREE)
    return result


def _cut(factor: Factor, outer: int) -> tuple[Factor, Factor]:
    """A factor as two, the first of size `outer`."""
    inner = factor.size // outer
    if factor.size % outer or factor.of in (Role.BATCH, Role.TOKENS):
        what = f"axis {factor.of} of the input" if isinstance(factor.of, int) else factor.of.value
        raise UnsupportedOp(f"a reshape cuts {what} into pieces")
    if factor.of is Role.FREE:
        return Factor(outer, Role.FREE), Factor(inner, Role.FREE)
    whole = factor.whole or factor.size
    outside = replace(factor, size=outer, step=factor.step * inner, whole=whole)
    return outside, replace(factor, size=inner, whole=whole)


def broadcast(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
    """The layout of an elementwise operation's result, for tensors that are broadcast to `shape`.

    Raises:
        UnsupportedOp: positions of one tensor would be combined with other positions of another.
    """
    if not corresponds(layouts):
        raise UnsupportedOp("combines maps whose axes do not correspond")
    result: list[Factors] = []
    for axis in range(-len(shape), 0):
        here = [layout[axis] for layout in layouts if len(layout) >= -axis]
        positions = [factors for factors in here if axes_of(factors)]
        size = shape[axis]
        full = [factors for factors in here if prod(f.size for f in factors) == size]
        result.append(positions[0] if positions else most_specific(full) if full else free(size))
    units(tuple(result))  # raises if an axis occurs twice
    return tuple(result)


def corresponds(layouts: Sequence[Layout]) -> bool:
    """Whether the axes of tensors that are broadcast count the same positions where they count any."""
    for axis in range(-max(map(len, layouts)), 0):
        here = [layout[axis] for layout in layouts if len(layout) >= -axis]
        if len({tuple(f for f in factors if f.size > 1) for factors in here if axes_of(factors)}) > 1:
            return False
    return True


def most_specific(candidates: Sequence[Factors]) -> Factors:
    """The candidate with the fewest free factors."""
    return max(candidates, key=lambda factors: sum(factor.of is not Role.FREE for factor in factors))
