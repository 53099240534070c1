"""Rules for operators that only rearrange numbers: views, slices, concatenations."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from cnncli.capture.effect import Context, Effect
from cnncli.capture.joining import Operand, join, same_positions
from cnncli.capture.layout import (
    Factor,
    Layout,
    Role,
    UnsupportedOp,
    axes_of,
    broadcast,
    corresponds,
    free,
    input_axis,
    pieces_of,
    reshaped,
    units,
)
from cnncli.capture.moving import through_windows
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
from cnncli.layers.base import Reads
from cnncli.windows import Gathered, Sliding, Transposed, Window


def _view(layout: Layout) -> Effect:
    return Effect(type="view", layout=layout, minor=True, view=True)


def reshape(operation: Operation, context: Context) -> Effect:
    """Another shape. If it merges channels and positions into one axis of features, it is a `flatten`."""
    before = context.layout(operation.arguments["self"])
    if operation.outputs[0].shape == operation.arguments["self"].shape:
        return _view(before)
    if operation.name == "as_strided":
        raise UnsupportedOp("reads memory with arbitrary strides")
    after = reshaped(before, operation.outputs[0].shape)
    features = len(after) == 2 and after[0] == before[0] and any(factor.of is Role.FREE for factor in after[1])
    # After a global pool there are no positions to lose, only axes of size 1.
    pooled = features and operation.arguments["self"] in context.complete and not axes_of(after[1])
    if features and pieces_of(after[1]) and not pooled:
        return Effect(type="flatten", layout=(after[0], free(operation.outputs[0].shape[1])), reads=Reach.ALL)
    return _view(after)


def unsqueeze(operation: Operation, context: Context) -> Effect:
    """An additional axis of size 1."""
    layout = list(context.layout(operation.arguments["self"]))
    dim = operation.arguments["dim"] % (len(layout) + 1)
    layout.insert(dim, ())
    return _view(tuple(layout))


def squeeze(operation: Operation, context: Context) -> Effect:
    """Without some or all axes of size 1."""
    value: Value = operation.arguments["self"]
    given = operation.arguments.get("dim", range(len(value.shape)))
    dims = {dim % len(value.shape) for dim in ([given] if isinstance(given, int) else given)}
    layout = context.layout(value)
    kept = tuple(layout[dim] for dim in range(len(layout)) if dim not in dims or value.shape[dim] > 1)
    return _view(kept)


def permute(operation: Operation, context: Context) -> Effect:
    """Axes in another order."""
    a = operation.arguments
    layout = context.layout(a["self"])
    order = list(range(len(layout)))
    if operation.name == "permute":
        order = list(a["dims"])
    else:
        first, second = (a["dim0"], a["dim1"]) if operation.name == "transpose" else (0, -1)
        if len(order) > 1:
            order[first], order[second] = order[second], order[first]
    return _view(tuple(layout[dim] for dim in order))


def expand(operation: Operation, context: Context) -> Effect:
    """Axes of size 1 repeated without a copy."""
    value: Value = operation.arguments["self"]
    shape = operation.outputs[0].shape
    layout = [()] * (len(shape) - len(value.shape)) + list(context.layout(value))
    sizes = [1] * (len(shape) - len(value.shape)) + list(value.shape)
    after = tuple(f if size == n else free(n) for f, size, n in zip(layout, sizes, shape, strict=True))
    return _view(after)


def repeat(operation: Operation, context: Context) -> Effect:
    """Copies along some axes."""
    value: Value = operation.arguments["self"]
    shape = operation.outputs[0].shape
    missing = len(shape) - len(value.shape)
    sizes, layout = [1] * missing + list(value.shape), [()] * missing + list(context.layout(value))
    windows: dict[int, Window] = {}
    for dim, times in enumerate(operation.arguments["repeats"]):
        if times > 1 and axes_of(layout[dim]):
            windows[dim] = Gathered(tuple((i % sizes[dim],) for i in range(shape[dim])))
        elif times > 1:
            layout[dim] = free(shape[dim])
    after, reads = through_windows(tuple(layout), windows, context)
    return Effect(type="repeat", layout=after, reads=reads, minor=not windows)


def slice_axis(operation: Operation, context: Context) -> Effect:
    """`slice`, `select`, `split` and similar: some of the numbers along one axis."""
    a = operation.arguments
    value: Value = a["self"]
    dim = a["dim"] % len(value.shape)
    layout = context.layout(value)
    removes_axis = operation.name in ("select", "unbind")
    size, count = value.shape[dim], 1 if removes_axis else operation.outputs[0].shape[dim]
    if not axes_of(layout[dim]) or count in (0, size):
        same = operation.outputs[0].shape == value.shape
        kept = () if removes_axis else (layout[dim] if same else free(count),)
        return Effect(type="slice", layout=layout[:dim] + kept + layout[dim + 1 :], minor=True, view=True)
    if operation.name == "slice":
        start, step = _clamp_start(a["start"] or 0, size), a["step"]
    elif operation.name == "select":
        start, step = a["index"] % size, 1
    else:
        raise UnsupportedOp("splits a map along its positions")
    if any(factor.of is Role.TOKENS for factor in layout[dim]):
        after, reads = _slice_of_tokens(value, dim, start, count, step, context)
    else:
        after, reads = _slice_of_positions(layout, dim, start, count, step, context)
    after = after[:dim] + after[dim + 1 :] if removes_axis else after
    return Effect(type="slice", layout=after, reads=reads, minor=reads is Reach.SAME, view=reads is Reach.SAME)


def _slice_of_positions(
    layout: Layout, dim: int, start: int, count: int, step: int, context: Context
) -> tuple[Layout, Reads]:
    """Every `step`-th of the positions along an axis, from `start`."""
    size = prod(factor.size for factor in layout[dim])
    outer, *others = [factor for factor in layout[dim] if factor.size > 1]
    inner = prod(factor.size for factor in others)
    if others and outer.of is Role.FREE and step == 1 and start % inner == count % inner == 0:
        # Some of the channels, each with all of the positions among them.
        return (*layout[:dim], (Factor(count // inner, Role.FREE), *others), *layout[dim + 1 :]), Reach.SAME
    end = start + (count - 1) * step
    return through_windows(layout, {dim: Sliding(kernel=1, stride=step, before=-start, after=end + 1 - size)}, context)


def _slice_of_tokens(
    value: Value, dim: int, start: int, count: int, step: int, context: Context
) -> tuple[Layout, Reads]:
    """Some tokens: those without a position, all that have one, or all with some that have none."""
    layout = context.layout(value)
    large = [factor for factor in layout[dim] if factor.size > 1]
    tokens, end = large[0], start + count
    first, last = tokens.before, tokens.before + prod(factor.size for factor in tokens.grid)
    if len(large) > 1 or step > 1:
        raise UnsupportedOp("works on positions that a reshape has merged with others")
    if start <= first and last <= end:
        grid = count == last - first
        kept = tokens.grid if grid else (replace(tokens, size=count, before=first - start),)
        return (*layout[:dim], kept, *layout[dim + 1 :]), Reach.SAME
    if start < last and first < end:
        raise UnsupportedOp("picks a part of the positions that a reshape has merged")
    after = (*layout[:dim], free(count), *layout[dim + 1 :])
    if tokens.aware or value in context.complete:
        return after, Reach.ALL
    pieces = pieces_of(factor for factors in layout for factor in factors)
    if after_pieces := [axis for axis, found in pieces_of(f for fs in after for f in fs).items() if found]:
        raise UnsupportedOp(f"picks tokens at each position of axis {after_pieces[0]}")
    return after, context.reads({axis: Gathered(((),)) for axis in pieces})


def _clamp_start(start: int, size: int) -> int:
    return min(size, start) if start >= 0 else max(0, start + size)


def concat(operation: Operation, context: Context) -> Effect:
    """Concatenation of tensors along channels or positions, with constants or without."""
    a = operation.arguments
    shape = operation.outputs[0].shape
    dim = a["dim"] % len(shape)
    values = [value for value in a["tensors"] if value.numel]  # `cat` skips empty tensors
    if len(values) == 1 and operation.name == "cat":
        return Effect(type="concat", layout=context.layout(values[0]), minor=True)
    dynamic = [value for value in values if value.dynamic]
    if not dynamic:
        raise UnsupportedOp("only tensors without numbers depend on the input")
    layouts = [context.layouts[value] for value in dynamic]
    if operation.name != "stack" and any(axes_of(layout[dim]) for layout in layouts):
        return _along_positions(values, dim, shape, context)
    dims = [(*layout[:dim], (), *layout[dim + (operation.name != "stack") :]) for layout in layouts]
    others = (*shape[:dim], 1, *shape[dim + 1 :])
    placed: tuple[tuple[Value, Reads], ...] = ()
    if same_positions(layouts) and corresponds(dims):
        base = max(dims, key=lambda layout: len(units(layout)))
        layout = broadcast([base], others)
    else:
        layout, placed = join(
            [Operand(value, each) for value, each in zip(dynamic, dims, strict=True)], others, context
        )
    return Effect(type="concat", layout=(*layout[:dim], free(shape[dim]), *layout[dim + 1 :]), placed=placed)


def _along_positions(values: Sequence[Value], dim: int, shape: Sequence[int], context: Context) -> Effect:
    """Maps, and constants, one after the other along an axis of positions."""
    dynamic = [value for value in values if value.dynamic]
    positioned = [value for value in dynamic if axes_of(context.layouts[value][dim])]
    base = context.layouts[positioned[0]]
    if len(positioned) == 1:
        others = [value for value in dynamic if value is not positioned[0]]
        if all(not any(pieces_of(f for fs in context.layouts[value] for f in fs).values()) for value in others):
            before = sum(value.shape[dim] for value in values[: values.index(positioned[0])])
            if not others or len([factor for factor in base[dim] if factor.size > 1]) > 1:
                return extend(positioned[0], dim, before=before, size=shape[dim], aware=bool(others), context=context)
    return _joined_positions(values, dim, context)


def _joined_positions(values: Sequence[Value], dim: int, context: Context) -> Effect:
    """Maps, and constants, one after the other along an axis of the input."""
    maps = [value for value in values if value.dynamic]
    axes = {input_axis(context.layouts[value][dim]) for value in maps if axes_of(context.layouts[value][dim])}
    axis = axes.pop()
    if axes or axis is None:
        raise UnsupportedOp("concatenates maps along different axes")
    layouts = [context.layouts[value] for value in maps]
    # A map whose positions were reduced joins any other: its numbers are the same at every position.
    others = [(*layout[:dim], (), *layout[dim + 1 :]) for layout in layouts]
    if not corresponds(others) or not same_positions(others):
        raise UnsupportedOp("concatenates maps whose axes do not correspond")
    layout = max(layouts, key=lambda each: (axis in units(each), len(units(each))))
    total = sum(value.shape[dim] for value in values)
    placed: list[tuple[Value, Reads]] = []
    start = 0
    for value in values:
        size = value.shape[dim]
        if value.dynamic:
            single = units(context.layouts[value]).get(axis, 1) == 1 < size
            inside = (((0,) if single else (i - start,)) if start <= i < start + size else () for i in range(total))
            placed.append((value, context.reads({axis: Gathered(tuple(inside))})))
        start += size
    after = (*layout[:dim], (Factor(total, axis),), *layout[dim + 1 :])
    return Effect(type="concat", layout=after, placed=tuple(placed))


def extend(value: Value, dim: int, *, before: int, size: int, context: Context, aware: bool = False) -> Effect:
    """Tokens without a position before and after a map along its positions.

    Args:
        value: the map.
        dim: along which axis.
        before: the number of tokens before it.
        size: of all.
        context: of the values known so far.
        aware: whether the tokens depend on the whole input; otherwise they are constants.
    """
    layout = context.layouts[value]
    large = [factor for factor in layout[dim] if factor.size > 1]
    old = prod(factor.size for factor in large)
    if len(large) == 1 and isinstance(large[0].of, int):
        after, reads = through_windows(
            layout, {dim: Sliding(kernel=1, before=before, after=size - old - before)}, context
        )
        return Effect(type="concat", layout=after, reads=reads)
    if len(large) == 1 and large[0].of is Role.TOKENS and aware == large[0].aware:
        tokens = replace(large[0], size=size, before=before + large[0].before)
    elif all(isinstance(factor.of, int) for factor in large):
        tokens = Factor(size, Role.TOKENS, grid=tuple(large), before=before, aware=aware)
    else:
        raise UnsupportedOp("concatenates tokens and positions that a reshape has merged with channels")
    placed: tuple[tuple[Value, Reads], ...] = ((value, Reach.SAME),) if aware else ()
    note = "tokens without a position see the whole input, the others as the table says" if aware else ""
    return Effect(type="concat", layout=(*layout[:dim], (tokens,), *layout[dim + 1 :]), placed=placed, note=note)


def unfold(operation: Operation, context: Context) -> Effect:
    """`torch.nn.Unfold`: the patches of a convolution as columns of a matrix (N, C * kernel, positions)."""
    a = operation.arguments
    value: Value = a["self"]
    layout = context.layout(value)
    windows: dict[int, Window] = {}
    grid: list[Factor] = []
    for i, size in enumerate(value.shape[2:]):
        axis = input_axis(layout[2 + i])
        kernel, stride, pad, dilation = (a[name][i] for name in ("kernel_size", "stride", "padding", "dilation"))
        window = Sliding(kernel=kernel, stride=stride, dilation=dilation, before=pad, after=pad)
        if axis is None:
            raise UnsupportedOp("extracts patches from a tensor without positions")
        windows[axis] = window
        grid.append(Factor(window.output_size(size), axis))
    after = (layout[0], free(operation.outputs[0].shape[1]), tuple(grid))
    return Effect(type="unfold", layout=after, reads=context.reads(windows))


def pick(operation: Operation, context: Context) -> Effect:
    """`index_select`, or an index with a list: constant positions along one axis, in any order."""
    a = operation.arguments
    value: Value = a["self"]
    if operation.name == "index_select":
        dim = a["dim"] % len(value.shape)
    else:
        dim = next(i for i, each in enumerate(a["indices"]) if each is not None)
    if operation.index is None:
        raise UnsupportedOp("picks positions that are not known")
    layout = context.layout(value)
    if not axes_of(layout[dim]):
        return Effect(type="slice", layout=(*layout[:dim], free(len(operation.index)), *layout[dim + 1 :]), minor=True)
    window = Gathered(tuple((each % value.shape[dim],) for each in operation.index))
    after, reads = through_windows(layout, {dim: window}, context)
    return Effect(type="slice", layout=after, reads=reads)


def rotate(operation: Operation, context: Context) -> Effect:
    """`rot90`: two axes are exchanged, and one or both read backwards."""
    a = operation.arguments
    value: Value = a["self"]
    turns = a["k"] % 4
    first, second = (dim % len(value.shape) for dim in a["dims"])
    layout = context.layout(value)
    # One turn is a transposition after the second axis has been reversed, three after the first.
    backwards = {0: (), 1: (second,), 2: (first, second), 3: (first,)}[turns]
    windows: dict[int, Window] = {
        dim: Gathered(tuple((each,) for each in reversed(range(value.shape[dim]))))
        for dim in backwards
        if axes_of(layout[dim])
    }
    after, reads = through_windows(layout, windows, context)
    turned = list(after)
    if turns % 2:
        turned[first], turned[second] = turned[second], turned[first]
    return Effect(type="rot90", layout=tuple(turned), reads=reads)


def unfold_axis(operation: Operation, context: Context) -> Effect:
    """`Tensor.unfold`: windows along one axis, whose positions become a new last axis."""
    a = operation.arguments
    value: Value = a["self"]
    dim = a["dimension"] % len(value.shape)
    layout = context.layout(value)
    if not axes_of(layout[dim]):
        return _view((*layout[:dim], free(operation.outputs[0].shape[dim]), *layout[dim + 1 :], free(a["size"])))
    after, reads = through_windows(layout, {dim: Sliding(kernel=a["size"], stride=a["step"])}, context)
    return Effect(type="unfold", layout=(*after, free(a["size"])), reads=reads)


def fold(operation: Operation, context: Context) -> Effect:
    """`torch.nn.Fold`: columns (N, C * kernel, positions) added up where their patches lie."""
    a = operation.arguments
    layout = context.layout(a["self"])
    grid = [factor for factor in layout[-1] if isinstance(factor.of, int)]
    if len(grid) != len(a["output_size"]) or any(factor.whole for factor in grid) or len(grid) < len(layout[-1]):
        raise UnsupportedOp("adds up patches whose positions are not a grid")
    windows: dict[int, Window] = {}
    after: list[tuple[Factor, ...]] = []
    for i, (factor, size) in enumerate(zip(grid, a["output_size"], strict=True)):
        kernel, stride, pad, dilation = (a[name][i] for name in ("kernel_size", "stride", "padding", "dilation"))
        window = Transposed(kernel=kernel, stride=stride, padding=pad, dilation=dilation)
        extra = size - window.output_size(factor.size)
        assert isinstance(factor.of, int)
        windows[factor.of] = replace(window, output_padding=extra)
        after.append((Factor(size, factor.of),))
    channels = free(operation.outputs[0].shape[1])
    # Patches that are folded as they were unfolded depend on less, number by number.
    return Effect(type="fold", layout=(layout[0], channels, *after), reads=context.reads(windows), upper_bound=True)


def with_parts(operation: Operation, context: Context) -> Effect:
    """Complex numbers as pairs of real ones on a new last axis, and back."""
    layout = context.layout(operation.arguments["self"])
    return _view((*layout, free(2)) if operation.name == "view_as_real" else layout[:-1])
