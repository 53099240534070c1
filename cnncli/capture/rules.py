"""The rule for each operator of ATen that is supported, by its name."""

from dataclasses import replace

import torch
from torch import Tensor

from cnncli.capture import mixing, rearranging, sampling, spatial
from cnncli.capture.effect import Context, Effect, Rule
from cnncli.capture.joining import join_elementwise, same_positions, simplest
from cnncli.capture.layout import (
    Factor,
    Factors,
    Layout,
    UnsupportedOp,
    axes_of,
    broadcast,
    canonical,
    corresponds,
    free,
    has_batch,
    input_axis,
)
from cnncli.capture.outputs import LAST_STATE, RECURRENT
from cnncli.capture.record import Operation, Value
from cnncli.capture.regions import Region
from cnncli.layers import Reach
from cnncli.windows import Window


def elementwise(operation: Operation, context: Context) -> Effect:
    """Elementwise operators of one tensor, or of several that are broadcast."""
    dynamic = [value for value in operation.inputs if value.dynamic]
    layouts = [context.layout(value) for value in dynamic]
    if len(dynamic) > 1 and not (same_positions(layouts) and corresponds(layouts)):
        layout, placed = join_elementwise(dynamic, operation.outputs[0].shape, context)
        if placed:
            return Effect(type=operation.name, layout=layout, placed=placed)
    else:
        layout = broadcast(layouts, operation.outputs[0].shape)
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
    """A tensor after parts of it were written, such as some of its channels or positions."""
    a = operation.arguments
    shape = operation.outputs[0].shape
    values: list[Value] = [a["self"], *a["written"]]
    regions: list[Region | None] = [Region(tuple(map(range, shape)), tuple(range(len(shape)))), *a["regions"]]
    owner = torch.zeros(shape, dtype=torch.int16)
    operands: list[tuple[Value, Layout, Region]] = []
    for number, (value, region) in enumerate(zip(values, regions, strict=True)):
        if region is None or number > _MAX_WRITES:
            raise UnsupportedOp("a part of it was overwritten after it was computed")
        owner[tuple(slice(each.start, each.stop, each.step) for each in region.ranges)] = number
        if value.dynamic:
            layout = context.layouts[value]
            operands.append((value, tuple(() if own is None else layout[own] for own in region.axes), region))
    return _overlaid(
        operation, operands, owner, [number for number, value in enumerate(values) if value.dynamic], context
    )


_MAX_WRITES = 1 << 14
"""More writes to one tensor are not followed."""


def _overlaid(
    operation: Operation,
    operands: list[tuple[Value, Layout, Region]],
    owner: Tensor,
    numbers: list[int],
    context: Context,
) -> Effect:
    """The effect of writing tensors into parts of another one.

    Args:
        operation: what stands for the writes.
        operands: each tensor with its layout, one for each axis of the whole, and the part where it was written.
        owner: for each element of the whole the number of the tensor that was written there last.
        numbers: of the operands.
        context: of the values known so far.
    """
    shape = operation.outputs[0].shape
    after: list[Factors] = []
    windows: list[dict[int, Window]] = [{} for _ in operands]
    for dim, size in enumerate(shape):
        positioned = [layout[dim] for _, layout, _ in operands if axes_of(layout[dim])]
        axes = {input_axis(factors) for factors in positioned}
        whole = [layout[dim] for _, layout, region in operands if len(region.ranges[dim]) == size]
        if not axes:
            images = [factors for factors in whole if has_batch((factors,))]
            if images and len(whole) < len(operands):
                raise UnsupportedOp("is overwritten for some images of a batch")
            after.append(images[0] if images else whole[0] if whole else free(size))
            continue
        axis = axes.pop()
        if axes or axis is None:
            raise UnsupportedOp("writes maps along different axes")
        after.append((Factor(size, axis),))
        for (_, layout, region), number, found in zip(operands, numbers, windows, strict=True):
            present = (owner == number).movedim(dim, 0).reshape(size, -1).any(1).tolist()
            single = not axes_of(layout[dim])
            places = {position: 0 if single else i for i, position in enumerate(region.ranges[dim])}
            positions = tuple((places[i],) if here else () for i, here in enumerate(present))
            window = simplest(positions, 1 if single else len(places))
            if window is not None and not (single and all(present)):
                found[axis] = window
    placed = tuple((value, context.reads(found)) for (value, _, _), found in zip(operands, windows, strict=True))
    if all(reads is Reach.SAME for _, reads in placed):
        placed = ()
    return Effect(type="concat", layout=tuple(after), placed=placed)


def outside(operation: Operation, context: Context) -> Effect:
    """A tensor of unknown origin, after another one was exported from torch."""
    raise UnsupportedOp("may be computed outside of torch, for example with numpy()")


COPIES = ("_to_copy", "clone", "detach", "alias", "lift_fresh")
"""Operators that copy a tensor, also to another type of numbers."""

_TABLE: list[tuple[Rule, str]] = [
    # Elementwise, but not tagged so in ATen.
    (elementwise, "hardswish prelu _prelu_kernel log_sigmoid_forward copy rrelu_with_noise native_dropout dropout"),
    (elementwise, "channel_shuffle floor_divide cond"),
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
    (mixing.bilinear, "_trilinear"),
    (sampling.sample, "grid_sampler_2d grid_sampler_3d deform_conv2d"),
    (sampling.affine_grid, "affine_grid_generator"),
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
    effect = replace(effect, layout=canonical(effect.layout))
    if not has_batch(effect.layout) and any(has_batch(context.layouts[v]) for v in operation.inputs if v.dynamic):
        raise UnsupportedOp("splits the batch, or mixes its images")
    return mixing.follow_scores(operation, effect, context)
