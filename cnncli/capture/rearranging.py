"""Operators that arrange numbers: views, parts, and parts put together. None computes anything."""

from math import prod

from cnncli.capture.effect import Context, Effect
from cnncli.capture.layout import (
    Factor,
    Factors,
    Kind,
    Layout,
    UnsupportedOp,
    axes_of,
    free,
    pieces_of,
    position,
    reshaped,
    units,
)
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
from cnncli.windows import Gathered, Sliding, Window


def view(operation: Operation, context: Context) -> Effect:
    """Another shape. Where channels and positions become one row of features, that is a `flatten`."""
    before = context.layout(operation.arguments["self"])
    if operation.outputs[0].shape == operation.arguments["self"].shape:
        return Effect(type="view", layout=before, minor=True, view=True)
    if operation.name == "as_strided":
        raise UnsupportedOp("reads its memory in another order")
    after = reshaped(before, operation.outputs[0].shape)
    row = len(after) == 2 and after[0] == before[0] and any(factor.of is Kind.FREE for factor in after[1])
    # What a global pool has left has no positions to lose, though it keeps axes of size 1.
    pooled = operation.arguments["self"] in context.whole and not axes_of(after[1])
    if row and pieces_of(after[1]) and not pooled:
        return Effect(type="flatten", layout=(after[0], free(operation.outputs[0].shape[1])), reads=Reach.ALL)
    return Effect(type="view", layout=after, minor=True, view=True)


def unsqueeze(operation: Operation, context: Context) -> Effect:
    """One more axis, of size 1."""
    layout = list(context.layout(operation.arguments["self"]))
    dim = operation.arguments["dim"] % (len(layout) + 1)
    layout.insert(dim, ())
    return Effect(type="view", layout=tuple(layout), minor=True, view=True)


def squeeze(operation: Operation, context: Context) -> Effect:
    """Axes of size 1 taken away."""
    value: Value = operation.arguments["self"]
    given = operation.arguments.get("dim", range(len(value.shape)))
    dims = {dim % len(value.shape) for dim in ([given] if isinstance(given, int) else given)}
    layout = context.layout(value)
    kept = tuple(layout[dim] for dim in range(len(layout)) if dim not in dims or value.shape[dim] > 1)
    return Effect(type="view", layout=kept, minor=True, view=True)


def permute(operation: Operation, context: Context) -> Effect:
    """The axes in another order."""
    a = operation.arguments
    layout = context.layout(a["self"])
    order = list(range(len(layout)))
    if operation.name == "permute":
        order = list(a["dims"])
    else:
        first, second = (a["dim0"], a["dim1"]) if operation.name == "transpose" else (0, -1)
        if len(order) > 1:
            order[first], order[second] = order[second], order[first]
    return Effect(type="view", layout=tuple(layout[dim] for dim in order), minor=True, view=True)


def expand(operation: Operation, context: Context) -> Effect:
    """The same numbers again along axes of size 1."""
    value: Value = operation.arguments["self"]
    shape = operation.outputs[0].shape
    layout = [()] * (len(shape) - len(value.shape)) + list(context.layout(value))
    sizes = [1] * (len(shape) - len(value.shape)) + list(value.shape)
    after = tuple(f if size == n else free(n) for f, size, n in zip(layout, sizes, shape, strict=True))
    return Effect(type="view", layout=after, minor=True, view=True)


def repeat(operation: Operation, context: Context) -> Effect:
    """Copies one after another."""
    value: Value = operation.arguments["self"]
    shape = operation.outputs[0].shape
    missing = len(shape) - len(value.shape)
    sizes, layout = [1] * missing + list(value.shape), [()] * missing + list(context.layout(value))
    windows: dict[int, Window] = {}
    for dim, times in enumerate(operation.arguments["repeats"]):
        axis = position(layout[dim]) if times > 1 else None
        if axis is not None:
            windows[axis] = Gathered(tuple((i % sizes[dim],) for i in range(shape[dim])))
            layout[dim] = (Factor(shape[dim], axis),)
        elif times > 1:
            layout[dim] = free(shape[dim])
    return Effect(type="repeat", layout=tuple(layout), reads=context.reads(windows), minor=not windows)


def part(operation: Operation, context: Context) -> Effect:
    """`slice`, `select`, `split` and their like: some of the numbers along one axis."""
    a = operation.arguments
    value: Value = a["self"]
    dim = a["dim"] % len(value.shape)
    layout = context.layout(value)
    axis = position(layout[dim]) if axes_of(layout[dim]) else None
    chosen = operation.name in ("select", "unbind")
    size = value.shape[dim]
    if axis is None:
        kept: Factors = (
            layout[dim] if operation.outputs[0].shape == value.shape else free(operation.outputs[0].shape[dim - chosen])
        )
        after = layout[:dim] + (() if chosen else (kept,)) + layout[dim + 1 :]
        return Effect(type="slice", layout=after, minor=True, view=True)
    if operation.name == "slice":
        start, step = _bounded(a["start"] or 0, size), a["step"]
        count = operation.outputs[0].shape[dim]
        end = start + (count - 1) * step
        window: Window = Sliding(kernel=1, stride=step, before=-start, after=end + 1 - size)
    elif operation.name == "select":
        count, window = 1, Gathered(((a["index"] % size,),))
    else:
        raise UnsupportedOp("splits a map along its positions")
    after = layout[:dim] + (() if chosen else ((Factor(count, axis),),)) + layout[dim + 1 :]
    return Effect(type="slice", layout=after, reads=context.reads({axis: window}))


def _bounded(start: int, size: int) -> int:
    return min(size, start) if start >= 0 else max(0, start + size)


def concat(operation: Operation, context: Context) -> Effect:
    """Tensors side by side: along the channels, or along positions with constants that have none."""
    a = operation.arguments
    shape = operation.outputs[0].shape
    dim = a["dim"] % len(shape)
    if operation.name == "stack":
        layout = next(context.layouts[value] for value in a["tensors"] if value.dynamic)
        return Effect(type="concat", layout=(*layout[:dim], free(shape[dim]), *layout[dim:]))
    values = [value for value in a["tensors"] if value.numel]  # `cat` passes over empty ones
    dynamic = [value for value in values if value.dynamic]
    layouts = [context.layouts[value] for value in dynamic]
    along = [factors for layout in layouts for factors in [layout[dim]] if axes_of(factors)]
    others = {tuple(f for i, f in enumerate(layout) if i != dim and axes_of(f)) for layout in layouts}
    # A map that positions have been summed out of joins one that has them: its numbers are everywhere the same.
    others.discard(())
    if len(others) > 1:
        raise UnsupportedOp("puts maps side by side whose axes do not correspond")
    base = max(layouts, key=lambda layout: len(units(layout)))
    if not along:
        return Effect(type="concat", layout=(*base[:dim], free(shape[dim]), *base[dim + 1 :]))
    if len(dynamic) > 1:
        raise UnsupportedOp("puts maps side by side along their positions")
    before = sum(value.shape[dim] for value in values[: values.index(dynamic[0])])
    return _extended(base, dim, before=before, size=shape[dim], context=context)


def _extended(layout: Layout, dim: int, *, before: int, size: int, context: Context) -> Effect:
    """Constants before and behind a map along its positions."""
    large = [factor for factor in layout[dim] if factor.size > 1]
    old = prod(factor.size for factor in large)
    if len(large) == 1 and isinstance(large[0].of, int):
        factor, windows = (
            Factor(size, large[0].of),
            {large[0].of: Sliding(kernel=1, before=before, after=size - old - before)},
        )
        return Effect(
            type="concat", layout=(*layout[:dim], (factor,), *layout[dim + 1 :]), reads=context.reads(dict(windows))
        )
    if any(factor.of is not Kind.TOKENS and not isinstance(factor.of, int) for factor in large):
        raise UnsupportedOp("puts constants beside positions that a reshape has merged with channels")
    tokens = Factor(size, Kind.TOKENS, grid=tuple(large), before=before)
    return Effect(type="concat", layout=(*layout[:dim], (tokens,), *layout[dim + 1 :]))


def unfold(operation: Operation, context: Context) -> Effect:
    """`torch.nn.Unfold`: the windows of a convolution as the columns of a matrix (N, C * kernel, positions)."""
    a = operation.arguments
    value: Value = a["self"]
    layout = context.layout(value)
    windows: dict[int, Window] = {}
    grid: list[Factor] = []
    for i, size in enumerate(value.shape[2:]):
        axis = position(layout[2 + i])
        kernel, stride, pad, dilation = (a[name][i] for name in ("kernel_size", "stride", "padding", "dilation"))
        window = Sliding(kernel=kernel, stride=stride, dilation=dilation, before=pad, after=pad)
        if axis is None:
            raise UnsupportedOp("cuts windows out of something that has no positions")
        windows[axis] = window
        grid.append(Factor(window.output_size(size), axis))
    after = (layout[0], free(operation.outputs[0].shape[1]), tuple(grid))
    return Effect(type="unfold", layout=after, reads=context.reads(windows))
