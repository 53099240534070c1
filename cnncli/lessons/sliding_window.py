"""A window that slides over an input, and what a page shows of it: positions, products, sizes.

Letters: (H, W) input, (kh, kw) window, (OH, OW) output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cnncli.errors import UsageError
from cnncli.layers import format_size
from cnncli.lessons.notation import format_number, grid, sum_of_products
from cnncli.lessons.numbers import MAX_NUMBERS, read_pair
from cnncli.lessons.page import Block, Figures, Formula, Grid, Heatmap, Pair, Paragraph, Step
from cnncli.windows import Sliding

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.lessons.reference import WindowPosition

_MAX_STEPS = 6
"""Number of positions shown one by one; the others are only counted."""
_MAX_SIDE = 12
"""Rows or columns up to which a matrix is shown as numbers."""
_MAX_WIDTH = 40
"""Maximum width, in characters, of a matrix shown as numbers: half a line."""


@dataclass(frozen=True)
class SlidingWindow:
    """A window and how it slides; every pair is (height, width)."""

    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @classmethod
    def read(cls, size: Sequence[int], stride: str = "1", padding: str = "0", dilation: str = "1") -> Self:
        """A window of a given size, with the texts of `--stride`, `--padding` and `--dilation`."""
        return cls(
            (size[0], size[1]),
            stride=read_pair(stride, option="--stride", minimum=1),
            padding=read_pair(padding, option="--padding", minimum=0),
            dilation=read_pair(dilation, option="--dilation", minimum=1),
        )

    @property
    def settings(self) -> dict[str, Pair]:
        """Stride, padding and dilation as keyword arguments of the reference operations."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def axes(self) -> tuple[Sliding, Sliding]:
        """The window along the height and along the width."""
        height, width = (
            Sliding(kernel=k, stride=s, dilation=d, before=p, after=p)
            for k, s, p, d in zip(self.size, self.stride, self.padding, self.dilation, strict=True)
        )
        return height, width

    def output_size(self, size: Sequence[int]) -> Pair:
        """(OH, OW) for an input (H, W)."""
        height, width = (axis.output_size(n) for axis, n in zip(self.axes, size, strict=True))
        return height, width

    def padded_size(self, size: Sequence[int]) -> Pair:
        """(H + 2p, W + 2p) for an input (H, W)."""
        return size[0] + 2 * self.padding[0], size[1] + 2 * self.padding[1]

    def check_fits(self, size: Sequence[int]) -> None:
        """Raise UsageError if the window does not fit into the padded input, or that is too large to follow."""
        padded, spans = self.padded_size(size), tuple(axis.span for axis in self.axes)
        if padded[0] * padded[1] > MAX_NUMBERS:
            raise UsageError(f"--padding: an input of {format_size(padded)} is too large to follow by hand")
        if spans[0] > padded[0] or spans[1] > padded[1]:
            dilated = f" ({format_size(spans)} with its dilation)" if max(self.dilation) > 1 else ""
            around = f" ({format_size(padded)} with its padding)" if any(self.padding) else ""
            raise UsageError(
                f"the window of {format_size(self.size)}{dilated} does not fit into the input of "
                f"{format_size(size)}{around}",
                remedy="give a smaller --kernel, a larger --input, or --padding",
            )

    def positions(self, x: Tensor, *, fill: float = 0.0) -> list[WindowPosition]:
        """Every position of the window on x (H, W), with padding of the value `fill`."""
        from cnncli.lessons.reference import window_positions

        return window_positions(x, self.size, fill=fill, **self.settings)

    def correlate(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The cross-correlation of x (H, W) and a kernel (kh, kw)."""
        from cnncli.lessons.reference import corr2d

        return corr2d(x, kernel, **self.settings)


def index_formula(window: SlidingWindow) -> Formula:
    """The definition of cross-correlation, as short as stride, padding and dilation allow."""
    return Formula(f"Y[i, j] = sum over a, b of {input_index(window)} x K[a, b]")


def input_index(window: SlidingWindow) -> str:
    """The input that weight (a, b) multiplies for output (i, j): `X[3i + a - 1, 2j + b]`."""
    axes = [
        f"{s if s > 1 else ''}{output} + {d if d > 1 else ''}{tap}" + (f" - {p}" if p else "")
        for output, tap, s, p, d in zip("ij", "ab", window.stride, window.padding, window.dilation, strict=True)
    ]
    return f"X[{axes[0]}, {axes[1]}]"


def size_formula(size: Sequence[int], window: SlidingWindow) -> list[Block]:
    """The formula of the output size, and the same with numbers: once if both axes agree."""
    axes = list(zip(size, window.size, window.stride, window.padding, window.dilation, strict=True))
    names = ("height and width",) if axes[0] == axes[1] else ("height", "width")
    return [
        Formula("output = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1"),
        *(
            Formula(f"{name}: floor(({n} + 2x{p} - {d}x({k} - 1) - 1) / {s}) + 1 = {units}")
            for name, (n, k, s, p, d), units in zip(names, axes, window.output_size(size), strict=False)
        ),
    ]


def legend(window: SlidingWindow) -> Paragraph:
    """Explains brackets, dots and question marks."""
    dots = " Dots are the padding: zeros around the input." if any(window.padding) else ""
    return Paragraph(
        f"Brackets mark the numbers under the window.{dots} Question marks are numbers that are not computed yet."
    )


def window_steps(
    positions: Sequence[WindowPosition], describe: Callable[[Sequence[WindowPosition]], tuple[Block, ...]]
) -> list[Block]:
    """A step for each of the first positions; `describe` gets the positions so far, the latest one last."""
    steps: list[Block] = []
    for i, position in enumerate(positions[:_MAX_STEPS], 1):
        row, column = position.output
        title = f"window {i} of {len(positions)}, for output [{row}, {column}]"
        steps.append(Step(title, *describe(positions[:i])))
    if len(positions) > _MAX_STEPS:
        steps.append(Paragraph(f"The other {len(positions) - _MAX_STEPS:,} windows work the same way."))
    return steps


def correlation_steps(x: Tensor, kernel: Tensor, window: SlidingWindow, result: Tensor) -> list[Block]:
    """A step for each position of a kernel (kh, kw) on x (H, W): products, and their sum in the output (OH, OW)."""

    def describe(done: Sequence[WindowPosition]) -> tuple[Block, ...]:
        products = done[-1].products(kernel)
        shown = input_with_window(x, done[-1], window)
        figures = (
            shown,
            "*",
            grid(kernel, "kernel"),
            "=",
            grid(products, "products"),
            "->",
            output_so_far(result, done),
        )
        return Figures(*figures), sum_of_products(done[-1].patch, kernel, products.sum().item())

    return window_steps(window.positions(x), describe)


def input_with_window(x: Tensor, position: WindowPosition, window: SlidingWindow, title: str = "input") -> Grid:
    """The padded input with the window marked; only the patch under the window if the input is large."""
    if max(window.padded_size(x.shape)) > _MAX_SIDE:
        rows, columns = position.rows, position.columns
        return grid(position.patch, f"{title}, rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]}")
    ph, pw = window.padding
    marked = frozenset((i + ph, j + pw) for i in position.rows for j in position.columns)
    return padded_grid(x, window.padding, title, marked=marked)


def padded_grid(x: Tensor, padding: Pair, title: str, *, marked: frozenset[Pair] = frozenset()) -> Grid:
    """x (H, W) with its padding as dots; `marked` cells count from the corner of the padding."""
    ph, pw = padding
    blank = [["."] * (x.shape[1] + 2 * pw)] * ph
    rows = [["."] * pw + [format_number(value) for value in row] + ["."] * pw for row in x.tolist()]
    cells = tuple(map(tuple, (*blank, *rows, *blank)))
    faint = frozenset((i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell == ".")
    return Grid(cells=cells, title=title, marked=marked, faint=faint)


def output_so_far(result: Tensor, done: Sequence[WindowPosition]) -> Grid:
    """The output (OH, OW) with `?` where it is not computed yet and the latest number marked; only that if large."""
    latest = done[-1].output
    if max(result.shape) > _MAX_SIDE:
        return grid(result[latest].reshape(1, 1), f"output [{latest[0]}, {latest[1]}]", marked=[(0, 0)])
    known = {position.output for position in done}
    cells = tuple(
        tuple(format_number(value) if (i, j) in known else "?" for j, value in enumerate(row))
        for i, row in enumerate(result.tolist())
    )
    faint = frozenset((i, j) for i, row in enumerate(cells) for j, _ in enumerate(row) if (i, j) not in known)
    return Grid(cells=cells, title="output", marked=frozenset({latest}), faint=faint)


def matrix(values: Tensor, title: str) -> Grid | Heatmap:
    """A matrix (H, W) as numbers, or as shades if it is too large or its numbers are too long."""
    numbers = grid(values, title)
    width = values.shape[1] * (1 + max(len(cell) for row in numbers.cells for cell in row))
    if max(values.shape) <= _MAX_SIDE and width <= _MAX_WIDTH:
        return numbers
    signed = bool((values < 0).any().item())
    return Heatmap(values=values.numpy(), title=f"{title}, {format_size(values.shape)}", signed=signed)


def equation(x: Tensor, kernel: Tensor, result: Tensor, window: SlidingWindow) -> Figures:
    """input * kernel = output."""
    fits = max(window.padded_size(x.shape)) <= _MAX_SIDE
    operand = padded_grid(x, window.padding, "input") if fits else matrix(x, "input")
    return Figures(operand, "*", grid(kernel, "kernel"), "=", matrix(result, "output"))
