"""Operators on integers that stand for numbers: `(integer - zero point) scale`."""

from __future__ import annotations

import torch
from torch import Tensor

from cnncli.capture.onnx.operators.mixing import matmul
from cnncli.capture.onnx.operators.registry import Spec, operator
from cnncli.capture.onnx.operators.spatial import convolution
from cnncli.capture.record import as_operator


def _along(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """One number for all, or one for each position along an axis, to be broadcast."""
    if value.ndim == x.ndim and value.shape != x.shape and value.numel() > 1:  # one for each block
        times = -(-x.shape[axis] // value.shape[axis])
        return value.repeat_interleave(times, axis).narrow(axis, 0, x.shape[axis])
    if value.ndim != 1 or value.numel() == 1 or x.ndim <= 1:
        return value
    shape = [1] * x.ndim
    shape[axis] = value.numel()
    return value.reshape(shape)


def _dequantized(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    def compute() -> Tensor:
        value = x.to(scale.dtype)
        if zero is not None:
            value = value - _along(zero, x, axis).to(scale.dtype)
        return value * _along(scale, x, axis)

    return as_operator("dequantize", {"self": x, "scale": scale, "zero": zero}, compute, pointwise=True)


def _quantized(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    def compute() -> Tensor:
        dtype = torch.uint8 if zero is None else zero.dtype
        value = torch.round(x / _along(scale, x, axis).to(x.dtype))
        value = value if zero is None else value + _along(zero, x, axis).to(x.dtype)
        limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
        return value.clamp(limits.min, limits.max).to(dtype)

    return as_operator("quantize", {"self": x, "scale": scale, "zero": zero}, compute, pointwise=True)


@operator("QuantizeLinear", buffers=(1, 2))
def quantize(spec: Spec, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Numbers as integers."""
    return _quantized(x, scale, zero, spec.get("axis", 1))


@operator("DequantizeLinear", weights=(0,), buffers=(1, 2))
def dequantize(spec: Spec, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Integers as numbers."""
    return _dequantized(x, scale, zero, spec.get("axis", 1))


@operator("QLinearConv", weights=(3, 8), buffers=(1, 2, 4, 5, 6, 7))
def quantized_convolution(
    spec: Spec,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """A convolution of integers, computed with the numbers that they stand for."""
    maps = _dequantized(x, x_scale, x_zero, 1)
    kernels = _dequantized(weight, w_scale, w_zero, 0)
    shift = None if bias is None else _dequantized(bias, x_scale * w_scale, None, 0)
    return _quantized(convolution(spec, maps, kernels, shift), y_scale, y_zero, 1)


@operator("QLinearMatMul", weights=(3,), buffers=(1, 2, 4, 5, 6, 7))
def quantized_matmul(
    spec: Spec,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """A product of matrices of integers, computed with the numbers that they stand for."""
    left, right = _dequantized(a, a_scale, a_zero, a.ndim - 2), _dequantized(b, b_scale, b_zero, b.ndim - 1)
    return _quantized(matmul(spec, left, right), y_scale, y_zero, a.ndim - 2)


@operator("ConvInteger", weights=(1,), buffers=(2, 3))
def integer_convolution(
    spec: Spec, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    """A convolution of integers."""
    maps, kernels = _centered(x, x_zero, 1), _centered(weight, w_zero, 0)
    return convolution(spec, maps, kernels).to(torch.int32)


@operator("MatMulInteger", weights=(1,), buffers=(2, 3))
def integer_matmul(
    spec: Spec, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """A product of matrices of integers."""
    left, right = _centered(a, a_zero, a.ndim - 2), _centered(b, b_zero, b.ndim - 1)
    return matmul(spec, left, right).to(torch.int32)


def _centered(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """Integers less their zero point, in a type that torch multiplies."""
    one = torch.ones((), dtype=torch.float32)
    return _dequantized(x, one, zero, axis)
