"""The format of numbers, products and sums on a page: plain ASCII, which every terminal can print."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from cnncli.lessons.page import Formula, Grid, Pair

if TYPE_CHECKING:
    from torch import Tensor

_PLAIN_BELOW, _PLAIN_FROM = 1e6, 1e-3


def format_number(value: float) -> str:
    """A number with up to four decimals: `3`, `-0.25`, `0.3333`, `1.2e-05`."""
    if value == int(value) and abs(value) < _PLAIN_BELOW:
        return str(int(value))
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def format_fixed(value: float, decimals: int) -> str:
    """A number with a fixed number of decimals; zero has no sign, also after rounding."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def decimals_for(largest: float, digits: int) -> int:
    """How many decimals show about `digits` digits of a number as large as `largest`."""
    whole = 1 if largest < 1 else 1 + math.floor(math.log10(largest))
    return max(0, digits - whole)


def operand(text: str) -> str:
    """A formatted number inside a sum or a product: negative numbers are in parentheses."""
    return f"({text})" if text.startswith("-") else text


def format_sum(values: Sequence[float]) -> str:
    """`19 + 37`."""
    return " + ".join(operand(format_number(value)) for value in values)


def format_products(pairs: Iterable[tuple[float, float]]) -> str:
    """`0x0 + 1x1 + 3x2 + 4x3`."""
    return " + ".join(f"{operand(format_number(a))}x{operand(format_number(b))}" for a, b in pairs)


def sum_of_products(patch: "Tensor", kernel: "Tensor", result: float, *, name: str = "") -> Formula:
    """The products of a patch and a kernel of the same shape, and their sum, which is called `name`."""
    pairs = zip(patch.reshape(-1).tolist(), kernel.reshape(-1).tolist(), strict=True)
    return Formula((f"{name} = " if name else "") + f"{format_products(pairs)} = {format_number(result)}")


def grid(values: "Tensor", title: str = "", *, marked: Collection[Pair] = (), decimals: int | None = None) -> Grid:
    """A matrix (H, W) as a grid of numbers, all with `decimals` decimals if that is given."""

    def write(value: float) -> str:
        return format_number(value) if decimals is None else format_fixed(value, decimals)

    cells = tuple(tuple(write(value) for value in row) for row in values.tolist())
    return Grid(cells=cells, title=title, marked=frozenset(marked))
