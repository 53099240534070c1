"""The rule for each operator of ATen that is supported, by its name."""

from dataclasses import replace
from math import prod

from cnncli.capture import mixing, rearranging, spatial
from cnncli.capture.effect import Context, Effect, Rule
from cnncli.capture.layout import UnsupportedOp, axes_of, broadcast, free, has_batch
from cnncli.capture.outputs import LAST_STATE, RECURRENT
from cnncli.capture.record import Operation


def elementwise(operation: Operation, context: Context) -> Effect:
    """Elementwise operators of one tensor, or of several that are broadcast."""
    dynamic = [value for value in operation.inputs if value.dynamic]
    layout = broadcast([context.layout(value) for value in dynamic], operation.outputs[0].shape)
    by_constant = operation.name in ("mul", "div") and len(dynamic) == 1 and not any(v.state for v in operation.inputs)
    return Effect(type=operation.name, layout=layout, minor=True, by_constant=by_constant)


def copy(operation: Operation, context: Context) -> Effect:
    """A copy."""
    return replace(elementwise(operation, context), view=True)


def glu(operation: Operation, context: Context) -> Effect:
    """Gated linear units: one half of the channels times the sigmoid of the other."""
    layout = list(context.layout(operation.arguments["self"]))
    dim = operation.arguments["dim"]
    if axes_of(layout[dim]):
        raise UnsupportedOp("splits a map along its positions")
    layout[dim] = free(operation.outputs[0].shape[dim])
    return Effect(type="glu", layout=tuple(layout))


def overwritten(operation: Operation, context: Context) -> Effect:
    """A tensor after whole maps were written into its memory; anything else is not supported."""
    whole, written = operation.arguments["self"], operation.arguments["written"]
    layouts = [context.layouts[value] for value in (whole, *written) if value.dynamic]
    shape = operation.outputs[0].shape
    maps = operation.arguments["aligned"] and all(value.numel < prod(shape) for value in written)
    for dim, size in enumerate(shape):
        maps = maps and (
            all(value.shape[dim] == size for value in written) or not any(axes_of(layout[dim]) for layout in layouts)
        )
    if not maps:
        raise UnsupportedOp("a part of it was overwritten after it was computed")
    full = [value.shape for value in (whole, *written) if value.dynamic]
    fitted = [
        tuple(factors if sizes[dim] == shape[dim] else free(shape[dim]) for dim, factors in enumerate(layout))
        for sizes, layout in zip(full, layouts, strict=True)
    ]
    return Effect(type="concat", layout=broadcast(fitted, shape))


def outside(operation: Operation, context: Context) -> Effect:
    """A tensor of unknown origin, after another one was exported from torch."""
    raise UnsupportedOp("may be computed outside of torch, for example with numpy()")


COPIES = ("_to_copy", "clone", "detach", "alias", "lift_fresh")
"""Operators that copy a tensor, also to another type of numbers."""

_TABLE: list[tuple[Rule, str]] = [
    # Elementwise, but not tagged so in ATen.
    (elementwise, "hardswish prelu _prelu_kernel log_sigmoid_forward copy rrelu_with_noise native_dropout dropout"),
    (elementwise, "channel_shuffle floor_divide"),
    (glu, "glu"),
    (copy, " ".join(COPIES)),
    (copy, "identity"),
    (overwritten, "overwritten"),
    (outside, "outside"),
    (spatial.convolution, "convolution"),
    (spatial.constant_pad, "constant_pad_nd"),
    (spatial.border_pad("reflect"), "reflection_pad1d reflection_pad2d reflection_pad3d"),
    (spatial.border_pad("replicate"), "replication_pad1d replication_pad2d replication_pad3d"),
    (spatial.border_pad("circular"), "circular_pad"),
    (spatial.pool("max_pool"), "max_pool1d max_pool2d_with_indices max_pool3d_with_indices"),
    (spatial.pool("avg_pool"), "avg_pool1d avg_pool2d avg_pool3d"),
    (spatial.adaptive_pool("adaptive_avg_pool"), "_adaptive_avg_pool2d _adaptive_avg_pool3d"),
    (spatial.adaptive_pool("adaptive_max_pool"), "adaptive_max_pool2d adaptive_max_pool3d"),
    (spatial.adaptive_pool("global_avg_pool"), "global_avg_pool"),
    (spatial.adaptive_pool("global_max_pool"), "global_max_pool"),
    (spatial.sliding, "sliding"),
    (spatial.local_response_norm, "local_response_norm"),
    (spatial.upsample, " ".join(spatial.UPSAMPLES)),
    (spatial.pixel_shuffle, "pixel_shuffle"),
    (spatial.pixel_unshuffle, "pixel_unshuffle"),
    (spatial.move, "roll flip"),
    (rearranging.reshape, "view _unsafe_view as_strided"),
    (rearranging.unsqueeze, "unsqueeze"),
    (rearranging.squeeze, "squeeze"),
    (rearranging.expand, "expand"),
    (rearranging.permute, "permute transpose t"),
    (rearranging.slice_axis, "slice select split split_with_sizes unbind"),
    (rearranging.repeat, "repeat"),
    (rearranging.concat, "cat stack"),
    (rearranging.unfold, "im2col"),
    (mixing.batch_norm, "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training"),
    (mixing.batch_norm, "cudnn_batch_norm"),
    (mixing.group_norm, "native_group_norm"),
    (mixing.layer_norm, "native_layer_norm _fused_rms_norm"),
    (mixing.softmax, "_softmax _log_softmax _safe_softmax"),
    (mixing.reduction, "mean sum amax amin var std prod logsumexp max min argmax argmin any all var_mean std_mean"),
    (mixing.reduction, "linalg_vector_norm"),
    (mixing.matmul, "mm addmm bmm baddbmm"),
    (mixing.scan, "cumsum cumprod cummax cummin logcumsumexp _cummax_helper _cummin_helper"),
    (mixing.transform, "_fft_c2c _fft_r2c _fft_c2r"),
    (mixing.order, "sort topk kthvalue median nanmedian mode"),
    (mixing.gather, "gather"),
    (mixing.recurrent, " ".join(RECURRENT)),
    (mixing.last_state, LAST_STATE),
    (rearranging.pick, "index_select index"),
    (rearranging.rotate, "rot90"),
    (rearranging.unfold_axis, "unfold"),
    (rearranging.fold, "col2im"),
    (rearranging.with_parts, "view_as_real view_as_complex"),
]
RULES: dict[str, Rule] = {name: rule for rule, names in _TABLE for name in names.split()}
"""The rule of each operator of ATen; operators that ATen tags as pointwise need none."""


def effect_of(operation: Operation, context: Context) -> Effect:
    """The effect of an operation.

    Raises:
        UnsupportedOp: there is no rule for the operation, or not for these arguments.
    """
    rule = RULES.get(operation.name)
    if rule is None and operation.pointwise:
        rule = elementwise
    if rule is None:
        raise UnsupportedOp(operation.arguments.get("reason") or f"the operator {operation.name} is not supported")
    effect = rule(operation, context)
    if not has_batch(effect.layout) and any(has_batch(context.layouts[v]) for v in operation.inputs if v.dynamic):
        raise UnsupportedOp("splits the batch, or mixes its images")
    return mixing.follow_scores(operation, effect, context)
