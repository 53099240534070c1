"""Activations and normalisations of a single number, as their definitions say.

Letters: C channels, (H, W) map, F features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from torch import Tensor

from cnncli.spec.layers import (
    Activation,
    BatchNorm,
    Elu,
    Gelu,
    GroupNorm,
    Hardswish,
    LayerNorm,
    LeakyRelu,
    Norm,
    Relu,
    Sigmoid,
    Silu,
    Tanh,
)

EPSILON = 1e-5
"""What torch adds to a variance, so that nothing is divided by zero."""


def activated(activation: Activation, x: float) -> float:
    """What an activation makes of x."""
    match activation:
        case Relu():
            return max(0.0, x)
        case LeakyRelu():
            return x if x > 0 else activation.negative_slope * x
        case Elu():
            return x if x > 0 else activation.alpha * math.expm1(x)
        case Gelu():
            return x * (1 + math.erf(x / math.sqrt(2))) / 2
        case Silu():
            return x * _sigmoid(x)
        case Tanh():
            return math.tanh(x)
        case Sigmoid():
            return _sigmoid(x)
        case Hardswish():
            return x * min(max(x + 3, 0.0), 6.0) / 6
    assert_never(activation)


def _sigmoid(x: float) -> float:
    # Of the two equal forms the one whose exponential cannot overflow.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@dataclass(frozen=True)
class Scaling:
    """`(x - mean) / sqrt(variance + EPSILON) * weight + bias`."""

    mean: float
    variance: float
    weight: float
    bias: float

    @property
    def factor(self) -> float:
        """By how much the result grows when x grows by one and mean and variance stay."""
        return self.weight / math.sqrt(self.variance + EPSILON)

    def __call__(self, x: float) -> float:
        """The result for x."""
        return (x - self.mean) * self.factor + self.bias


def scaling_of(norm: Norm, maps: Tensor, weights: Mapping[str, Tensor], index: tuple[int, ...]) -> Scaling:
    """What a norm, in use and not in training, does to one number.

    Args:
        norm: the layer.
        maps: everything that it normalises, (C, H, W) or (F,).
        weights: `weight`, `bias`, and for batch norm `running_mean` and `running_var`, as torch calls them.
        index: where the number is in `maps`.
    """
    channel = index[0]
    weight, bias = weights["weight"][channel].item(), weights["bias"][channel].item()
    match norm:
        case BatchNorm():
            mean, variance = weights["running_mean"][channel], weights["running_var"][channel]
            return Scaling(mean.item(), variance.item(), weight, bias)
        case GroupNorm():
            size = len(maps) // norm.num_groups
            first = channel // size * size
            among = maps[first : first + size]
        case LayerNorm():
            among = maps if maps.ndim == 1 else maps[:, index[1], index[2]]
        case _:
            assert_never(norm)
    return Scaling(among.mean().item(), among.var(correction=0).item(), weight, bias)
