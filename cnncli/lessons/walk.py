"""The walk of a window over an input, stop by stop: what every topic about convolutions shows.

Letters: (H, W) input, (kh, kw) window, (OH, OW) output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cnncli.errors import UsageError
from cnncli.lessons.notation import by, grid, number, worked
from cnncli.lessons.numbers import MOST_NUMBERS
from cnncli.lessons.page import Block, Figures, Formula, Grid, Picture, Prose, Sign, Step
from cnncli.lessons.reference import Stop, stops
from cnncli.windows import Sliding

Pair = tuple[int, int]
"""For height and width."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Stride, padding on each side, and dilation, each (height, width)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def windows(self, window: Pair) -> tuple[Sliding, Sliding]:
        """The moves of a window (kh, kw) along both axes."""
        over_height, over_width = (
            Sliding(kernel=k, stride=s, dilation=d, before=p, after=p)
            for k, s, d, p in zip(window, self.stride, self.dilation, self.padding, strict=True)
        )
        return over_height, over_width

    def output_size(self, size: Pair, window: Pair) -> Pair:
        """(OH, OW) for an input of `size` (H, W)."""
        height, width = (each.output_size(n) for each, n in zip(self.windows(window), size, strict=True))
        return height, width

    def check_fits(self, size: Pair, window: Pair) -> None:
        """Raise UsageError unless the window fits into the padded input, and that is not too large to follow."""
        padded = (size[0] + 2 * self.padding[0], size[1] + 2 * self.padding[1])
        spans = tuple(each.span for each in self.windows(window))
        if padded[0] * padded[1] > MOST_NUMBERS:
            raise UsageError(f"--padding: an input of {by(padded)} is more than can be followed by hand")
        if spans[0] > padded[0] or spans[1] > padded[1]:
            around = f" with its padding ({by(padded)})" if any(self.padding) else ""
            spread = f", spread over {by(spans)} by its dilation," if max(self.dilation) > 1 else ""
            raise UsageError(
                f"the window of {by(window)}{spread} does not fit into the input of {by(size)}{around}",
                remedy="give a smaller --kernel, a larger --input, or --padding",
            )


def read_pair(text: str, *, option: str, least: int) -> Pair:
    """`2` or `3,2`, height first, as an option gives it.

    Raises:
        UsageError: anything else, or less than `least`.
    """
    parts = text.split(",")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < least or max(numbers) > MOST_NUMBERS:
        raise UsageError(
            f"{option}: {text!r} is not a whole number from {least}, or two of them for height and width",
            remedy=f"such as {option} 2 or {option} 3,2",
        )
    return (numbers[0], numbers[-1])


def size_formula(size: Pair, window: Pair, sweep: Sweep) -> tuple[Block, ...]:
    """The formula of the output's size, and the numbers put into it, once where both axes have the same."""
    lines: list[Block] = [Formula("output = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1")]
    axes = [
        (n, k, s, p, d) for n, k, s, p, d in zip(size, window, sweep.stride, sweep.padding, sweep.dilation, strict=True)
    ]
    names = ("height and width",) if axes[0] == axes[1] else ("height", "width")
    for name, (n, k, s, p, d), units in zip(names, axes, sweep.output_size(size, window), strict=False):
        lines.append(Formula(f"{name}: floor(({n} + 2x{p} - {d}x({k} - 1) - 1) / {s}) + 1 = {units}"))
    return tuple(lines)


MOST_STOPS = 6
"""More steps teach no more; the others are told in a line."""
_MOST_CELLS = 12
"""Rows or columns beyond which a grid is no longer surveyed at a glance."""
_MOST_WIDTH = 40
"""Characters that leave room for a second figure."""


def walk(x: Tensor, kernel: Tensor, sweep: Sweep, result: Tensor, *, name: str = "kernel") -> tuple[Block, ...]:
    """Each stop of a kernel (kh, kw) on x (H, W): the window, the products, their sum in the output (OH, OW)."""
    kh, kw = kernel.shape
    every = stops(x, (kh, kw), stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)
    steps: list[Block] = []
    for i, stop in enumerate(every[:MOST_STOPS]):
        products = stop.products(kernel)
        figures = (
            window_on_input(x, stop, sweep),
            Sign("*"),
            grid(kernel, name),
            Sign("="),
            grid(products, "products"),
            Sign("->"),
            output_so_far(result, every[: i + 1]),
        )
        steps.append(
            Step(
                stop_title(i, len(every), stop),
                (Figures(figures), worked(stop.window, kernel, products.sum().item())),
            )
        )
    return (*steps, *rest_of_walk(len(every)))


def first_stop(x: Tensor, window: tuple[int, int], sweep: Sweep) -> Stop:
    """Where a window (kh, kw) begins on x (H, W)."""
    return stops(x, window, stride=sweep.stride, padding=sweep.padding, dilation=sweep.dilation)[0]


def stop_title(number_: int, count: int, stop: Stop) -> str:
    """`window 1 of 4, for output [0, 0]`."""
    return f"window {number_ + 1} of {count}, for output [{stop.output[0]}, {stop.output[1]}]"


def rest_of_walk(count: int) -> tuple[Block, ...]:
    """Says how many stops are not shown one by one."""
    left = count - MOST_STOPS
    return (Prose(f"The other {left:,} windows go the same way."),) if left > 0 else ()


def window_on_input(x: Tensor, stop: Stop, sweep: Sweep, title: str = "input") -> Grid:
    """The padded input with the window on it or, where that is too large, only what lies under the window."""
    (height, width), (ph, pw) = x.shape, sweep.padding
    if max(height + 2 * ph, width + 2 * pw) > _MOST_CELLS:
        rows, columns = stop.rows, stop.columns
        place = f"rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]}"
        return grid(stop.window, f"{title}, {place}")
    marked = {(i + ph, j + pw) for i in stop.rows for j in stop.columns}
    return padded_grid(x, sweep.padding, title, marked=marked)


def padded_grid(
    x: Tensor, padding: tuple[int, int], title: str, *, marked: Sequence[tuple[int, int]] | set[tuple[int, int]] = ()
) -> Grid:
    """x (H, W) in its frame of padding, which is written as dots; places in `marked` count from the frame's corner."""
    width, (ph, pw) = x.shape[1], padding
    inside = [[number(value) for value in row] for row in x.tolist()]
    blank = ["."] * (width + 2 * pw)
    cells = [blank] * ph + [["."] * pw + row + ["."] * pw for row in inside] + [blank] * ph
    faint = frozenset((i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell == ".")
    return Grid(cells=tuple(map(tuple, cells)), title=title, marked=frozenset(marked), faint=faint)


def output_so_far(result: Tensor, done: Sequence[Stop]) -> Grid:
    """The output with `?` where the window has not been yet, and the last number marked; just that if it is large."""
    last = done[-1].output
    if max(result.shape) > _MOST_CELLS:
        return grid(result[last].reshape(1, 1), f"output [{last[0]}, {last[1]}]", marked=[(0, 0)])
    known = {stop.output for stop in done}
    cells = tuple(
        tuple(number(value) if (i, j) in known else "?" for j, value in enumerate(row))
        for i, row in enumerate(result.tolist())
    )
    faint = frozenset((i, j) for i, row in enumerate(cells) for j, _ in enumerate(row) if (i, j) not in known)
    return Grid(cells=cells, title="output", marked=frozenset({last}), faint=faint)


def in_full(values: Tensor, title: str) -> Grid | Picture:
    """Numbers where they can be surveyed, shades where there are too many of them or they are too long."""
    written = grid(values, title)
    width = values.shape[1] * (1 + max(len(cell) for row in written.cells for cell in row))
    if max(values.shape) <= _MOST_CELLS and width <= _MOST_WIDTH:
        return written
    signed = bool((values < 0).any().item())
    return Picture(values=values.numpy(), title=f"{title}, {by(values.shape)}", signed=signed)


def equation(x: Tensor, kernel: Tensor, result: Tensor, sweep: Sweep) -> Figures:
    """input * kernel = output."""
    padded = max(x.shape[0] + 2 * sweep.padding[0], x.shape[1] + 2 * sweep.padding[1]) <= _MOST_CELLS
    seen = padded_grid(x, sweep.padding, "input") if padded else in_full(x, "input")
    return Figures((seen, Sign("*"), grid(kernel, "kernel"), Sign("="), in_full(result, "output")))


def legend(sweep: Sweep) -> tuple[Block, ...]:
    """What brackets and dots mean."""
    dots = " Dots are the padding: zeros around the input." if any(sweep.padding) else ""
    return (Prose(f"In brackets: what the window covers.{dots} A question mark is not computed yet."),)


def index_formula(sweep: Sweep) -> Formula:
    """The definition, as short as stride, padding and dilation allow."""

    def place(letter: str, tap: str, axis: int) -> str:
        s, p, d = sweep.stride[axis], sweep.padding[axis], sweep.dilation[axis]
        return (f"{s}{letter}" if s > 1 else letter) + f" + {d if d > 1 else ''}{tap}" + (f" - {p}" if p else "")

    return Formula(f"Y[i, j] = sum over a, b of X[{place('i', 'a', 0)}, {place('j', 'b', 1)}] x K[a, b]")
