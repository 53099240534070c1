"""Rules for operators that combine numbers along whole axes: norms, softmax, reductions, matrix products."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from cnncli.capture.effect import Context, Effect, Scores
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
from cnncli.layers.base import Reads
from cnncli.windows import Adaptive, Gathered, Window

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
    keys: Factors = ()
    if axes_of(rows).keys() & axes_of(columns):
        # Positions by positions, as in attention: a row with all its columns counts as one unit.
        over.append(columns)
        keys, columns = columns, free(shape[-1])
    batches = [most_specific(pair) for pair in zip(layouts[0][:-2], layouts[1][:-2], strict=True)]
    after = (*batches, rows, columns)
    assert tuple(prod(factor.size for factor in factors) for factors in after) == shape, f"{after} for {shape}"
    both = left.dynamic and right.dynamic
    images = max(batch_size(layout) for layout in layouts) if any(map(has_batch, layouts)) else None
    effect = Effect(
        type="matmul" if both else "linear",
        layout=after,
        reads=context.reads_along(layouts, after, over),
        macs=None if images is None else operation.outputs[0].numel * left.shape[-1] // images,
    )
    if keys:
        context.scores[operation.outputs[0]] = Scores(keys)
        return masked(operation, effect, context)
    scores = context.scores.get(left)
    if scores is None or scores.visible is None:
        return effect
    reads = _visible_positions(rows, layouts[1][-2], scores.visible, context)
    if reads is None:
        return effect
    return replace(effect, reads=reads, zeros=~scores.visible, upper_bound=len(scores.keys) > 1)


def follow_scores(operation: Operation, effect: Effect, context: Context) -> Effect:
    """Note for the output of an operator that it has the scores of its input, with what its mask hides."""
    output = operation.outputs[0] if operation.outputs else None
    source = next((value for value in operation.inputs if value.dynamic and value in context.scores), None)
    if output is None or source is None or output.shape[-2:] != source.shape[-2:] or output in context.scores:
        return effect
    over_keys = effect.type == "softmax" and operation.arguments["dim"] % len(output.shape) == len(output.shape) - 1
    if not (effect.minor and effect.reads is Reach.SAME and (effect.type != "softmax" or over_keys)):
        return effect
    context.scores[output] = context.scores[source]
    return masked(operation, effect, context)


def masked(operation: Operation, effect: Effect, context: Context) -> Effect:
    """The effect of an operator on scores, with what its mask hides."""
    if operation.zeros is None:
        return effect
    output = operation.outputs[0]
    scores = context.scores[output]
    # Visible in one head or window is visible.
    visible = (~operation.zeros).expand(output.shape).flatten(0, -3).any(0)
    if scores.visible is not None:
        visible &= scores.visible
    context.scores[output] = replace(scores, visible=visible)
    reads = _visible_positions(effect.layout[-2], scores.keys, visible, context)
    if reads is None:
        context.scores[output] = scores
        return effect
    if effect.type == "matmul":
        return replace(effect, reads=reads, zeros=operation.zeros, upper_bound=len(scores.keys) > 1)
    return replace(effect, instead=reads, zeros=operation.zeros, upper_bound=len(scores.keys) > 1)


_MAX_KEYS = 2048
"""Masks of more positions are not followed: whether they are closed costs their third power."""


def _visible_positions(rows: Factors, keys: Factors, visible: Tensor, context: Context) -> Reads | None:
    """What rows of scores read: their own position, and those that a mask leaves; None if no windows say it.

    A unit along one axis reads what any row at that position of the axis reads. Rows and keys are the same positions,
    and what a visible key reads must be visible too (as in a causal mask): a product reads the scores as well.
    """
    large = [factor for factor in keys if factor.size > 1]
    if large != [factor for factor in rows if factor.size > 1] or len(visible) > _MAX_KEYS:
        return None
    if any(not isinstance(factor.of, int) or factor.whole for factor in large):
        return None
    own = visible | torch.eye(len(visible), dtype=torch.bool)
    if not torch.equal((own.float() @ own.float()) > 0, own):
        return None
    windows: dict[int, Window] = {}
    inner = len(visible)
    for factor in large:
        assert isinstance(factor.of, int)
        inner //= factor.size
        index = torch.arange(len(visible)) // inner % factor.size  # of each position along this axis
        read: list[set[int]] = [set() for _ in range(factor.size)]
        for row in range(len(visible)):
            read[int(index[row])].update(index[own[row]].tolist())
        windows[factor.of] = Gathered(tuple(tuple(sorted(each)) for each in read))
    return context.reads(windows)


def _constant(value: Value) -> Layout:
    return tuple(free(size) for size in value.shape)
