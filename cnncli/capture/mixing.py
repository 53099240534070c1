"""Rules for operators that combine numbers along whole axes: norms, softmax, reductions, matrix products."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from cnncli.capture.effect import Context, Effect, Scores
from cnncli.capture.joining import Operand, join, same_positions
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
from cnncli.capture.moving import through_windows
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
    if any(factor.of is Role.BATCH for factor in layout[1]):
        return _normalized("instance_norm", layout, layout[2:], context)
    # The statistics are those of all images of the batch, and with one image those of its map.
    return replace(
        _normalized("batch_norm", layout, (layout[0], *layout[2:]), context),
        note="it has no running statistics, and takes those of the batch: its units depend on all images in it",
    )


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
    # Of a flattened map, and of a piece, no axis remains.
    if any(len(axes_of(layout[dim])) > 1 or any(factor.whole for factor in layout[dim]) for dim in over):
        after = tuple(() if dim in over else factors for dim, factors in enumerate(layout))
        return Effect(
            type=type, layout=after, reads=context.reads_along([layout], after, [layout[dim] for dim in over])
        )
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
    placed: tuple[tuple[Value, Reads], ...] = ()
    reads = context.reads_along(layouts, after, over) if same_positions(layouts) else None
    if both and reads not in (Reach.SAME, Reach.ALL):  # in windows, each tensor is read in its own way
        operands = [
            Operand(left, (*layouts[0][:-2], rows, ()), (layouts[0][-1],)),
            Operand(right, (*layouts[1][:-2], (), () if keys else columns), tuple(over[1:])),
        ]
        after, placed = join(operands, shape, context)
    images = max(batch_size(layout) for layout in layouts) if any(map(has_batch, layouts)) else None
    effect = Effect(
        type="matmul" if both else "linear",
        layout=after,
        reads=Reach.SAME if placed or reads is None else reads,
        placed=placed,
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
    return replace(effect, reads=reads, placed=(), zeros=~scores.visible, upper_bound=len(scores.keys) > 1)


def bilinear(operation: Operation, context: Context) -> Effect:
    """`torch.nn.Bilinear`: every weight is multiplied with a number of each of two tensors."""
    a = operation.arguments
    values = [value for value in (a["i1"], a["i3"]) if value.dynamic]
    shape = operation.outputs[0].shape
    if len(a["i2"].shape) != 3 or a["i2"].dynamic or a["sumdim"] != [2, 3]:
        raise UnsupportedOp("the operator _trilinear is not supported in this form")
    layouts = [context.layout(value) for value in values]
    operands = [Operand(value, (layout[0], ()), (layout[1],)) for value, layout in zip(values, layouts, strict=True)]
    after, placed = join(operands, shape, context)
    images = batch_size(after) if has_batch(after) else None
    return Effect(
        type="bilinear",
        layout=after,
        placed=placed,
        macs=None if images is None else shape[0] * a["i2"].numel // images,
    )


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
        return replace(effect, reads=reads, placed=(), zeros=operation.zeros, upper_bound=len(scores.keys) > 1)
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


def scan(operation: Operation, context: Context) -> Effect:
    """`cumsum` and similar: a unit reads the positions up to its own."""
    a = operation.arguments
    layout = context.layout(a["self"])
    dim = a["dim"] % len(layout)
    if not axes_of(layout[dim]):
        return Effect(type=operation.name, layout=layout, minor=True)
    window = Gathered(tuple(tuple(range(unit + 1)) for unit in range(a["self"].shape[dim])))
    after, reads = through_windows(layout, {dim: window}, context)
    return Effect(type=operation.name, layout=after, reads=reads)


def transform(operation: Operation, context: Context) -> Effect:
    """Fourier transforms: every number depends on all along some axes, of which the last may change its size."""
    a = operation.arguments
    before = context.layout(a["self"])
    dims = {dim % len(before) for dim in a["dim"]}
    if any(factor.of is Role.BATCH for dim in dims for factor in before[dim]):
        raise UnsupportedOp("mixes the images of a batch")
    after = list(before)
    for dim in dims:
        size = operation.outputs[0].shape[dim]
        if size != a["self"].shape[dim]:
            axis = input_axis(before[dim]) if axes_of(before[dim]) else None
            after[dim] = free(size) if axis is None else (Factor(size, axis),)
    reads = context.reads_along([before], tuple(after), [before[dim] for dim in dims])
    return Effect(type=operation.name.strip("_"), layout=tuple(after), reads=reads)


def order(operation: Operation, context: Context) -> Effect:
    """`sort`, `topk` and similar: every number depends on all along one axis."""
    a = operation.arguments
    before = context.layout(a["self"])
    dim = a["dim"] % len(before)
    if any(factor.of is Role.BATCH for factor in before[dim]):
        raise UnsupportedOp("mixes the images of a batch")
    shape = operation.outputs[0].shape
    same = len(shape) == len(before) and shape[dim] == a["self"].shape[dim]
    kept: tuple[Factors, ...] = (before[dim],) if same else (free(shape[dim]),) if len(shape) == len(before) else ()
    after = (*before[:dim], *kept, *before[dim + 1 :])
    return Effect(type=operation.name, layout=after, reads=context.reads_along([before], after, [before[dim]]))


def gather(operation: Operation, context: Context) -> Effect:
    """Numbers along one axis at places that may depend on the input: each of them may be read."""
    a = operation.arguments
    source, index = a["self"], a["index"]
    layouts = [context.layouts[value] for value in (source, index) if value.dynamic]
    dim = a["dim"] % len(source.shape)
    shape = operation.outputs[0].shape
    if not source.dynamic or any(n != m for i, (n, m) in enumerate(zip(source.shape, shape, strict=True)) if i != dim):
        raise UnsupportedOp("gathers from a part of a map")
    others = {tuple(f for i, f in enumerate(layout) if i != dim and axes_of(f)) for layout in layouts}
    others.discard(())
    if len(others) > 1:
        raise UnsupportedOp("combines maps whose axes do not correspond")
    at = context.layouts[index][dim] if index.dynamic and axes_of(context.layouts[index][dim]) else free(shape[dim])
    before = layouts[0]
    after = (*before[:dim], at, *before[dim + 1 :])
    return Effect(type="gather", layout=after, reads=context.reads_along(layouts, after, [before[dim]]))


def recurrent(operation: Operation, context: Context) -> Effect:
    """LSTM, GRU and RNN along one axis of positions: a unit reads those up to its own, or all in both directions."""
    layout, sequence, bidirectional = _recurrent(operation, context)
    value = operation.arguments["0"]
    after = [layout[0], layout[1], free(operation.outputs[0].shape[2])]
    features = layout[2]
    if axes_of(features) or has_batch((layout[sequence],)):
        raise UnsupportedOp("runs over images, or positions as features")
    assert isinstance(value, Value)
    macs = _recurrent_macs(operation) // batch_size(layout) if has_batch(layout) else None
    if not axes_of(layout[sequence]):
        return Effect(type=operation.name, layout=tuple(after), macs=macs)
    count = value.shape[sequence]
    everything = tuple(range(count))
    window = Gathered(tuple(everything if bidirectional else everything[: unit + 1] for unit in range(count)))
    scanned, reads = through_windows(tuple(after), {sequence: window}, context)
    return Effect(type=operation.name, layout=scanned, reads=reads, macs=macs)


def _recurrent(operation: Operation, context: Context) -> tuple[Layout, int, bool]:
    """The layout of the input, which of its axes is the sequence, and whether the layer runs in both directions.

    The arguments of `torch.lstm` and its like are the input, states, weights, has_biases, num_layers, dropout, train,
    bidirectional, batch_first.
    """
    a = operation.arguments
    layout = context.layout(a["0"])
    if len(layout) != 3 or not isinstance(a.get("8"), bool):
        raise UnsupportedOp("is a recurrent layer over a packed or single sequence")
    return layout, 1 if a["8"] else 0, bool(a["7"])


def _recurrent_macs(operation: Operation) -> int:
    """Multiply-accumulates for the batch: each weight matrix is used once at each position."""
    a = operation.arguments
    positions: int = prod(a["0"].shape[:2])
    return positions * sum(int(weight.numel) for weight in a["2"] if len(weight.shape) == 2)


def last_state(operation: Operation, context: Context) -> Effect:
    """The state of a recurrent layer after its last position: it reads what any position reads."""
    output = operation.arguments["self"]
    layout = context.layout(output)
    state = operation.outputs[0]
    batch = [factors for factors in layout[:2] if any(factor.of is Role.BATCH for factor in factors)]
    sequence = [factors for factors in layout[:2] if factors not in batch]
    if len(batch) != 1:
        raise UnsupportedOp("is a recurrent layer over a packed or single sequence")
    after = (free(state.shape[0]), batch[0], free(state.shape[2]))
    return Effect(type="state", layout=after, reads=context.reads_along([layout], after, sequence))
