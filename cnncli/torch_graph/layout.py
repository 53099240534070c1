"""Where the positions of the input went: what each axis of a tensor stands for.

Each axis is a row of *factors*, the slowest first. An image batch (N, C, H, W) has one factor per axis; flattened to
(N, C * H * W) its second axis has the three factors C, H, W; as tokens (N, H * W, C) two.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod


class Unfollowed(Exception):  # noqa: N818  not an error: the reason stands in the row
    """What an operation reads cannot be said; the message says why."""


class Kind(Enum):
    """What a factor counts, where it is not the positions of an axis of the input."""

    BATCH = "images"
    FREE = "channels, features, heads"
    TOKENS = "positions of several axes in one, with tokens besides that have none"


@dataclass(frozen=True)
class Factor:
    """`size` steps along `of`: an axis of the input by its number, or a kind; `grid` are the axes among tokens."""

    size: int
    of: int | Kind
    grid: tuple["Factor", ...] = ()
    before: int = 0

    @property
    def axes(self) -> dict[int, int]:
        """Axis of the input -> how many units it has here."""
        if isinstance(self.of, int):
            return {self.of: self.size}
        return {axis: size for factor in self.grid for axis, size in factor.axes.items()}


Factors = tuple[Factor, ...]
Layout = tuple[Factors, ...]


def free(size: int) -> Factors:
    """An axis of `size` that no position of the input belongs to."""
    return (Factor(size, Kind.FREE),)


def of_input(shape: Sequence[int]) -> Layout:
    """The layout of the input itself: (N, C, positions ...)."""
    positions = [(Factor(size, axis),) for axis, size in enumerate(shape[2:])]
    return ((Factor(shape[0], Kind.BATCH),), free(shape[1]), *positions)


def units(layout: Layout) -> dict[int, int]:
    """Axis of the input -> how many units a tensor has along it; an axis that is not there has been summed up."""
    found: dict[int, int] = {}
    for factors in layout:
        for factor in factors:
            for axis, size in factor.axes.items():
                if axis in found and min(size, found[axis]) > 1:
                    raise Unfollowed(f"axis {axis} of the input would be there twice")
                found[axis] = max(size, found.get(axis, 1))
    return found


def axes_of(factors: Iterable[Factor]) -> dict[int, int]:
    """The axes of the input along one axis of a tensor, with their sizes, where these are more than 1."""
    return {axis: size for factor in factors for axis, size in factor.axes.items() if size > 1}


def position(factors: Factors) -> int | None:
    """The axis of the input that an axis of a tensor is, or None where it is none.

    Raises:
        Unfollowed: it is one among several factors.
    """
    if not axes_of(factors):
        only = [factor.of for factor in factors if isinstance(factor.of, int)]
        return only[0] if len(only) == 1 else None
    large = [factor for factor in factors if factor.size > 1]
    if len(large) > 1 or large[0].of is Kind.TOKENS:
        raise Unfollowed("works on positions that a reshape has merged with others")
    assert isinstance(large[0].of, int)
    return large[0].of


def without_batch(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """A shape for one image."""
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
        Unfollowed: it cuts an axis into pieces, or batch and positions in ways that no factors say.
    """
    rest = _coalesced([factor for factors in layout for factor in factors])[::-1]
    groups: list[Factors] = []
    for size in shape:
        group: list[Factor] = []
        missing = size
        while missing > 1:
            if not rest:
                raise Unfollowed("reshapes in a way that is not followed")
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
    """Neighbours of no position as one, so that they can be cut elsewhere."""
    done: list[Factor] = []
    for factor in factors:
        if factor.of is Kind.FREE and (factor.size == 1 or (done and done[-1].of is Kind.FREE)):
            if factor.size > 1:
                done[-1] = Factor(done[-1].size * factor.size, Kind.FREE)
        else:
            done.append(factor)
    return done


def _cut(factor: Factor, outer: int) -> tuple[Factor, Factor]:
    if factor.of is not Kind.FREE or factor.size % outer:
        what = f"axis {factor.of} of the input" if isinstance(factor.of, int) else factor.of.value
        raise Unfollowed(f"a reshape cuts {what} into pieces")
    return Factor(outer, Kind.FREE), Factor(factor.size // outer, Kind.FREE)


def merged(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
    """The layout of what number-by-number operations make of tensors that are broadcast to `shape`.

    Raises:
        Unfollowed: positions of one input would meet other positions of another.
    """
    result: list[Factors] = []
    for axis in range(-len(shape), 0):
        here = [layout[axis] for layout in layouts if len(layout) >= -axis]
        places = [factors for factors in here if axes_of(factors)]
        if len({tuple(f for f in factors if f.size > 1) for factors in places}) > 1:
            raise Unfollowed("combines maps whose axes do not correspond")
        size = shape[axis]
        full = [factors for factors in here if prod(f.size for f in factors) == size]
        result.append(places[0] if places else _fullest(full) if full else free(size))
    units(tuple(result))
    return tuple(result)


def _fullest(candidates: Sequence[Factors]) -> Factors:
    """The one that says most: batch before channels, an axis of size 1 before none."""
    return max(candidates, key=lambda factors: sum(factor.of is not Kind.FREE for factor in factors))
