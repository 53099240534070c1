"""Pictures in a terminal, drawn with characters: half blocks in color, digits or shades without."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import numpy as np
from rich.console import Console
from rich.style import Style
from rich.text import Text

from cnncli.drawing.color import NOT_FINITE, Pixels, Scale, Values
from cnncli.drawing.image import Tile

PLAIN_WIDTH = 80
"""Columns if stdout is not a terminal."""


@dataclass(frozen=True)
class Medium:
    """A terminal, or plain text.

    Attributes:
        width: columns.
        colors: whether there are colors (and characters beyond ASCII).
        true_color: whether there are 24-bit colors, not only 256.
    """

    width: int
    colors: bool
    true_color: bool = True

    @classmethod
    def of(cls, console: Console, *, most: int | None = None) -> Self:
        """The medium of a console: sixteen colors are too few for a scale, and count as none.

        Args:
            console: writes to stdout.
            most: columns to use, at most.
        """
        # Colors may be turned off (NO_COLOR).
        enough = console.color_system in ("256", "truecolor") and not console.no_color
        width = console.width if console.file.isatty() else PLAIN_WIDTH
        return cls(
            width if most is None else min(width, most),
            colors=enough and console.encoding.startswith("utf"),
            true_color=console.color_system == "truecolor",
        )


_BLUE = ((0, 0, 175), (0, 95, 215), (95, 135, 255), (135, 175, 255), (175, 215, 255))
_NEUTRAL = (238, 238, 238)
_RED = ((255, 175, 175), (255, 135, 135), (255, 95, 95), (215, 0, 0), (135, 0, 0))
DIVERGING = (*_BLUE, _NEUTRAL, *_RED)
SEQUENTIAL = (
    (0, 0, 95),
    (0, 0, 175),
    (0, 95, 135),
    (0, 135, 135),
    (0, 175, 135),
    (95, 215, 135),
    (215, 215, 135),
    (255, 255, 175),
)


def xterm_colors(values: Values, scale: Scale) -> Pixels:
    """The colors of values of any shape, with an axis of three channels added; each is one of xterm's 256."""
    palette = np.array(DIVERGING if scale.signed else SEQUENTIAL, dtype=np.uint8)
    finite = np.isfinite(values)
    low = scale.low if scale.high > scale.low else scale.low - (1.0 if scale.signed else 0.0)
    whole = (scale.high - scale.low) or (2.0 if scale.signed else 1.0)
    shares = (np.where(finite, values, scale.low) - low) / whole
    pixels: Pixels = palette[np.rint(shares.clip(0, 1) * (len(palette) - 1)).astype(int)]
    pixels[~finite] = NOT_FINITE
    return pixels


FAINT = "dim"
GAP = 3
"""Columns between pictures side by side."""

_GROUND = ". "
"""The lowest shade, and the middle of the signed ones: faint, but it shows where a picture ends."""
_RISING = (_GROUND, *(2 * each for each in ".:-=+*#%@"))
_SIGNED = {-2: "==", -1: "--", 0: _GROUND, 1: "++", 2: "##"}
_TOP_DIGIT = 9


def thinning(width: int, room: int) -> int:
    """The step between the pixels shown, so that a picture fits into `room` columns."""
    return max(1, -(-width // max(1, room)))


def thinning_note(step: int) -> Text:
    """The message that pixels are omitted."""
    return Text(f"(one pixel in {step} is shown)", style=FAINT)


def half_block_lines(pixels: Pixels) -> list[Text]:
    """A picture (H, W, 3) in color, two rows of pixels to a line."""
    return [_half_blocks(upper, lower) for upper, lower in _pairs(pixels)]


def scale_pixels(values: Values, scale: Scale, medium: Medium) -> Pixels:
    """The colors of values (H, W) on a scale, within those of the medium: (H, W, 3)."""
    return scale.colors(values) if medium.true_color else xterm_colors(values, scale)


def shade_lines(values: Values, scale: Scale) -> list[Text]:
    """A picture (H, W) in ten shades, or in five if the scale is signed."""
    return [Text(_shades(row, scale)) for row in values]


def digit_lines(values: Values, scale: Scale) -> list[Text]:
    """Numbers (H, W) as digits: 9 is the upper end of the scale, and `-9` the lower one of a signed scale.

    A dot rounds to 0; a question mark is not finite.
    """
    return [Text("".join(_digit(float(value), scale) for value in row)) for row in values]


def beside(columns: Sequence[list[Text]]) -> list[Text]:
    """Columns of lines side by side; operators (a single line) at half the height of the shortest column."""
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
    """The width of lines, in columns."""
    return max((line.cell_len for line in lines), default=0)


def _pairs(pixels: Pixels) -> list[tuple[Pixels, Pixels | None]]:
    """Rows of pixels in pairs; the last may be alone."""
    return [(pixels[y], pixels[y + 1] if y + 1 < len(pixels) else None) for y in range(0, len(pixels), 2)]


def _half_blocks(upper: Pixels, lower: Pixels | None) -> Text:
    """Two rows of pixels in one line: the upper as the foreground of each character, the lower as its background."""
    line = Text()
    for x, color in enumerate(upper):
        behind = None if lower is None else _hex(lower[x])
        line.append("\u2580", style=Style(color=_hex(color), bgcolor=behind))
    return line


def _hex(color: Pixels) -> str:
    red, green, blue = (int(each) for each in color)
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


MOST = 100
"""Maximum number of tiles that are drawn."""
_LEAST_SIDE = 8
"""Pixels to which small tiles are enlarged, by whole factors."""
_BAR = 24
"""Columns of the color bar."""


def tile_lines(tiles: Sequence[Tile], medium: Medium) -> Iterator[Text]:
    """The lines of tiles: their scale, then as many side by side as fit, with labels above.

    A tile with another scale than most has its ends in the label. Tiles of a matrix keep their rows; if a row is wider
    than the terminal, its first columns are drawn for all rows, then the next ones.
    """
    shared = _shared_scale([tile for tile in tiles if _has_scale(tile, medium)])
    yield from _legend(shared, medium)
    if any(tile.row is not None for tile in tiles):
        yield from _matrix_lines(tiles, medium, shared)
        return
    row: list[list[Text]] = []
    used = 0
    for tile in tiles[:MOST]:
        lines = _tile(tile, medium, shared)
        if row and used + width_of(lines) > medium.width:
            yield from beside(row)
            row, used = [], 0
        row.append(lines)
        used += width_of(lines) + GAP
    yield from beside(row)
    if len(tiles) > MOST:
        yield Text(f"(the first {MOST} of {len(tiles):,} tiles of the picture)", style=FAINT)


def _matrix_lines(tiles: Sequence[Tile], medium: Medium, shared: Scale | None) -> Iterator[Text]:
    rows = [list(row) for _, row in groupby(tiles, key=lambda tile: tile.row)]
    columns = min(MOST, max(map(len, rows)))
    shown = [row[:columns] for row in rows[: max(1, MOST // columns)]]
    drawn = [[_tile(tile, medium, shared) for tile in row] for row in shown]
    width = max(width_of(lines) for row in drawn for lines in row)
    across = max(1, (medium.width + GAP) // (width + GAP))
    for first in range(0, columns, across):
        if first:
            yield Text()
        for row in drawn:
            yield from beside(row[first : first + across])
    count = sum(map(len, shown))
    if count < len(tiles):
        yield Text(f"({count} of {len(tiles):,} tiles of the picture)", style=FAINT)


def _shared_scale(tiles: Sequence[Tile]) -> Scale | None:
    """The scale that several tiles share, or the only one."""
    scales = Counter(tile.scale for tile in tiles).most_common()
    if not scales:
        return None
    (scale, count), *others = scales
    return scale if count > 1 or not others else None


def _has_scale(tile: Tile, medium: Medium) -> bool:
    """Whether the scale applies: to digits always, to colors unless the tile is an image with its own."""
    return not medium.colors or np.array_equal(tile.pixels, tile.scale.colors(tile.values))


def _legend(scale: Scale | None, medium: Medium) -> Iterator[Text]:
    if scale is None:
        if not medium.colors:
            yield Text("9 = the end of each tile's own scale, . = about 0", style=FAINT)
    elif scale.low == scale.high:
        yield Text(f"every value is {scale.high:.3g}", style=FAINT)
    elif medium.colors:
        positions = np.linspace(scale.low, scale.high, _BAR)[None].repeat(2, axis=0)
        (bar,) = half_block_lines(scale_pixels(positions, scale, medium))
        yield Text.assemble(f"{scale.low:.3g} ", bar, f" {scale.high:.3g}")
    elif scale.signed:
        yield Text(f"9 = {scale.high:.3g}, -9 = {scale.low:.3g}, . = about 0")
    else:
        yield Text(f"9 = {scale.high:.3g}, . = about {scale.low:.3g}")


def _tile(tile: Tile, medium: Medium, shared: Scale | None) -> list[Text]:
    """A tile under its label."""
    height, width = tile.values.shape
    step = thinning(width, medium.width if medium.colors else medium.width // 2)
    if medium.colors:
        pixels = _pixels(tile, medium)[::step, ::step]
        factor = max(1, -(-_LEAST_SIDE // max(height, width)))
        lines = half_block_lines(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
    else:
        lines = digit_lines(tile.values[::step, ::step], tile.scale)
    label = tile.label if tile.scale == shared or not _has_scale(tile, medium) else f"{tile.label} {_ends(tile.scale)}"
    return [Text(label), *lines, *([thinning_note(step)] if step > 1 else [])]


def _pixels(tile: Tile, medium: Medium) -> Pixels:
    """The colors of a tile; an image with its own colors is unchanged."""
    if medium.true_color or not _has_scale(tile, medium):
        return tile.pixels
    return scale_pixels(tile.values, tile.scale, medium)


def _ends(scale: Scale) -> str:
    return f"±{scale.high:.2g}" if scale.signed else f"{scale.low:.3g}..{scale.high:.3g}"
