"""What a unit reads of each of several tensors whose positions differ, such as queries and pooled keys."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from cnncli.capture.effect import SAME, Context
from cnncli.capture.layout import Factor, Factors, Layout, Role, UnsupportedOp, canonical, has_batch, pieces_of, units
from cnncli.capture.record import Value
from cnncli.layers import Reach
from cnncli.layers.base import Reads
from cnncli.windows import Gathered, Resampled, Sliding, Window


@dataclass(frozen=True)
class Operand:
    """One of the tensors.

    Attributes:
        value: the tensor.
        dims: for each axis of the output its own axis there; () if it has none, or is broadcast along it.
        over: its axes that every number of the output reads completely.
    """

    value: Value
    dims: tuple[Factors, ...]
    over: tuple[Factors, ...] = ()


Place = tuple[int, int]
"""A piece of an axis of the input in the output: the number of the axis of the output, and the step in it."""


def same_positions(layouts: Sequence[Layout]) -> bool:
    """Whether tensors have the same number of positions along each axis of the input, where they have any."""
    sizes: dict[int, int] = {}
    return all(
        sizes.setdefault(axis, size) == size for layout in layouts for axis, size in units(layout).items() if size > 1
    )


def join(
    operands: Sequence[Operand], shape: Sequence[int], context: Context
) -> tuple[Layout, tuple[tuple[Value, Reads], ...]]:
    """The layout of the output, and what a unit reads of each tensor; nothing if all read their own position.

    Where the positions in an axis of the output are not those of all tensors (blocks of positions among the channels of
    one), a unit reads all of them.

    Raises:
        UnsupportedOp: the tensors count different axes of the input there.
    """
    layout: list[Factors] = []
    kept: dict[Place, Factor] = {}
    for dim, size in enumerate(shape):
        factors, shared = _shared([operand.dims[dim] for operand in operands], size)
        layout.append(factors)
        kept |= {(dim, step): factor for step, factor in shared.items()}
    order = _order(operands, kept)
    after = canonical(_renumbered(layout, order))
    reads = tuple((operand.value, _reads(operand, order, context)) for operand in operands)
    return after, () if all(each is Reach.SAME for _, each in reads) else reads


def join_elementwise(
    values: Sequence[Value], shape: Sequence[int], context: Context
) -> tuple[Layout, tuple[tuple[Value, Reads], ...]]:
    """Like `join`, of tensors that are broadcast to a shape."""
    operands = []
    for value in values:
        layout = context.layout(value)
        dims = ((),) * (len(shape) - len(layout)) + tuple(
            factors if size == full else ()
            for factors, size, full in zip(layout, value.shape, shape[len(shape) - len(layout) :], strict=True)
        )
        operands.append(Operand(value, dims))
    return join(operands, shape, context)


def _shared(candidates: Sequence[Factors], size: int) -> tuple[Factors, dict[int, Factor]]:
    """An axis of the output, and the pieces of axes of the input in it by their step, given that of each tensor."""
    present = [factors for factors in candidates if prod(each.size for each in factors) == size > 1]
    pieces = [_places(factors) for factors in present]
    positioned = [(factors, found) for factors, found in zip(present, pieces, strict=True) if found]
    if not positioned:
        return (max(present, key=_specific) if present else (Factor(size, Role.FREE),)), {}
    factors, first = max(positioned, key=lambda each: _specific(each[0]))
    same = all(_sizes(found) == _sizes(first) for _, found in positioned)
    # Blocks of positions among channels; a batch may consist of windows and heads.
    mixed = any(each.of is Role.FREE and each.size > 1 for each in factors) and not has_batch((factors,))
    if same and (len(positioned) == len(present) or not mixed):
        return factors, first
    if not same and not all(any(each.of is Role.FREE and each.size > 1 for each in own) for own, _ in positioned):
        raise UnsupportedOp("combines maps whose axes do not correspond")
    return tuple(each if each.of in (Role.BATCH, Role.FREE) else Factor(each.size, Role.FREE) for each in factors), {}


def _specific(factors: Factors) -> int:
    return sum(factor.of is not Role.FREE for factor in factors)


def _places(factors: Factors) -> dict[int, Factor]:
    """The pieces of axes of the input in an axis of a tensor, by their step in it."""
    result: dict[int, Factor] = {}
    step = 1
    for factor in reversed(factors):
        if factor.size > 1 and (isinstance(factor.of, int) or factor.of is Role.TOKENS):
            result[step] = factor
        step *= factor.size
    return result


def _sizes(places: dict[int, Factor]) -> dict[int, tuple[int, int | Role, tuple[tuple[int, int | Role], ...], int]]:
    return {
        step: (f.size, f.of, tuple((each.size, each.of) for each in f.grid), f.before) for step, f in places.items()
    }


Key = tuple[int, int, int]
"""Where a piece is in the output: the number of the axis, the step in it, and the place in a grid of tokens."""


def _keys(dims: Sequence[Factors]) -> dict[int, dict[int, tuple[Key, int]]]:
    """Axis of the input -> step of a piece -> where the piece is, and its size."""
    result: dict[int, dict[int, tuple[Key, int]]] = {}
    for dim, factors in enumerate(dims):
        for step, factor in _places(factors).items():
            for i, each in enumerate(factor.grid or (factor,)):
                if each.size > 1:
                    assert isinstance(each.of, int), each
                    result.setdefault(each.of, {})[each.step] = ((dim, step, i), each.size)
    return result


def _order(operands: Sequence[Operand], kept: dict[Place, Factor]) -> dict[int, list[tuple[Key, int]]]:
    """Axis of the input -> the pieces of the output with their sizes, the slowest first."""
    order: dict[int, list[tuple[Key, int]]] = {}
    for operand in operands:
        for axis, pieces in _keys(operand.dims).items():
            own = [pieces[step] for step in sorted(pieces, reverse=True) if pieces[step][0][:2] in kept]
            if len(own) > len(order.get(axis, [])):
                order[axis] = own
    for axis, first in order.items():
        found = {piece for operand in operands for piece in _keys(operand.dims).get(axis, {}).values()}
        if others := [piece for piece in found if piece[0][:2] in kept and piece not in first]:
            # No tensor has all of them, such as windows of a map and positions in another one: outer axes come first.
            order[axis] = sorted([*first, *others], key=lambda piece: (piece[0][0], -piece[0][1], piece[0][2]))
            if prod(size for _, size in order[axis]) > _MAX_UNITS:
                raise UnsupportedOp("combines every position with every other one")
    return order


_MAX_UNITS = 1 << 14
"""More units along an axis, which are pairs of positions, are not followed."""


def _renumbered(layout: Sequence[Factors], order: dict[int, list[tuple[Key, int]]]) -> Layout:
    """The layout with the steps of pieces in their order."""
    steps: dict[Key, tuple[int, int]] = {}
    for pieces in order.values():
        whole, step = prod(size for _, size in pieces), 1
        for key, size in reversed(pieces):
            steps[key] = step, whole
            step *= size
    result: list[Factors] = []
    for dim, factors in enumerate(layout):
        after: list[Factor] = []
        place = prod(factor.size for factor in factors)
        for factor in factors:
            place //= factor.size
            grid = tuple(_with_step(each, steps.get((dim, place, i))) for i, each in enumerate(factor.grid))
            after.append(replace(_with_step(factor, None if grid else steps.get((dim, place, 0))), grid=grid))
        result.append(tuple(after))
    return tuple(result)


def _with_step(factor: Factor, found: tuple[int, int] | None) -> Factor:
    return factor if found is None else replace(factor, step=found[0], whole=found[1])


def _reads(operand: Operand, order: dict[int, list[tuple[Key, int]]], context: Context) -> Reads:
    """What a unit of the output reads of one tensor."""
    pieces = pieces_of(factor for factors in (*operand.dims, *operand.over) for factor in factors)
    keys = _keys(operand.dims)
    if not any(pieces.values()):
        return Reach.SAME
    shared = {
        axis: {step: key for step, (key, size) in keys.get(axis, {}).items() if (key, size) in order.get(axis, [])}
        for axis in pieces
    }
    if not any(shared.values()):
        return Reach.ALL
    windows: dict[int, Window] = {}
    for axis, own in pieces.items():
        if own and (window := _window(own, shared[axis], order.get(axis, []))) is not None:
            windows[axis] = window
    return context.reads(windows)


def _window(own: dict[int, int], shared: dict[int, Key], after: Sequence[tuple[Key, int]]) -> Window | None:
    """The window of the units of the output over the positions of one tensor; None if it is the same position.

    Args:
        own: its pieces: step -> size.
        shared: which of them are in the output.
        after: the pieces of the output.
    """
    size, count = prod(own.values()), prod(size for _, size in after)
    read: dict[tuple[int, ...], list[int]] = {}
    shared_steps = sorted(shared, reverse=True)
    for position in range(size):
        read.setdefault(tuple(_index(position, own)[step] for step in shared_steps), []).append(position)
    positions: list[tuple[int, ...]] = []
    for unit in range(count):
        index: dict[Key, int] = {}
        rest = unit
        for key, length in reversed(after):
            rest, index[key] = divmod(rest, length)
        positions.append(tuple(read[tuple(index[shared[step]] for step in shared_steps)]))
    return simplest(tuple(positions), size)


def _index(position: int, pieces: dict[int, int]) -> dict[int, int]:
    """The index of a position in each piece of an axis."""
    index: dict[int, int] = {}
    for step in sorted(pieces):
        position, index[step] = divmod(position, pieces[step])
    return index


def simplest(positions: tuple[tuple[int, ...], ...], size: int) -> Window | None:
    """A window that reads these of `size` positions, one that repeats if there is one; None if it is `SAME`."""
    kernel = max(1, len(positions[0]))
    likely = [SAME, Sliding(kernel=kernel, stride=kernel), Resampled(units=len(positions))]
    for window in likely:
        if window.output_size(size) == len(positions) and all(
            tuple(window.reads(unit, size)) == each for unit, each in enumerate(positions)
        ):
            return None if window is SAME else window
    return Gathered(positions)
