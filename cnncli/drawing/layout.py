"""The positions of tiles, computed before anything is drawn.

A drawing consists of *strips*: rows of tiles that belong together, such as the slices of one filter, or a single
feature map. Strips are laid out like words, `across` of them side by side, then the next line. All tiles have the same
size and are enlarged by the same whole factor.
"""

import math
from dataclasses import dataclass

# A card in the "time series" view of TensorBoard 2.21 is 215 px high and at least 304 px wide. A picture of exactly
# this size is shown pixel for pixel; larger ones are shrunk by dropping rows and columns.
WIDTH, HEIGHT = 304, 215
LINE = 12
"""Height of a line of text, px."""
TITLE_SIZE, CAPTION_SIZE = 12, 11
"""Size of the letters of a title and of the lines below it, px; labels have `canvas.TEXT_SIZE`."""
TITLE_HEIGHT = 17
"""Height of the line of the title, px."""
MARGIN = 2
"""Distance between text and the border, px."""


@dataclass(frozen=True, kw_only=True)
class Lettering:
    """Sizes of text, px.

    Attributes:
        text, title: of the letters.
        line, title_height: of a line of each.
    """

    text: int
    line: int
    title: int
    title_height: int


CARD_LETTERING = Lettering(text=10, line=LINE, title=TITLE_SIZE, title_height=TITLE_HEIGHT)
PAGE_LETTERING = Lettering(text=13, line=18, title=17, title_height=26)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A medium for drawings; sizes in px.

    Attributes:
        width, height: largest size.
        trimmed: whether drawings that need less are smaller; otherwise all have this size.
        gap: between tiles that belong together.
        tile: longer side of an enlarged tile, at most; None for as large as fits.
        thinned: feature maps of more pixels a side are thinned out.
        inset: for the longer side of the inset.
    """

    width: int
    height: int
    trimmed: bool
    gap: int
    tile: int | None
    thinned: int
    inset: int

    def most_scale(self, height: int, width: int, *, matrix: bool = False) -> int | None:
        """The largest factor of enlargement of a tile, half that in a matrix; None without a limit."""
        return None if self.tile is None else max(1, self.tile // (2 if matrix else 1) // max(height, width))


CARD = Sheet(width=WIDTH, height=HEIGHT, trimmed=False, gap=1, tile=None, thinned=96, inset=56)
"""For a card of TensorBoard."""
PAGE = Sheet(width=1000, height=1600, trimmed=True, gap=4, tile=96, thinned=320, inset=112)
"""For a file: many more tiles, each up to a useful size."""


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """The pixels around tiles.

    Attributes:
        gap: between two tiles.
        above: for a label above every strip.
        left: for a label on the left of every strip.
        top: for column labels, once above all.
        between: between strips that stand side by side.
    """

    gap: int
    above: int = 0
    left: int = 0
    top: int = 0
    between: int = 0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How many strips and tiles are shown, their size and arrangement; positions are relative to the tile area."""

    strips: int
    tiles: int
    across: int
    scale: int
    tile_height: int
    tile_width: int
    spacing: Spacing

    @property
    def pitch(self) -> tuple[int, int]:
        """Pixels from a strip to the one below, and to the one on its right."""
        down = self.spacing.above + self.tile_height * self.scale + self.spacing.gap
        right = self.spacing.left + self.tiles * (self.tile_width * self.scale + self.spacing.gap)
        return down, right + self.spacing.between

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all that is shown, px."""
        down, right = self.pitch
        lines = -(-self.strips // self.across)
        return self.spacing.top + lines * down, self.across * right - self.spacing.between

    def corner(self, strip: int, tile: int) -> tuple[int, int]:
        """y and x of a tile's first pixel."""
        down, right = self.pitch
        line, place = divmod(strip, self.across)
        y = self.spacing.top + line * down + self.spacing.above
        x = place * right + self.spacing.left + tile * (self.tile_width * self.scale + self.spacing.gap)
        return y, x


def plan(
    *,
    strips: int,
    tiles: int,
    tile: tuple[int, int],
    room: tuple[int, int],
    spacing: Spacing,
    least_scale: int,
    most_scale: int | None = None,
) -> Layout:
    """The largest layout of `strips` strips of `tiles` tiles that fits the room.

    Args:
        strips: how many there are.
        tiles: in one strip.
        tile: height and width of a tile before enlargement.
        room: height and width that the tiles may take with their labels, px.
        spacing: around tiles.
        least_scale: tiles are not made smaller than this factor; the last ones are omitted instead, but
            never the first, even if it does not fit.
        most_scale: tiles are not made larger than this factor (or `least_scale`). Of the arrangements that reach it,
            the most compact is chosen.
    """
    (tile_height, tile_width), (height, width) = tile, room
    tiles_that_fit = (width - spacing.left) // (tile_width * least_scale + spacing.gap)
    tiles = max(1, min(tiles, tiles_that_fit))
    fixed = spacing.left + tiles * spacing.gap + spacing.between
    most = math.inf if most_scale is None else max(most_scale, least_scale)
    best_scale, best_across, best_side = 0, 1, math.inf
    for across in range(1, strips + 1):
        lines = -(-strips // across)
        by_width = ((width + spacing.between) // across - fixed) // (tiles * tile_width)
        by_height = ((height - spacing.top) // lines - spacing.above - spacing.gap) // tile_height
        scale = int(min(by_width, by_height, most))
        wide, high = across * (fixed + tiles * tile_width * scale), lines * (spacing.above + tile_height * scale)
        side = math.inf if scale < most else max(wide, high)
        if scale > best_scale or (scale == best_scale and side < best_side):
            best_scale, best_across, best_side = scale, across, side
    if best_scale < least_scale:
        best_scale = least_scale
        best_across = max(1, (width + spacing.between) // (fixed + tiles * tile_width * best_scale))
        lines = (height - spacing.top) // (spacing.above + tile_height * best_scale + spacing.gap)
        strips = max(1, min(strips, best_across * lines))
    return Layout(
        strips=strips,
        tiles=tiles,
        across=min(best_across, strips),
        scale=best_scale,
        tile_height=tile_height,
        tile_width=tile_width,
        spacing=spacing,
    )
