"""How one unit of a layer computes its value: what it reads, and the steps of its arithmetic.

Letters: C channels, (H, W) input, (kh, kw) kernel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.windows import Window

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5
"""Added to a variance by torch, to avoid division by zero."""


@dataclass(frozen=True)
class Unit:
    """One value of a layer's output: `(channel, row, column)` in maps, `(channel,)` in a vector."""

    index: tuple[int, ...]

    @property
    def channel(self) -> int:
        """The feature map that it is in, or its place in the vector."""
        return self.index[0]


@dataclass(frozen=True)
class Term:
    """The contribution of one value of a layer's input to a unit.

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
    """The part of one channel of a layer's input that a unit reads.

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
    values: "Tensor"
    kernel: "Tensor | None"

    @classmethod
    def crop(
        cls,
        x: "Tensor",
        channel: int,
        rows: Sequence[int | None],
        columns: Sequence[int | None],
        kernel: "Tensor | None" = None,
    ) -> "Patch":
        """The patch of channel `channel` of x (C, H, W) at these rows and columns."""
        values = x.new_zeros(len(rows), len(columns))
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
        """Every value of the patch that is not padding, with its weight from the kernel, else `weight`."""
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
    """The first stage of most units: the sum of its terms, or the largest of them."""

    how: str
    value: float


@dataclass(frozen=True)
class Biased:
    """A bias added."""

    bias: float
    value: float


@dataclass(frozen=True)
class Scaling:
    """`(x - mean) / sqrt(variance + eps) * weight + bias`.

    Attributes:
        mean: None where none is subtracted; then `variance` is the mean of the squares.
        weight: None where there is none.
        bias: None where there is none.
    """

    mean: float | None
    variance: float
    weight: float | None
    bias: float | None
    eps: float = EPSILON

    @property
    def factor(self) -> float:
        """By how much the result grows when x grows by one and mean and variance stay."""
        return (1 if self.weight is None else self.weight) / math.sqrt(self.variance + self.eps)

    def __call__(self, x: float) -> float:
        """The result for x."""
        return (x - (self.mean or 0)) * self.factor + (self.bias or 0)


@dataclass(frozen=True)
class Normalized:
    """The previous value, scaled by a norm."""

    before: float
    scaling: Scaling
    value: float


@dataclass(frozen=True)
class Activated:
    """The previous value after an activation."""

    type: str
    before: float
    value: float


@dataclass(frozen=True)
class Constant:
    """The stage of a unit that reads nothing: a number of the layer itself, such as padding."""

    what: str
    value: float


Stage = Combined | Biased | Normalized | Activated | Constant


@dataclass(frozen=True)
class Trace:
    """How a unit computes its value.

    Attributes:
        patches: what it reads, channel by channel, where it reads a window.
        terms: every value that it reads; for a max pool, only the largest.
        stages: the numbers on the way, the last one the unit's own.
    """

    patches: tuple[Patch, ...]
    terms: tuple[Term, ...]
    stages: tuple[Stage, ...]

    @property
    def value(self) -> float:
        """The unit's number."""
        return self.stages[-1].value


def passed_on(x: "Tensor", unit: Unit, source: int = 0) -> Trace:
    """The trace of a unit that is the number `unit` of x, unchanged."""
    term = Term(unit, x[unit.index].item(), 1.0, source)
    return Trace((), (term,), (Combined("passed on", term.value),))


def weighted_sum(x: "Tensor", matrix: "Tensor", bias: "Tensor | None", unit: Unit) -> Trace:
    """The trace of a unit of a fully connected layer: its row of matrix (O, F) times x (F,), and bias (O,)."""
    row = matrix[unit.channel]
    terms = tuple(Term(Unit((i,)), x[i].item(), row[i].item()) for i in range(len(x)))
    total = (x * row).sum().item()
    stages: tuple[Stage, ...] = (Combined("sum of the products", total),)
    if bias is not None:
        stages += (Biased(bias[unit.channel].item(), total + bias[unit.channel].item()),)
    return Trace((), terms, stages)


def positions(windows: Sequence[Window], x: "Tensor", unit: Unit) -> tuple[list[int | None], list[int | None]]:
    """Rows and columns of x (C, H, W) that a unit reads; None for each place of a window in the padding."""
    rows, columns = (
        [each if 0 <= each < size else None for each in window.reads(place, size)]
        for window, place, size in zip(windows, unit.index[1:], x.shape[1:], strict=True)
    )
    return rows, columns
