"""One unit of a network worked out by itself, from its layer's input and weights, for every kind of layer.

Nothing here runs a torch module: that the numbers are those of the network is worth something only because they are
come to in another way, in double precision. Letters: C channels, (H, W) input, (kh, kw) kernel, O output channels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

import torch
from torch import Tensor

from cnncli.layers import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
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
    Layer,
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
from cnncli.windows import Adaptive, Sliding

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
        maps: everything that it normalizes, (C, H, W) or (F,).
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


@dataclass(frozen=True)
class Unit:
    """One number of a layer's output: `(channel, row, column)` in maps, `(channel,)` in a row of numbers."""

    index: tuple[int, ...]

    @property
    def channel(self) -> int:
        """The feature map that it is in, or its place in the row."""
        return self.index[0]


@dataclass(frozen=True)
class Term:
    """What one number of a layer's input adds to a unit.

    Attributes:
        unit: which number of the input.
        value: the number.
        weight: what it is multiplied by.
        source: which of several inputs, where the layer joins paths.
    """

    unit: Unit
    value: float
    weight: float
    source: int = 0

    @property
    def amount(self) -> float:
        """The product."""
        return self.value * self.weight


@dataclass(frozen=True, eq=False)
class Patch:
    """What a unit sees of one channel of its layer's input.

    Attributes:
        channel: of the input.
        rows: one for each row of the window: a row of the input, or None where there is only padding.
        columns: likewise.
        values: (kh, kw); 0 in the padding.
        kernel: (kh, kw), or None where the layer has no weights.
    """

    channel: int
    rows: tuple[int | None, ...]
    columns: tuple[int | None, ...]
    values: Tensor
    kernel: Tensor | None

    @classmethod
    def cut(
        cls, x: Tensor, channel: int, rows: Sequence[int | None], columns: Sequence[int | None], kernel: Tensor | None
    ) -> "Patch":
        """The patch of channel `channel` of x (C, H, W) at some rows and columns."""
        values = torch.zeros(len(rows), len(columns), dtype=x.dtype)
        for a, row in enumerate(rows):
            for b, column in enumerate(columns):
                if row is not None and column is not None:
                    values[a, b] = x[channel, row, column]
        return cls(channel, tuple(rows), tuple(columns), values, kernel)

    @property
    def total(self) -> float:
        """The sum of products of a patch with a kernel."""
        assert self.kernel is not None, "a pool has no products"
        return (self.values * self.kernel).sum().item()

    def terms(self, weight: float = 1.0) -> list[Term]:
        """Every real number of the patch with its weight: the kernel's, or else `weight`."""
        return [
            Term(
                Unit((self.channel, row, column)),
                self.values[a, b].item(),
                weight if self.kernel is None else self.kernel[a, b].item(),
            )
            for a, row in enumerate(self.rows)
            for b, column in enumerate(self.columns)
            if row is not None and column is not None
        ]


@dataclass(frozen=True)
class Combined:
    """The first stage of most units: its terms added up, or the largest of them."""

    how: str
    value: float


@dataclass(frozen=True)
class Biased:
    """A bias added."""

    bias: float
    value: float


@dataclass(frozen=True)
class Normalized:
    """The number before, scaled by a norm."""

    before: float
    scaling: Scaling
    value: float


@dataclass(frozen=True)
class Activated:
    """The number before, through an activation."""

    word: str
    before: float
    value: float


Stage = Combined | Biased | Normalized | Activated


@dataclass(frozen=True)
class Trace:
    """How a unit comes to its number.

    Attributes:
        patches: what it sees, channel by channel, where it sees a window.
        terms: every number that it reads. Those of a max pool are the winner alone.
        stages: the numbers on the way, the last one the unit's own.
    """

    patches: tuple[Patch, ...]
    terms: tuple[Term, ...]
    stages: tuple[Stage, ...]

    @property
    def value(self) -> float:
        """The unit's number."""
        return self.stages[-1].value


Taps = list[int | None]
"""One for each place of a window along an axis: a position of the input, or None outside it."""


def patches_of_conv(layer: Conv, x: Tensor, weight: Tensor, unit: Unit) -> tuple[Patch, ...]:
    """What a unit of a convolution sees of each channel in its group, with its kernel.

    Args:
        layer: the convolution.
        x: (C, H, W).
        weight: (O, C / g, kh, kw).
        unit: (channel, row, column) of its output.
    """
    rows, columns = _inside(layer.windows(), x, unit)
    depth = weight.shape[1]
    first = unit.channel // (layer.out_channels // layer.groups) * depth
    return tuple(Patch.cut(x, first + k, rows, columns, weight[unit.channel, k]) for k in range(depth))


def patches_of_conv_transpose(layer: ConvTranspose, x: Tensor, weight: Tensor, unit: Unit) -> tuple[Patch, ...]:
    """What reaches a unit of a transposed convolution: for each place of the kernel the number stamped through it.

    Args:
        layer: the transposed convolution.
        x: (C, H, W).
        weight: (C, O / g, kh, kw).
        unit: (channel, row, column) of its output.
    """
    rows, columns = (
        [_stamped_from(place + p - d * tap, s, size) for tap in range(k)]
        for place, k, s, p, d, size in zip(
            unit.index[1:], layer.kernel_size, layer.stride, layer.padding, layer.dilation, x.shape[1:], strict=True
        )
    )
    maps, depth = weight.shape[1], len(x) // layer.groups
    group, within = divmod(unit.channel, maps)
    channels = range(group * depth, (group + 1) * depth)
    return tuple(Patch.cut(x, channel, rows, columns, weight[channel, within]) for channel in channels)


def _stamped_from(offset: int, stride: int, size: int) -> int | None:
    """The input position whose stamp, `stride` apart from the next, begins at `offset`."""
    position, between = divmod(offset, stride)
    return position if not between and 0 <= position < size else None


def window_taps(
    layer: MaxPool | AvgPool | AdaptiveMaxPool | AdaptiveAvgPool | GlobalMaxPool | GlobalAvgPool, x: Tensor, unit: Unit
) -> tuple[Taps, Taps]:
    """Rows and columns of x (C, H, W) that a unit of a pool reads."""
    match layer:
        case MaxPool() | AvgPool():
            return _inside(layer.windows(), x, unit)
        case AdaptiveMaxPool() | AdaptiveAvgPool():
            height, width = layer.output_size
            return _inside((Adaptive(units=height), Adaptive(units=width)), x, unit)
        case GlobalMaxPool() | GlobalAvgPool():
            return list(range(x.shape[1])), list(range(x.shape[2]))


def _inside(windows: Sequence[Adaptive | Sliding], x: Tensor, unit: Unit) -> tuple[Taps, Taps]:
    rows, columns = (
        [each if 0 <= each < size else None for each in window.reads(place, size)]
        for window, place, size in zip(windows, unit.index[1:], x.shape[1:], strict=True)
    )
    return rows, columns


def pool_divisor(layer: AvgPool, x: Tensor, unit: Unit) -> int:
    """By what an average pool divides: the numbers in its window.

    Padding counts unless `count_include_pad` is off. What hangs over the padding's end, with `ceil_mode`, never does.
    """
    divisor = 1
    for window, place, size in zip(layer.windows(), unit.index[1:], x.shape[1:], strict=True):
        low, high = (-window.before, size + window.after) if layer.count_include_pad else (0, size)
        divisor *= sum(low <= each < high for each in window.reads(place, size))
    return divisor


def upsample_taps(layer: Upsample, x: Tensor, unit: Unit) -> list[tuple[Unit, float]]:
    """The numbers of x (C, H, W) that a unit of an upsampled map blends, each with its share."""
    height, width = x.shape[1:]
    rows, columns = (
        _blend(place, size, units) if layer.mode == "bilinear" else [(place * size // units, 1.0)]
        for place, size, units in zip(unit.index[1:], (height, width), layer.output_size(height, width), strict=True)
    )
    return [(Unit((unit.channel, i, j)), a * b) for i, a in rows for j, b in columns if a * b]


def _blend(place: int, size: int, units: int) -> list[tuple[int, float]]:
    """The two positions around `(i + 1/2) n / m - 1/2`, the nearer with the larger share."""
    exact = max(Fraction(0), (place + Fraction(1, 2)) * size / units - Fraction(1, 2))
    first = int(exact)
    share = float(exact - first)
    return [(first, 1 - share), (first + 1, share)] if first + 1 < size else [(first, 1.0)]


Weights = Mapping[str, Tensor]
"""The state dict of a layer's module: `conv.weight`, `norm.running_mean`, ..."""


def trace_unit(
    layer: Layer, inputs: Sequence[Tensor], weights: Weights, unit: Unit, *, sums: Tensor | None = None
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


def _without_window(layer: Layer, inputs: Sequence[Tensor], weights: Weights, unit: Unit) -> Trace:
    """The layers of which a unit reads one position of each input, or passes a number on."""
    x = inputs[0]
    match layer:
        case BatchNorm() | GroupNorm() | LayerNorm():
            scaling, before = scaling_of(layer, x, weights, unit.index), x[unit.index].item()
            return Trace((), (Term(unit, before, scaling.factor),), (Normalized(before, scaling, scaling(before)),))
        case Relu() | LeakyRelu() | Elu() | Gelu() | Silu() | Tanh() | Sigmoid() | Hardswish():
            before = x[unit.index].item()
            return Trace((), (Term(unit, before, 1.0),), (Activated(layer.type, before, activated(layer, before)),))
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
    raise AssertionError(layer.type)


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
        assert sums is not None, "a norm needs what it normalizes"
        own = {name.removeprefix("norm."): each for name, each in weights.items() if name.startswith("norm.")}
        before = stages[-1].value
        scaling = scaling_of(norm, sums.double(), own, unit.index)
        stages.append(Normalized(before, scaling, scaling(before)))
    if activation is not None:
        before = stages[-1].value
        stages.append(Activated(activation.type, before, activated(activation, before)))
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
