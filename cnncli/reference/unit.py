"""A unit of a layer, and the parts out of which its number is worked out.

Letters: C input channels, (kh, kw) kernel or window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.reference.pointwise import Scaling


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
class Normalised:
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


Stage = Combined | Biased | Normalised | Activated


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
