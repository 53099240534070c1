"""How a window moves over an input: stride, padding and dilation, and the sizes that come of them."""

from dataclasses import dataclass

from cnncli.errors import UsageError
from cnncli.explain.notation import by
from cnncli.explain.numbers import MOST_NUMBERS
from cnncli.explain.page import Block, Formula
from cnncli.geometry import Sliding

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
