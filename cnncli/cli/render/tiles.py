"""Tiles in the terminal, side by side: half blocks in colour, digits without."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from rich.text import Text

from cnncli.cli.render.cells import (
    FAINT,
    GAP,
    beside,
    digit_lines,
    half_block_lines,
    scale_pixels,
    thinning,
    thinning_note,
    width_of,
)
from cnncli.cli.render.medium import Medium
from cnncli.pictures.colour import Pixels, Scale
from cnncli.pictures.tile import Tile

MOST = 100
"""Tiles that are drawn; more would scroll away."""
_LEAST_SIDE = 8
"""Pixels to which small tiles are enlarged, by whole factors."""
_BAR = 24
"""Columns of the colour bar."""


def tile_lines(tiles: Sequence[Tile], medium: Medium) -> Iterator[Text]:
    """The lines of tiles: their scale, then as many beside each other as there is room for, labels above.

    Tiles that are on another scale than most have the ends of theirs in their label.
    """
    shared = _shared_scale([tile for tile in tiles if _has_scale(tile, medium)])
    yield from _legend(shared, medium)
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
        yield Text(f"(the first {MOST} of {len(tiles):,} in the picture are drawn here)", style=FAINT)


def _shared_scale(tiles: Sequence[Tile]) -> Scale | None:
    """The scale that several tiles have in common, or the only one."""
    scales = Counter(tile.scale for tile in tiles).most_common()
    if not scales:
        return None
    (scale, count), *others = scales
    return scale if count > 1 or not others else None


def _has_scale(tile: Tile, medium: Medium) -> bool:
    """Whether its scale says how to read it: in digits always, in colour where it is no image in its own colours."""
    return not medium.colours or np.array_equal(tile.pixels, tile.scale.colours(tile.values))


def _legend(scale: Scale | None, medium: Medium) -> Iterator[Text]:
    if scale is None:
        if not medium.colours:
            yield Text("9 = the end of each one's own scale, . = about 0", style=FAINT)
    elif scale.low == scale.high:
        yield Text(f"every value is {scale.high:.3g}", style=FAINT)
    elif medium.colours:
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
    step = thinning(width, medium.width if medium.colours else medium.width // 2)
    if medium.colours:
        pixels = _pixels(tile, medium)[::step, ::step]
        factor = max(1, -(-_LEAST_SIDE // max(height, width)))
        lines = half_block_lines(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
    else:
        lines = digit_lines(tile.values[::step, ::step], tile.scale)
    label = tile.label if tile.scale == shared or not _has_scale(tile, medium) else f"{tile.label} {_ends(tile.scale)}"
    return [Text(label), *lines, *([thinning_note(step)] if step > 1 else [])]


def _pixels(tile: Tile, medium: Medium) -> Pixels:
    """The colours of a tile; a picture that is no numbers on a scale is left as it is."""
    if medium.true_colour or not _has_scale(tile, medium):
        return tile.pixels
    return scale_pixels(tile.values, tile.scale, medium)


def _ends(scale: Scale) -> str:
    return f"±{scale.high:.2g}" if scale.signed else f"{scale.low:.3g}..{scale.high:.3g}"
