"""Numbers as characters: half blocks in colour; shades and digits without. Two characters are about a square."""

from collections.abc import Sequence

import numpy as np
from rich.style import Style
from rich.text import Text

from cnncli.cli.render.medium import Medium
from cnncli.cli.render.xterm import xterm_colours
from cnncli.pictures.colour import Pixels, Scale, Values

FAINT = "dim"
GAP = 3
"""Columns between pictures that stand side by side."""

_GROUND = ". "
"""The lowest of the shades, and the middle of the signed ones: faint, and still there to show where a picture ends."""
_RISING = (_GROUND, *(2 * each for each in ".:-=+*#%@"))
_SIGNED = {-2: "==", -1: "--", 0: _GROUND, 1: "++", 2: "##"}
_TOP_DIGIT = 9


def thinning(width: int, room: int) -> int:
    """Every how many pixels one is shown, so that a picture takes no more columns than there are."""
    return max(1, -(-width // max(1, room)))


def thinning_note(step: int) -> Text:
    """Says that pixels were left out."""
    return Text(f"(one pixel in {step} is shown)", style=FAINT)


def half_block_lines(pixels: Pixels) -> list[Text]:
    """A picture (H, W, 3) in colour, two rows of pixels to a line."""
    return [_half_blocks(upper, lower) for upper, lower in _pairs(pixels)]


def scale_pixels(values: Values, scale: Scale, medium: Medium) -> Pixels:
    """The colours of values (H, W) on a scale, as the medium can show them: (H, W, 3)."""
    return scale.colours(values) if medium.true_colour else xterm_colours(values, scale)


def shade_lines(values: Values, scale: Scale) -> list[Text]:
    """A picture (H, W) to look at, in ten shades, or in five where the scale is signed."""
    return [Text(_shades(row, scale)) for row in values]


def digit_lines(values: Values, scale: Scale) -> list[Text]:
    """Numbers (H, W) to read: 9 is the upper end of the scale, and `-9` the lower one of a signed scale.

    A dot is what rounds to 0, a question mark what is not finite.
    """
    return [Text("".join(_digit(float(value), scale) for value in row)) for row in values]


def beside(columns: Sequence[list[Text]]) -> list[Text]:
    """Columns of lines side by side; signs (a single line) at the height of the middle of the shortest column."""
    height = max(map(len, columns))
    middle = min((len(column) for column in columns if len(column) > 1), default=1) // 2
    lines = [Text() for _ in range(height)]
    for i, column in enumerate(columns):
        width = width_of(column)
        above = middle if len(column) == 1 else 0
        for y, line in enumerate(lines):
            cell = column[y - above] if 0 <= y - above < len(column) else Text()
            if i:
                line.append(" " * GAP)
            line.append_text(cell)
            line.append(" " * (width - cell.cell_len))
    for line in lines:
        line.rstrip()
    return lines


def width_of(lines: Sequence[Text]) -> int:
    """Columns that lines take."""
    return max((line.cell_len for line in lines), default=0)


def _pairs(pixels: Pixels) -> list[tuple[Pixels, Pixels | None]]:
    """Rows of pixels two by two; the last may be alone."""
    return [(pixels[y], pixels[y + 1] if y + 1 < len(pixels) else None) for y in range(0, len(pixels), 2)]


def _half_blocks(upper: Pixels, lower: Pixels | None) -> Text:
    """Two rows of pixels in one line: the upper half of each character in front, the lower behind."""
    line = Text()
    for x, colour in enumerate(upper):
        behind = None if lower is None else _hex(lower[x])
        line.append("\u2580", style=Style(color=_hex(colour), bgcolor=behind))
    return line


def _hex(colour: Pixels) -> str:
    red, green, blue = (int(each) for each in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _shades(row: Values, scale: Scale) -> str:
    if scale.signed:
        levels = np.sign(row) * np.ceil(np.abs(row) / (scale.high or 1.0) * 3 - 1).clip(0, 2)
        return "".join(_SIGNED[int(level)] for level in levels)
    positions = (row - scale.low) / ((scale.high - scale.low) or 1.0) * (len(_RISING) - 1)
    return "".join(_RISING[round(float(position))] for position in positions)


def _digit(value: float, scale: Scale) -> str:
    if not np.isfinite(value):
        return " ?"
    low = 0.0 if scale.signed else scale.low
    share = (value - low) / (scale.high - low) if scale.high > low else 0.0
    level = max(-_TOP_DIGIT if scale.signed else 0, min(_TOP_DIGIT, round(share * _TOP_DIGIT)))
    return f"{level:2}" if level else " ."
