"""One unit of a network worked out by itself, from its layer's input and weights, for every kind of layer.

Nothing here runs a torch module: that the numbers are those of the network is worth something only because they are
come to in another way, in double precision. Letters: C channels, (H, W) input, (kh, kw) kernel, O output channels.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

import torch
from torch import Tensor

from cnncli.reference.pointwise import activated, scaling_of
from cnncli.reference.taps import patches_of_conv, patches_of_conv_transpose, pool_divisor, upsample_taps, window_taps
from cnncli.reference.unit import Activated, Biased, Combined, Normalised, Patch, Stage, Term, Trace, Unit
from cnncli.spec.layers import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AnyLayer,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Dropout2d,
    Elu,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardswish,
    Identity,
    LayerNorm,
    LeakyRelu,
    Linear,
    Logits,
    MaxPool,
    Norm,
    Relu,
    Sigmoid,
    Silu,
    Tanh,
    Upsample,
)

Weights = Mapping[str, Tensor]
"""The state dict of a layer's module: `conv.weight`, `norm.running_mean`, ..."""


def trace_unit(
    layer: AnyLayer, inputs: Sequence[Tensor], weights: Weights, unit: Unit, *, sums: Tensor | None = None
) -> Trace:
    """Work out one unit of a layer in use (dropout passes everything, batch norm has its running statistics).

    Args:
        layer: as configured.
        inputs: what it reads, (C, H, W) or (F,) each; only layers that join paths have several.
        weights: the state dict of its module.
        unit: an index into its output.
        sums: the layer's output before the norm that is given on it, (O, OH, OW) or (O,), if there is one: group norm
            and layer norm take mean and variance over other units too.
    """
    x, *_ = inputs = [each.double() for each in inputs]
    weights = {name: tensor.double() for name, tensor in weights.items()}
    match layer:
        case Conv():
            return _convolution(layer, patches_of_conv(layer, x, weights["conv.weight"], unit), weights, unit, sums)
        case ConvTranspose():
            patches = patches_of_conv_transpose(layer, x, weights["conv.weight"], unit)
            return _convolution(layer, patches, weights, unit, sums)
        case Linear():
            stages, terms = _weighted(x, weights["linear.weight"], weights.get("linear.bias"), unit)
            return Trace((), terms, _finished(stages, layer.norm, layer.activation, weights, unit, sums))
        case Logits():
            stages, terms = _weighted(x, weights["weight"], weights.get("bias"), unit)
            return Trace((), terms, tuple(stages))
        case MaxPool() | AdaptiveMaxPool() | GlobalMaxPool():
            return _largest(_pool_patch(layer, x, unit))
        case AvgPool() | AdaptiveAvgPool() | GlobalAvgPool():
            patch = _pool_patch(layer, x, unit)
            return _mean(patch, pool_divisor(layer, x, unit) if isinstance(layer, AvgPool) else patch.values.numel())
        case Upsample():
            return _blended(upsample_taps(layer, x, unit), x)
        case _:
            return _without_window(layer, inputs, weights, unit)


_Passing = Norm | Activation | Dropout | Dropout2d | Identity | Flatten | Add | Concat


def _without_window(layer: _Passing, inputs: Sequence[Tensor], weights: Weights, unit: Unit) -> Trace:
    """The layers of which a unit reads one position of each input, or passes a number on."""
    x = inputs[0]
    match layer:
        case BatchNorm() | GroupNorm() | LayerNorm():
            scaling, before = scaling_of(layer, x, weights, unit.index), x[unit.index].item()
            return Trace((), (Term(unit, before, scaling.factor),), (Normalised(before, scaling, scaling(before)),))
        case Relu() | LeakyRelu() | Elu() | Gelu() | Silu() | Tanh() | Sigmoid() | Hardswish():
            before = x[unit.index].item()
            return Trace((), (Term(unit, before, 1.0),), (Activated(layer.word(), before, activated(layer, before)),))
        case Dropout() | Dropout2d() | Identity():
            return _passed_on(x, unit)
        case Flatten():
            place = torch.unravel_index(torch.tensor(unit.channel), x.shape)
            return _passed_on(x, Unit(tuple(int(each) for each in place)))
        case Add():
            terms = tuple(Term(unit, each[unit.index].item(), 1.0, source) for source, each in enumerate(inputs))
            added = Combined("sum of the paths", sum(term.amount for term in terms))
            return Trace((), terms, _finished([added], None, layer.activation, weights, unit, None))
        case Concat():
            source, channel = _path_of(unit.channel, [len(each) for each in inputs])
            return _passed_on(inputs[source], Unit((channel, *unit.index[1:])), source)
    assert_never(layer)


def _passed_on(x: Tensor, unit: Unit, source: int = 0) -> Trace:
    term = Term(unit, x[unit.index].item(), 1.0, source)
    return Trace((), (term,), (Combined("passed on", term.value),))


def _convolution(
    layer: Conv | ConvTranspose, patches: tuple[Patch, ...], weights: Weights, unit: Unit, sums: Tensor | None
) -> Trace:
    """Each channel's sum of products, their sum, the bias, the norm, the activation."""
    stages: list[Stage] = [Combined("sum of the channels", sum(patch.total for patch in patches))]
    if layer.has_bias:
        bias = weights["conv.bias"][unit.channel].item()
        stages.append(Biased(bias, stages[-1].value + bias))
    terms = tuple(term for patch in patches for term in patch.terms())
    return Trace(patches, terms, _finished(stages, layer.norm, layer.activation, weights, unit, sums))


def _weighted(x: Tensor, matrix: Tensor, bias: Tensor | None, unit: Unit) -> tuple[list[Stage], tuple[Term, ...]]:
    """A row of a fully connected layer: the sum of x (F,) times matrix (O, F), and the bias (O,)."""
    row = matrix[unit.channel]
    terms = tuple(Term(Unit((i,)), x[i].item(), row[i].item()) for i in range(len(x)))
    stages: list[Stage] = [Combined("sum of the products", (x * row).sum().item())]
    if bias is not None:
        stages.append(Biased(bias[unit.channel].item(), stages[-1].value + bias[unit.channel].item()))
    return stages, terms


def _finished(
    stages: list[Stage],
    norm: Norm | None,
    activation: Activation | None,
    weights: Weights,
    unit: Unit,
    sums: Tensor | None,
) -> tuple[Stage, ...]:
    """The stages so far, then the norm and the activation that may be given on a layer."""
    stages = list(stages)
    if norm is not None:
        assert sums is not None, "a norm needs what it normalises"
        own = {name.removeprefix("norm."): each for name, each in weights.items() if name.startswith("norm.")}
        before = stages[-1].value
        scaling = scaling_of(norm, sums.double(), own, unit.index)
        stages.append(Normalised(before, scaling, scaling(before)))
    if activation is not None:
        before = stages[-1].value
        stages.append(Activated(activation.word(), before, activated(activation, before)))
    return tuple(stages)


_Pool = MaxPool | AvgPool | AdaptiveMaxPool | AdaptiveAvgPool | GlobalMaxPool | GlobalAvgPool


def _pool_patch(layer: _Pool, x: Tensor, unit: Unit) -> Patch:
    """What a unit of a pool sees of its channel; of a global pool's, all."""
    rows, columns = window_taps(layer, x, unit)
    return Patch.cut(x, unit.channel, rows, columns, None)


def _largest(patch: Patch) -> Trace:
    """Padding never wins: only real numbers are compared, and of equal ones the first is taken, as in torch."""
    winner = max(patch.terms(), key=lambda term: term.value)
    return Trace((patch,), (winner,), (Combined("largest", winner.value),))


def _mean(patch: Patch, divisor: int) -> Trace:
    terms = tuple(patch.terms(1 / divisor))
    return Trace((patch,), terms, (Combined(f"sum / {divisor}", patch.values.sum().item() / divisor),))


def _blended(taps: Sequence[tuple[Unit, float]], x: Tensor) -> Trace:
    terms = tuple(Term(unit, x[unit.index].item(), weight) for unit, weight in taps)
    how = "passed on" if len(terms) == 1 else "weighted mean"
    return Trace((), terms, (Combined(how, sum(term.amount for term in terms)),))


def _path_of(channel: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Which of several paths a channel of their concatenation comes from, and its number there."""
    for source, length in enumerate(lengths):
        if channel < length:
            return source, channel
        channel -= length
    raise AssertionError("the channel is one of the concatenation's")
