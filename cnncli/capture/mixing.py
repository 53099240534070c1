"""Rules for operators that combine numbers along whole axes: norms, softmax, reductions, matrix products."""

from collections.abc import Sequence
from math import prod

from cnncli.capture.effect import Context, Effect
from cnncli.capture.layout import (
    Factor,
    Factors,
    Layout,
    Role,
    UnsupportedOp,
    axes_of,
    batch_size,
    free,
    has_batch,
    input_axis,
    most_specific,
)
from cnncli.capture.record import Operation, Value
from cnncli.layers import Reach
from cnncli.windows import Adaptive, Window

LEFT_AND_RIGHT = {
    "mm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}
"""Every matrix product -> the names of its two matrices."""


def batch_norm(operation: Operation, context: Context) -> Effect:
    """With running statistics a fixed scale and shift; without them instance norm, over each map."""
    a = operation.arguments
    layout = context.layout(a["input"])
    if not a.get("training", False):
        return Effect(type="batch_norm", layout=layout, minor=True)
    if not any(factor.of is Role.BATCH for factor in layout[1]):
        raise UnsupportedOp("normalizes over the images of a batch, because it has no running statistics")
    return _normalized("instance_norm", layout, layout[2:], context)


def group_norm(operation: Operation, context: Context) -> Effect:
    """Mean and variance of each group of channels over the whole map."""
    layout = context.layout(operation.arguments["input"])
    return _normalized("group_norm", layout, layout[1:], context)


def layer_norm(operation: Operation, context: Context) -> Effect:
    """Mean and variance over the last axes, which may be channels, positions or both."""
    a = operation.arguments
    layout = context.layout(a["input"])
    return _normalized("layer_norm", layout, layout[-len(a["normalized_shape"]) :], context)


def _normalized(type: str, layout: Layout, over: Sequence[Factors], context: Context) -> Effect:
    """A norm over some axes. If these contain all positions, a unit reads its own position, and the statistics."""
    reads = context.reads_along([layout], layout, over)
    if reads is Reach.ALL:
        return Effect(type=type, layout=layout, statistics=True, minor=True)
    return Effect(type=type, layout=layout, reads=reads, minor=reads is Reach.SAME)


def softmax(operation: Operation, context: Context) -> Effect:
    """Every number depends on all numbers along one axis."""
    layout = context.layout(operation.arguments["self"])
    reads = context.reads_along([layout], layout, [layout[operation.arguments["dim"]]])
    return Effect(type="softmax", layout=layout, reads=reads, minor=reads is Reach.SAME)


def reduction(operation: Operation, context: Context) -> Effect:
    """All numbers along some axes become one, such as their mean."""
    a = operation.arguments
    type = "norm" if operation.name == "linalg_vector_norm" else operation.name
    layout = context.layout(a["self"])
    given = a.get("dim")
    dims = range(len(layout)) if given is None or given == [] else [given] if isinstance(given, int) else given
    over = {dim % len(layout) for dim in dims}
    if any(factor.of is Role.BATCH for dim in over for factor in layout[dim]):
        raise UnsupportedOp("mixes the images of a batch")
    if not a.get("keepdim", False):
        after = tuple(factors for dim, factors in enumerate(layout) if dim not in over)
        return Effect(
            type=type, layout=after, reads=context.reads_along([layout], after, [layout[dim] for dim in over])
        )
    windows: dict[int, Window] = {}
    factors_after: list[Factors] = list(layout)
    for dim in over:
        axis = input_axis(layout[dim])
        if axis is None:
            factors_after[dim] = ()
            continue
        windows[axis] = Adaptive(units=1)
        factors_after[dim] = (Factor(1, axis),)
    return Effect(type=type, layout=tuple(factors_after), reads=context.reads(windows))


def matmul(operation: Operation, context: Context) -> Effect:
    """Matrix products (mm, addmm, bmm, baddbmm), over channels or over positions."""
    a = operation.arguments
    left, right = (a[name] for name in LEFT_AND_RIGHT[operation.name])
    shape = operation.outputs[0].shape
    layouts = [context.layouts.get(value, _constant(value)) for value in (left, right)]
    over = [layouts[0][-1], layouts[1][-2]]
    rows, columns = layouts[0][-2], layouts[1][-1]
    if axes_of(rows).keys() & axes_of(columns):
        # Positions by positions, as in attention: a row with all its columns counts as one unit.
        over.append(columns)
        columns = free(shape[-1])
    batches = [most_specific(pair) for pair in zip(layouts[0][:-2], layouts[1][:-2], strict=True)]
    after = (*batches, rows, columns)
    assert tuple(prod(factor.size for factor in factors) for factors in after) == shape, f"{after} for {shape}"
    both = left.dynamic and right.dynamic
    images = max(batch_size(layout) for layout in layouts) if any(map(has_batch, layouts)) else None
    return Effect(
        type="matmul" if both else "linear",
        layout=after,
        reads=context.reads_along(layouts, after, over),
        macs=None if images is None else operation.outputs[0].numel * left.shape[-1] // images,
    )


def _constant(value: Value) -> Layout:
    return tuple(free(size) for size in value.shape)
