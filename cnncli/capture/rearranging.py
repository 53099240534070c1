"""Rules for operators that only rearrange numbers: views, slices, concatenations."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from cnncli.capture.effect import Context, Effect
from cnncli.capture.layout import (
    Factor,
    Layout,
    Role,
    UnsupportedOp,
    axes_of,
    free,
    input_axis,
    pieces_of,
    reshaped,
    units,
)
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
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
    pooled = operation.arguments["self"] in context.complete and not axes_of(after[1])
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
        axis = input_axis(layout[dim]) if times > 1 else None
        if axis is not None:
            windows[axis] = Gathered(tuple((i % sizes[dim],) for i in range(shape[dim])))
            layout[dim] = (Factor(shape[dim], axis),)
        elif times > 1:
            layout[dim] = free(shape[dim])
    return Effect(type="repeat", layout=tuple(layout), reads=context.reads(windows), minor=not windows)


def slice_axis(operation: Operation, context: Context) -> Effect:
    """`slice`, `select`, `split` and similar: some of the numbers along one axis."""
    a = operation.arguments
    value: Value = a["self"]
    dim = a["dim"] % len(value.shape)
    layout = context.layout(value)
    axis = input_axis(layout[dim]) if axes_of(layout[dim]) else None
    removes_axis = operation.name in ("select", "unbind")
    size = value.shape[dim]
    if axis is None:
        same = operation.outputs[0].shape == value.shape
        kept = () if removes_axis else (layout[dim] if same else free(operation.outputs[0].shape[dim]),)
        after = layout[:dim] + kept + layout[dim + 1 :]
        return Effect(type="slice", layout=after, minor=True, view=True)
    if operation.name == "slice":
        start, step = _clamp_start(a["start"] or 0, size), a["step"]
        count = operation.outputs[0].shape[dim]
        end = start + (count - 1) * step
        window: Window = Sliding(kernel=1, stride=step, before=-start, after=end + 1 - size)
    elif operation.name == "select":
        count, window = 1, Gathered(((a["index"] % size,),))
    else:
        raise UnsupportedOp("splits a map along its positions")
    after = layout[:dim] + (() if removes_axis else ((Factor(count, axis),),)) + layout[dim + 1 :]
    return Effect(type="slice", layout=after, reads=context.reads({axis: window}))


def _clamp_start(start: int, size: int) -> int:
    return min(size, start) if start >= 0 else max(0, start + size)


def concat(operation: Operation, context: Context) -> Effect:
    """Concatenation of tensors along channels, or of a tensor and constants along positions."""
    a = operation.arguments
    shape = operation.outputs[0].shape
    dim = a["dim"] % len(shape)
    if operation.name == "stack":
        layout = next(context.layouts[value] for value in a["tensors"] if value.dynamic)
        return Effect(type="concat", layout=(*layout[:dim], free(shape[dim]), *layout[dim:]))
    values = [value for value in a["tensors"] if value.numel]  # `cat` skips empty tensors
    dynamic = [value for value in values if value.dynamic]
    layouts = [context.layouts[value] for value in dynamic]
    has_positions = any(axes_of(layout[dim]) for layout in layouts)
    others = {tuple(f for i, f in enumerate(layout) if i != dim and axes_of(f)) for layout in layouts}
    # A map whose positions were reduced joins any other: its numbers are the same at every position.
    others.discard(())
    if len(others) > 1:
        raise UnsupportedOp("concatenates maps whose axes do not correspond")
    base = max(layouts, key=lambda layout: len(units(layout)))
    if not has_positions:
        return Effect(type="concat", layout=(*base[:dim], free(shape[dim]), *base[dim + 1 :]))
    if len(dynamic) > 1:
        return _joined_positions(values, dim, context)
    before = sum(value.shape[dim] for value in values[: values.index(dynamic[0])])
    return _extend(base, dim, before=before, size=shape[dim], context=context)


def _joined_positions(values: Sequence[Value], dim: int, context: Context) -> Effect:
    """Maps, and constants, one after the other along an axis of positions."""
    maps = [value for value in values if value.dynamic]
    axes = {input_axis(context.layouts[value][dim]) for value in maps}
    axis = axes.pop()
    if axes or axis is None:
        raise UnsupportedOp("concatenates maps along different axes")
    layout = context.layouts[maps[0]]
    if any(units(context.layouts[value]).keys() != units(layout).keys() for value in maps):
        raise UnsupportedOp("concatenates a map with one whose positions were reduced")
    total = sum(value.shape[dim] for value in values)
    placed: list[tuple[Value, tuple[Window, ...]]] = []
    start = 0
    for value in values:
        size = value.shape[dim]
        if value.dynamic:
            window = Gathered(tuple((i - start,) if start <= i < start + size else () for i in range(total)))
            others = units(context.layouts[value])
            windows = (window if each == axis else Sliding(kernel=1) for each in range(context.axes))
            assert axis in others, others
            placed.append((value, tuple(windows)))
        start += size
    after = (*layout[:dim], (Factor(total, axis),), *layout[dim + 1 :])
    return Effect(type="concat", layout=after, placed=tuple(placed))


def _extend(layout: Layout, dim: int, *, before: int, size: int, context: Context) -> Effect:
    """Constants before and after a map along its positions."""
    large = [factor for factor in layout[dim] if factor.size > 1]
    old = prod(factor.size for factor in large)
    if len(large) == 1 and isinstance(large[0].of, int):
        factor = Factor(size, large[0].of)
        reads = context.reads({large[0].of: Sliding(kernel=1, before=before, after=size - old - before)})
        return Effect(type="concat", layout=(*layout[:dim], (factor,), *layout[dim + 1 :]), reads=reads)
    if any(factor.of is not Role.TOKENS and not isinstance(factor.of, int) for factor in large):
        raise UnsupportedOp("concatenates constants and positions that a reshape has merged with channels")
    tokens = Factor(size, Role.TOKENS, grid=tuple(large), before=before)
    return Effect(type="concat", layout=(*layout[:dim], (tokens,), *layout[dim + 1 :]))


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
    axis = input_axis(layout[dim]) if axes_of(layout[dim]) else None
    size = value.shape[dim]
    factors = free(len(operation.index)) if axis is None else (Factor(len(operation.index), axis),)
    after = (*layout[:dim], factors, *layout[dim + 1 :])
    if axis is None:
        return Effect(type="slice", layout=after, minor=True)
    return Effect(
        type="slice",
        layout=after,
        reads=context.reads({axis: Gathered(tuple((each % size,) for each in operation.index))}),
    )


def rotate(operation: Operation, context: Context) -> Effect:
    """`rot90`: two axes are exchanged, and one or both read backwards."""
    a = operation.arguments
    value: Value = a["self"]
    turns = a["k"] % 4
    first, second = (dim % len(value.shape) for dim in a["dims"])
    layout = list(context.layout(value))
    # One turn is a transposition after the second axis has been reversed, three after the first.
    backwards = {0: (), 1: (second,), 2: (first, second), 3: (first,)}[turns]
    windows: dict[int, Window] = {}
    for dim in backwards:
        axis = input_axis(layout[dim]) if axes_of(layout[dim]) else None
        if axis is not None:
            windows[axis] = Gathered(tuple((each,) for each in reversed(range(value.shape[dim]))))
    if turns % 2:
        layout[first], layout[second] = layout[second], layout[first]
    return Effect(type="rot90", layout=tuple(layout), reads=context.reads(windows))


def unfold_axis(operation: Operation, context: Context) -> Effect:
    """`Tensor.unfold`: windows along one axis, whose positions become a new last axis."""
    a = operation.arguments
    value: Value = a["self"]
    dim = a["dimension"] % len(value.shape)
    layout = context.layout(value)
    axis = input_axis(layout[dim]) if axes_of(layout[dim]) else None
    count = operation.outputs[0].shape[dim]
    factors = free(count) if axis is None else (Factor(count, axis),)
    after = (*layout[:dim], factors, *layout[dim + 1 :], free(a["size"]))
    if axis is None:
        return _view(after)
    window = Sliding(kernel=a["size"], stride=a["step"])
    return Effect(type="unfold", layout=after, reads=context.reads({axis: window}))


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
