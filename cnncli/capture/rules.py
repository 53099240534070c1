"""Which rule is whose: every operator of ATen that is followed, by its name."""

from dataclasses import replace
from itertools import chain
from math import prod

from cnncli.capture import mixing, spatial
from cnncli.capture import rearranging as arrangement
from cnncli.capture.effect import Context, Effect, Rule
from cnncli.capture.layout import UnsupportedOp, axes_of, free, has_batch, merged
from cnncli.capture.record import Operation


def pointwise(operation: Operation, context: Context) -> Effect:
    """Number by number, of one tensor or of several that are broadcast to each other."""
    dynamic = [value for value in operation.inputs if value.dynamic]
    layout = merged([context.layout(value) for value in dynamic], operation.outputs[0].shape)
    scales = operation.name in ("mul", "div") and len(dynamic) == 1 and not any(v.state for v in operation.inputs)
    return Effect(type="scale" if scales else operation.name, layout=layout, minor=True)


def copied(operation: Operation, context: Context) -> Effect:
    """The same numbers in other memory."""
    return replace(pointwise(operation, context), view=True)


def glu(operation: Operation, context: Context) -> Effect:
    """One half of the channels, gated by the other."""
    layout = list(context.layout(operation.arguments["self"]))
    dim = operation.arguments["dim"]
    if axes_of(layout[dim]):
        raise UnsupportedOp("gates one half of a map by the other")
    layout[dim] = free(operation.outputs[0].shape[dim])
    return Effect(type="glu", layout=tuple(layout))


def overwritten(operation: Operation, context: Context) -> Effect:
    """A tensor after something was written into parts of its memory: followed where these are whole maps."""
    whole, written = operation.arguments["self"], operation.arguments["written"]
    layouts = [context.layouts[value] for value in (whole, *written) if value.dynamic]
    shape = operation.outputs[0].shape
    maps = operation.arguments["aligned"] and all(value.numel < prod(shape) for value in written)
    for dim, size in enumerate(shape):
        maps = maps and (
            all(value.shape[dim] == size for value in written) or not any(axes_of(layout[dim]) for layout in layouts)
        )
    if not maps:
        raise UnsupportedOp("a part of it was written over after it was made")
    full = [value.shape for value in (whole, *written) if value.dynamic]
    fitted = [
        tuple(factors if sizes[dim] == shape[dim] else free(shape[dim]) for dim, factors in enumerate(layout))
        for sizes, layout in zip(full, layouts, strict=True)
    ]
    return Effect(type="concat", layout=merged(fitted, shape))


def outside(operation: Operation, context: Context) -> Effect:
    """A tensor of unknown origin, after numbers have left torch."""
    raise UnsupportedOp("it may be made of numbers that were taken out of torch, as by numpy()")


RULES: dict[str, Rule] = dict(
    chain(
        # Number by number, though ATen does not say so.
        [(n, pointwise) for n in ("hardswish", "prelu", "_prelu_kernel", "log_sigmoid_forward", "copy")],
        [(n, pointwise) for n in ("rrelu_with_noise", "native_dropout", "channel_shuffle", "floor_divide")],
        [(n, copied) for n in ("_to_copy", "clone", "detach", "alias", "lift_fresh", "identity")],
        [("overwritten", overwritten), ("outside", outside)],
        [("dropout", pointwise), ("glu", glu)],
        [("convolution", spatial.convolution), ("constant_pad_nd", spatial.constant_pad)],
        [(f"max_pool{n}d_with_indices", spatial.pool("max_pool")) for n in (2, 3)],
        [("max_pool1d", spatial.pool("max_pool"))],
        [(f"avg_pool{n}d", spatial.pool("avg_pool")) for n in (1, 2, 3)],
        [(f"_adaptive_avg_pool{n}d", spatial.adaptive_pool("adaptive_avg_pool")) for n in (2, 3)],
        [(f"adaptive_max_pool{n}d", spatial.adaptive_pool("adaptive_max_pool")) for n in (2, 3)],
        [(name, spatial.upsample) for name in spatial.UPSAMPLES],
        [(f"reflection_pad{n}d", spatial.border_pad("reflect")) for n in (1, 2, 3)],
        [(f"replication_pad{n}d", spatial.border_pad("replicate")) for n in (1, 2, 3)],
        [("circular_pad", spatial.border_pad("circular"))],
        [("pixel_shuffle", spatial.pixel_shuffle), ("pixel_unshuffle", spatial.pixel_unshuffle)],
        [("roll", spatial.moved), ("flip", spatial.moved)],
        [(n, arrangement.view) for n in ("view", "_unsafe_view", "as_strided")],
        [("unsqueeze", arrangement.unsqueeze), ("squeeze", arrangement.squeeze), ("expand", arrangement.expand)],
        [(n, arrangement.permute) for n in ("permute", "transpose", "t")],
        [(n, arrangement.part) for n in ("slice", "select", "split", "split_with_sizes", "unbind")],
        [("repeat", arrangement.repeat), ("cat", arrangement.concat), ("stack", arrangement.concat)],
        [("im2col", arrangement.unfold)],
        [(n, mixing.batch_norm) for n in ("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm")],
        [("_native_batch_norm_legit_no_training", mixing.batch_norm)],
        [("native_group_norm", mixing.group_norm)],
        [(n, mixing.layer_norm) for n in ("native_layer_norm", "_fused_rms_norm")],
        [(n, mixing.along("softmax")) for n in ("_softmax", "_log_softmax", "_safe_softmax")],
        [(n, mixing.reduction(n)) for n in ("mean", "sum", "amax", "amin", "var", "std", "prod", "logsumexp")],
        [(n, mixing.reduction(n)) for n in ("max", "min", "argmax", "argmin", "any", "all", "var_mean", "std_mean")],
        [("linalg_vector_norm", mixing.reduction("norm"))],
        [(n, mixing.product) for n in ("mm", "addmm", "bmm", "baddbmm")],
    )
)


def effect_of(operation: Operation, context: Context) -> Effect:
    """What an operation does to positions.

    Raises:
        UnsupportedOp: nothing here knows the operation, or not with these arguments.
    """
    rule = RULES.get(operation.name)
    if rule is None and operation.pointwise:
        rule = pointwise
    if rule is None:
        raise UnsupportedOp(f"the operator {operation.name} is not known")
    effect = rule(operation, context)
    if not has_batch(effect.layout) and any(has_batch(context.layouts[v]) for v in operation.inputs if v.dynamic):
        raise UnsupportedOp("takes a batch apart, or mixes its images")
    return effect
