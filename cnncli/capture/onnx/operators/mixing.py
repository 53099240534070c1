"""Operators that combine numbers along whole axes: norms, softmax, reductions, matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.capture.onnx.operators.registry import Spec, Unsupported, axes_of, operator, scalar
from cnncli.capture.record import as_operator

_MATRIX = 2


@operator("Gemm", weights=(1, 2))
def gemm(spec: Spec, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """`alpha a b + beta c`, with a or b transposed."""
    alpha, beta = spec.get("alpha", 1.0), spec.get("beta", 1.0)
    a = a.T if spec.get("transA", 0) else a
    c = None if c is None or beta == 0 else c
    if alpha == 1 and beta == 1 and (c is None or c.ndim == 1):
        weight = b if spec.get("transB", 0) else b.T
        if c is None or c.shape[0] == weight.shape[0]:
            return functional.linear(a, weight, c)
    product = torch.mm(a, b.T if spec.get("transB", 0) else b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else product + (c if beta == 1 else c * beta)


@operator("MatMul", weights=(0, 1))
def matmul(_spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """Matrix products, as in NumPy."""
    return torch.matmul(a, b)


@operator("Einsum")
def einsum(spec: Spec, *values: Tensor) -> Tensor:
    """Products and sums along named axes."""
    return torch.einsum(spec.get("equation"), *values)


@operator("Attention")
def attention(
    spec: Spec,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Any:
    """Attention of (N, heads, positions, features), or (N, positions, heads * features), in matrix products."""
    window = max(spec.get("left_window_size", -1), spec.get("right_window_size", -1))
    if lengths is not None or window >= 0:
        raise Unsupported("has padded keys or a window")
    flat, mode = query.ndim == 3, spec.get("qk_matmul_output_mode", 0)
    if flat:
        query = _with_heads(query, spec.get("q_num_heads"))
        key, value = (_with_heads(each, spec.get("kv_num_heads")) for each in (key, value))
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    present, past = (key, value), 0 if past_key is None else past_key.shape[2]
    if query.shape[1] != key.shape[1]:
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], 1) for each in (key, value))
    root = spec.get("scale", query.shape[-1] ** -0.5) ** 0.5
    scores = torch.matmul(query * root, (key * root).transpose(2, 3))
    if spec.outputs > 3 and mode in (1, 2):
        raise Unsupported("returns the products of queries and keys in between")
    raw = scores
    if spec.get("softcap", 0.0):
        scores = spec.get("softcap") * torch.tanh(scores / spec.get("softcap"))
    if spec.get("is_causal", 0):
        later = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1 + past)
        scores = scores.masked_fill(later.to(scores.device), -torch.inf)
    if mask is not None:
        short = scores.shape[-1] - mask.shape[-1]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool and not short else scores + mask
    weights = torch.softmax(scores, -1)
    result = torch.matmul(weights, value)
    result = result.transpose(1, 2).flatten(2) if flat else result
    return (result, *present, raw if mode == 0 else weights)[: spec.outputs] if spec.outputs > 1 else result


def _with_heads(x: Tensor, heads: int) -> Tensor:
    """(N, positions, heads * features) to (N, heads, positions, features)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


@operator("BatchNormalization", weights=(1, 2), buffers=(3, 4))
def batch_norm(spec: Spec, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Any:
    """Scale and shift of each channel by fixed statistics, or, in training, by those of the batch."""
    training = bool(spec.get("training_mode", 0))
    if spec.get("spatial", 1) == 0:
        raise Unsupported("normalizes each position by itself")
    epsilon = spec.get("epsilon", 1e-5)
    result = functional.batch_norm(x, mean, var, scale, shift, training=training, momentum=0.0, eps=epsilon)
    return (result, mean, var, mean, var)[: spec.outputs] if spec.outputs > 1 else result


@operator("InstanceNormalization", weights=(1, 2))
def instance_norm(spec: Spec, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Mean and variance of each map."""
    return functional.instance_norm(x, weight=scale, bias=shift, eps=spec.get("epsilon", 1e-5))


@operator("GroupNormalization", weights=(1, 2))
def group_norm(spec: Spec, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Mean and variance of each group of channels; before version 21 one scale and shift for each group."""
    groups = spec.get("num_groups")
    if scale.shape[0] == groups != x.shape[1]:
        times = x.shape[1] // groups
        scale, shift = scale.repeat_interleave(times), shift.repeat_interleave(times)
    return functional.group_norm(x, groups, scale, shift, spec.get("epsilon", 1e-5))


@operator("LayerNormalization", weights=(1, 2))
def layer_norm(spec: Spec, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Any:
    """Mean and variance over the last axes."""
    axis, epsilon = spec.get("axis", -1) % x.ndim, spec.get("epsilon", 1e-5)
    result = functional.layer_norm(x, x.shape[axis:], _over(scale, x, axis), _over(shift, x, axis), epsilon)
    if spec.outputs == 1:
        return result
    axes = list(range(axis, x.ndim))
    variance = x.var(axes, correction=0, keepdim=True)
    return result, x.mean(axes, keepdim=True), (variance + epsilon).rsqrt()


@operator("RMSNormalization", weights=(1,))
def rms_norm(spec: Spec, x: Tensor, scale: Tensor) -> Tensor:
    """Root of the mean square over the last axes."""
    axis = spec.get("axis", -1) % x.ndim
    return functional.rms_norm(x, x.shape[axis:], _over(scale, x, axis), spec.get("epsilon", 1e-5))


def _over(weight: Tensor | None, x: Tensor, axis: int) -> Tensor | None:
    """A weight with the shape of the last axes."""
    return weight if weight is None or weight.shape == x.shape[axis:] else weight.expand(x.shape[axis:])


@operator("LRN")
def local_response_norm(spec: Spec, x: Tensor) -> Tensor:
    """Division by the squares of neighboring channels."""
    size, alpha, beta = spec.get("size"), spec.get("alpha", 1e-4), spec.get("beta", 0.75)

    def compute() -> Tensor:
        return functional.local_response_norm(x, size, alpha, beta, spec.get("bias", 1.0))

    return as_operator("local_response_norm", {"self": x, "size": size}, compute)


@operator("LpNormalization")
def lp_norm(spec: Spec, x: Tensor) -> Tensor:
    """Division by the p-norm along an axis."""
    axis, power = spec.get("axis", -1), spec.get("p", 2)
    return torch.div(x, torch.linalg.vector_norm(x, power, axis, keepdim=True))


@operator("MeanVarianceNormalization")
def mean_variance_norm(spec: Spec, x: Tensor) -> Tensor:
    """Mean and variance along some axes, by default of each channel over all images."""
    axes = list(spec.get("axes", [0, 2, 3]))
    centered = x - x.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True).sqrt() + 1e-9)


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(spec: Spec, x: Tensor) -> Tensor:
    """Along one axis; before version 13 along that and all that follow."""
    axis = spec.get("axis", 1 if spec.version < 13 else -1) % x.ndim
    shape = x.shape
    if spec.version < 13 and any(size > 1 for size in shape[axis + 1 :]):
        x = x.flatten(axis)
    match spec.name:
        case "Softmax":
            result = torch.softmax(x, axis)
        case "LogSoftmax":
            result = torch.log_softmax(x, axis)
        case _:
            arguments = {"self": x, "dim": axis, "half_to_float": False}
            result = as_operator(
                "_softmax", arguments, lambda: torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1.0)
            )
    return result.reshape(shape)


_REDUCTIONS: dict[str, Any] = {
    "ReduceSum": torch.sum,
    "ReduceMean": torch.mean,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceLogSumExp": torch.logsumexp,
}


@operator(*_REDUCTIONS, "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", numbers=(1,))
def reduction(spec: Spec, x: Tensor, given: np.ndarray | None = None) -> Tensor:
    """All numbers along some axes become one; without axes, of all axes."""
    axes = axes_of(spec, given, x.ndim)
    if not axes:
        if spec.get("noop_with_empty_axes", 0):
            return torch.clone(x)
        axes = list(range(x.ndim))
    keep = bool(spec.get("keepdims", 1))
    match spec.name:
        case "ReduceL1" | "ReduceL2":
            norms: Tensor = torch.linalg.vector_norm(x, int(spec.name[-1]), axes, keepdim=keep)
            return norms
        case "ReduceSumSquare":
            return torch.sum(torch.square(x), axes, keepdim=keep)
        case "ReduceLogSum":
            return torch.log(torch.sum(x, axes, keepdim=keep))
        case "ReduceProd":
            for axis in sorted(axes, reverse=True):
                x = torch.prod(x, axis, keepdim=keep)
            return x
    result: Tensor = _REDUCTIONS[spec.name](x, axes, keepdim=keep)
    return result


@operator("ArgMax", "ArgMin")
def arg_extremum(spec: Spec, x: Tensor) -> Tensor:
    """The position of the largest or smallest number along an axis."""
    find = torch.argmax if spec.name == "ArgMax" else torch.argmin
    return find(x, spec.get("axis", 0), keepdim=bool(spec.get("keepdims", 1)))


@operator("TopK", numbers=(1,))
def top_k(spec: Spec, x: Tensor, count: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """The largest or smallest numbers along an axis, and their positions."""
    number = scalar(count, spec.get("k"))
    values, places = torch.topk(x, number, spec.get("axis", -1), largest=bool(spec.get("largest", 1)))
    return values, places


@operator("CumSum", "CumProd", numbers=(1,))
def scan(spec: Spec, x: Tensor, axis: np.ndarray) -> Tensor:
    """Sums or products up to each position, or, reversed, from it on; `exclusive` without its own."""
    along = scalar(axis)
    add_up = torch.cumsum if spec.name == "CumSum" else torch.cumprod
    reverse, exclusive = spec.get("reverse", 0), spec.get("exclusive", 0)
    x = x.flip(along) if reverse else x
    if exclusive:
        first = torch.full_like(x.narrow(along, 0, 1), 0 if spec.name == "CumSum" else 1)
        x = torch.cat([first, x.narrow(along, 0, x.shape[along] - 1)], along)
    result = add_up(x, along)
    return result.flip(along) if reverse else result


@operator("DFT", numbers=(1, 2))
def fourier(spec: Spec, x: Tensor, length: np.ndarray | None = None, axis: np.ndarray | None = None) -> Tensor:
    """The discrete Fourier transform along an axis of (..., 1) or (..., 2), which is complex."""
    along = (scalar(axis, -2) if spec.version >= 20 else spec.get("axis", 1)) % x.ndim
    onesided, inverse = spec.get("onesided", 0), spec.get("inverse", 0)
    if scalar(length) is not None or (onesided and inverse):
        raise Unsupported("is a Fourier transform of another length, or back to real numbers")
    value = torch.view_as_complex(x.contiguous()) if x.shape[-1] == _MATRIX else x[..., 0]
    if onesided:
        return torch.view_as_real(torch.fft.rfft(value, dim=along))
    transform = torch.fft.ifft if inverse else torch.fft.fft
    return torch.view_as_real(transform(value, dim=along))
