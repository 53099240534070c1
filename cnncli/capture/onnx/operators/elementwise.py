"""Elementwise operators: activations, arithmetic, comparisons, types."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.capture.onnx.file import dtype_of
from cnncli.capture.onnx.operators.registry import Spec, Unsupported, operator, scalar
from cnncli.capture.record import as_operator

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "BitwiseNot": torch.bitwise_not, "Ceil": torch.ceil, "Cos": torch.cos,
    "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "HardSwish": functional.hardswish,
    "IsNaN": torch.isnan, "Log": torch.log, "Mish": functional.mish, "Neg": torch.neg, "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Round": torch.round, "Sigmoid": torch.sigmoid,
    "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": functional.softplus,
    "Softsign": functional.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh,
}  # fmt: skip
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Sub": torch.sub, "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt,
    "LessOrEqual": torch.le, "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip
_SIXTH = 1 / 6


@operator(*_UNARY)
def unary(spec: Spec, x: Tensor) -> Tensor:
    """A function of each number."""
    return _UNARY[spec.name](x)


@operator(*_BINARY)
def binary(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """A function of two numbers each."""
    return _BINARY[spec.name](a, b)


@operator("Add", "Sum")
def add(_spec: Spec, *values: Tensor) -> Tensor:
    """A sum."""
    return reduce(torch.add, values)


@operator("Mul")
def multiply(_spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """A product; x times its sigmoid is recognized by nobody but the reader."""
    return torch.mul(a, b)


@operator("Max", "Min")
def extremum(spec: Spec, *values: Tensor) -> Tensor:
    """The largest or smallest of several numbers."""
    return reduce(torch.maximum if spec.name == "Max" else torch.minimum, values)


@operator("Mean")
def mean(_spec: Spec, *values: Tensor) -> Tensor:
    """The mean of several numbers."""
    return reduce(torch.add, values) / len(values)


@operator("Div")
def divide(_spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """A quotient; of integers without the remainder."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod")
def modulo(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """The remainder of a division, with the sign of b, or with that of a."""
    return torch.fmod(a, b) if spec.get("fmod", 0) else torch.remainder(a, b)


@operator("Pow")
def power(_spec: Spec, base: Tensor, exponent: Tensor) -> Tensor:
    """A power, in the type of the base."""
    return torch.pow(base, exponent).to(base.dtype)


@operator("BitShift")
def shift(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """Bits moved to the left or to the right."""
    move = torch.bitwise_left_shift if spec.get("direction") == "LEFT" else torch.bitwise_right_shift
    return move(a, b)


@operator("Where")
def where(_spec: Spec, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One of two numbers each."""
    return torch.where(condition, a, b)


@operator("IsInf")
def is_infinite(spec: Spec, x: Tensor) -> Tensor:
    """Whether each number is infinite, of one sign or of both."""
    if not spec.get("detect_positive", 1):
        return torch.isneginf(x)
    return torch.isinf(x) if spec.get("detect_negative", 1) else torch.isposinf(x)


@operator("LeakyRelu")
def leaky_relu(spec: Spec, x: Tensor) -> Tensor:
    """`x`, or `alpha x` below 0."""
    return functional.leaky_relu(x, spec.get("alpha", 0.01))


@operator("PRelu", weights=(1,))
def prelu(_spec: Spec, x: Tensor, slope: Tensor) -> Tensor:
    """`x`, or below 0 `x` times a slope, which may be one for each channel."""
    channels = x.ndim > 1 and slope.numel() == x.shape[1] and slope.shape[1:] == (1,) * (slope.ndim - 1)
    if slope.numel() == 1 or (channels and slope.ndim == x.ndim - 1):
        return functional.prelu(x, slope.reshape(-1))
    return as_operator("prelu", {"self": x, "weight": slope}, lambda: torch.where(x < 0, x * slope, x), pointwise=True)


@operator("Elu")
def elu(spec: Spec, x: Tensor) -> Tensor:
    """`x`, or `alpha (exp(x) - 1)` below 0."""
    return functional.elu(x, spec.get("alpha", 1.0))


@operator("Celu")
def celu(spec: Spec, x: Tensor) -> Tensor:
    """`max(0, x) + min(0, alpha (exp(x / alpha) - 1))`."""
    return functional.celu(x, spec.get("alpha", 1.0))


@operator("Selu")
def selu(spec: Spec, x: Tensor) -> Tensor:
    """`gamma` times Elu; by default torch's constants."""
    gamma, alpha = spec.get("gamma"), spec.get("alpha")
    if gamma is None and alpha is None:
        return functional.selu(x)
    alpha, gamma = 1.6732632 if alpha is None else alpha, 1.0507010 if gamma is None else gamma
    return _as_one("selu", x, lambda: gamma * torch.where(x > 0, x, alpha * (torch.exp(x) - 1)))


@operator("ThresholdedRelu")
def thresholded_relu(spec: Spec, x: Tensor) -> Tensor:
    """`x`, or 0 up to `alpha`."""
    return functional.threshold(x, spec.get("alpha", 1.0), 0.0)


@operator("HardSigmoid")
def hard_sigmoid(spec: Spec, x: Tensor) -> Tensor:
    """`alpha x + beta` between 0 and 1."""
    alpha, beta = spec.get("alpha", 0.2), spec.get("beta", 0.5)
    if abs(alpha - _SIXTH) < 1e-4 and beta == 0.5:
        return functional.hardsigmoid(x)
    return _as_one("hardsigmoid", x, lambda: torch.clamp(alpha * x + beta, 0, 1))


@operator("Gelu")
def gelu(spec: Spec, x: Tensor) -> Tensor:
    """`x` times the distribution function of the normal distribution."""
    return functional.gelu(x, approximate=spec.get("approximate", "none"))


@operator("Swish")
def swish(spec: Spec, x: Tensor) -> Tensor:
    """`x` times the sigmoid of `alpha x`."""
    alpha = spec.get("alpha", 1.0)
    return functional.silu(x) if alpha == 1 else _as_one("silu", x, lambda: x * torch.sigmoid(alpha * x))


@operator("Shrink")
def shrink(spec: Spec, x: Tensor) -> Tensor:
    """Numbers near 0 become 0, the others come nearer to it by `bias`."""
    limit, bias = spec.get("lambd", 0.5), spec.get("bias", 0.0)

    def shrunk() -> Tensor:
        return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))

    return _as_one("shrink", x, shrunk)


@operator("Clip", numbers=(1, 2))
def clip(spec: Spec, x: Tensor, least: np.ndarray | None = None, most: np.ndarray | None = None) -> Tensor:
    """Numbers limited to a range."""
    low, high = scalar(least, spec.get("min")), scalar(most, spec.get("max"))
    if low is None and high is None:
        return torch.clone(x)
    if (low, high) == (0, 6):
        return functional.relu6(x)
    return torch.clamp(x, low, high)


@operator("Cast")
def cast(spec: Spec, x: Tensor) -> Tensor:
    """Numbers of another type."""
    dtype = dtype_of(spec.get("to", 0))
    if dtype is None:
        raise Unsupported("torch does not have the type of its output")
    return x.to(dtype)


@operator("CastLike")
def cast_like(_spec: Spec, x: Tensor, like: Tensor) -> Tensor:
    """Numbers of the type of another tensor."""
    return x.to(like.dtype)


@operator("Identity", "Dropout")
def identity(spec: Spec, x: Any, *_: Any) -> Any:
    """The same numbers. Of a dropout, which does nothing here, also the mask."""
    return (x, torch.ones_like(x, dtype=torch.bool)) if spec.outputs > 1 else x


@operator("RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
def random_like(spec: Spec, x: Tensor) -> Tensor:
    """Random numbers, which depend on no input."""
    if spec.name in ("Multinomial", "Bernoulli"):
        raise Unsupported("samples at random")
    return torch.zeros_like(x)


def _as_one(name: str, x: Tensor, call: Callable[[], Tensor]) -> Tensor:
    """A function that torch has no operator for, as one operator."""
    return as_operator(name, {"self": x}, call, pointwise=True)
