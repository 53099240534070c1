"""Numbers, products, sums and grids as they are written on a page: plain ASCII, which every terminal has."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnncli.lessons.page import Cell, Formula, Grid, Values

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype=torch.float64)
"""The input, (3, 3)."""
K = torch.tensor([[0.0, 1], [2, 3]], dtype=torch.float64)
"""The kernel, (2, 2)."""
X_TWO = torch.stack([X, X + 1])
"""Two input channels, (2, 3, 3)."""
K_TWO = torch.stack([K, K + 1])
"""A kernel for two input channels, (2, 2, 2)."""
K_THREE = torch.stack([K_TWO, K_TWO + 1, K_TWO + 2])
"""Three of them, (3, 2, 2, 2)."""


def noise(side: int) -> Tensor:
    """Numbers between -1 and 1 without any pattern, (side, side), the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(side, side, generator=generator, dtype=torch.float64) * 2 - 1


def given(values: Values | None, otherwise: Tensor) -> Tensor:
    """The user's own numbers as a tensor, else the chapter's."""
    return otherwise if values is None else torch.from_numpy(values)


if TYPE_CHECKING:
    from torch import Tensor  # pages that compute nothing are there before torch is

_LARGEST_PLAIN, _SMALLEST_PLAIN = 1e6, 1e-3


def number(value: float) -> str:
    """A number as short as it can be said to four decimals: `3`, `-0.25`, `0.3333`, `1.2e-05`."""
    if value == int(value) and abs(value) < _LARGEST_PLAIN:
        return str(int(value))
    if _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def fixed(value: float, decimals: int) -> str:
    """A number to a number of decimals; what rounds to zero has no sign."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def operand(text: str) -> str:
    """A number in a sum or a product: a negative one in brackets."""
    return f"({text})" if text.startswith("-") else text


def products(pairs: Iterable[tuple[float, float]]) -> str:
    """`0x0 + 1x1 + 3x2 + 4x3`."""
    return " + ".join(f"{operand(number(a))}x{operand(number(b))}" for a, b in pairs)


def total(values: Sequence[float]) -> str:
    """`19 + 37`."""
    return " + ".join(operand(number(value)) for value in values)


def worked(window: "Tensor", kernel: "Tensor", result: float, *, name: str = "") -> Formula:
    """The products of a window and a kernel of one shape, and their sum; `name` says what it is."""
    pairs = zip(window.reshape(-1).tolist(), kernel.reshape(-1).tolist(), strict=True)
    return Formula((f"{name} = " if name else "") + f"{products(pairs)} = {number(result)}")


def grid(
    values: "Tensor",
    title: str = "",
    *,
    marked: Collection[Cell] = (),
    decimals: int | None = None,
) -> Grid:
    """Numbers (h, w) as a grid; with `decimals`, all to as many."""
    write = number if decimals is None else lambda value: fixed(value, decimals)
    cells = tuple(tuple(write(value) for value in row) for row in values.tolist())
    return Grid(cells=cells, title=title, marked=frozenset(marked))


def by(sizes: Iterable[int]) -> str:
    """`3x3`, of a window."""
    return "x".join(map(str, sizes))


def decimals_for(largest: float, digits: int) -> int:
    """How many decimals leave a number of that size with about `digits` digits."""
    whole = 1 if largest < 1 else 1 + math.floor(math.log10(largest))
    return max(0, digits - whole)
