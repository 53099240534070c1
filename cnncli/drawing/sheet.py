"""Drawings of labeled tiles below a title: strips of equal tiles in the largest size that fits, or sections of cells.

title                low [ color bar ] high     title
captions                                        captions
input    0     1     2                          heading of a section
+---+  +---+ +---+ +---+                        +---+ +---+ +---+   cells, wrapped like words: panels one below the
|   |  |   | |   | |   |                        |   | |   | |   |   other or side by side, with text above and below
+---+  +---+ +---+ +---+                        +---+ +---+ +---+
                                                 text  text  text
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np

from cnncli.drawing.canvas import BACKGROUND, MARK, Box, Canvas
from cnncli.drawing.color import Color, Pixels, Scale
from cnncli.drawing.image import enlargement, thinning
from cnncli.drawing.layout import CAPTION_SIZE, CARD, LINE, MARGIN, PAGE, TITLE_HEIGHT, TITLE_SIZE, Layout, Sheet
from cnncli.drawing.text import Words, least_width, text_width, wrap

PART: Color = (255, 128, 0)
"""Color of the frame around a part of an image; on neither color scale."""
GAP, SECTION_GAP = 4, 8
PAGE_MARGIN = 6
INSET_MARGIN = 10
BAR_HEIGHT, BAR_WIDTH = 9, 64

Interval = tuple[int, int]
Key: TypeAlias = tuple[int, ...]
"""What a tile shows, as an index: (output, input) of a kernel, (channel,) of maps, (section, cell, panel)."""


@dataclass(frozen=True)
class Drawing:
    """A canvas, and where on it the tiles and the inset lie."""

    canvas: Canvas
    boxes: Mapping[Key, Box]
    inset: Box | None = None

    @cached_property
    def pixels(self) -> Pixels:
        """The canvas, not enlarged: uint8 (H, W, 3)."""
        return self.canvas.pixels

    def colors(self, box: Box) -> Pixels:
        """The pixels of a box, not enlarged: (h, w, 3)."""
        return self.pixels[box.y : box.bottom : box.scale, box.x : box.right : box.scale]


@dataclass(frozen=True)
class Bar:
    """A color scale as it is drawn: the colors (1, `BAR_WIDTH`, 3), and the text at its ends."""

    colors: Pixels
    low: str
    high: str

    @classmethod
    def of(cls, scale: Scale) -> Self:
        """The bar of one scale, with its numbers."""
        return cls(scale.gradient(BAR_WIDTH), f"{scale.low:.3g}", f"{scale.high:.3g}")

    @property
    def width(self) -> int:
        """Of the bar with the text at its ends, px."""
        return text_width(self.low) + 4 + BAR_WIDTH + 4 + text_width(self.high)


def _draw_header(canvas: Canvas, titles: Sequence[str], captions: Sequence[str], bar: Bar | None = None) -> None:
    """The lines of the title and those below it, and the color bar in the upper right corner."""
    right = canvas.width - MARGIN
    if bar is not None:
        x, middle = right - text_width(bar.high) - 4 - BAR_WIDTH, 3 + BAR_HEIGHT // 2
        colors = bar.colors.repeat(BAR_HEIGHT, axis=0)
        box = _box(colors, x=x, y=3, scale=1)
        canvas.frame(box)
        canvas.tile(box, colors)
        canvas.right_aligned(x - 4, middle, bar.low)
        canvas.right_aligned(right, middle, bar.high)
        right -= bar.width + 8
    for number, title in enumerate(titles):
        canvas.text(MARGIN, number * TITLE_HEIGHT, title, width=right - MARGIN, size=TITLE_SIZE)
    for number, caption in enumerate(captions):
        y = max(1, len(titles)) * TITLE_HEIGHT + number * LINE
        canvas.text(MARGIN, y, caption, width=canvas.width - 2 * MARGIN, size=CAPTION_SIZE)


def wrap_captions(captions: Sequence[Words], sheet: Sheet) -> list[str]:
    """The lines that captions take on a sheet."""
    return [line for caption in captions for line in wrap(caption, sheet.width - 2 * MARGIN, CAPTION_SIZE)]


def _header_height(captions: int) -> int:
    return TITLE_HEIGHT + captions * LINE + GAP


def _box(pixels: Pixels, *, x: int, y: int, scale: int) -> Box:
    return Box(x=x, y=y, height=pixels.shape[0], width=pixels.shape[1], scale=scale)


# Strips of equal tiles


@dataclass(frozen=True)
class Strip:
    """Tiles side by side, (h, w, 3) each, with a label for all of them."""

    label: str
    tiles: Mapping[Key, Pixels]


def tile_room(*, captions: int, inset: bool, sheet: Sheet = CARD) -> tuple[int, int]:
    """Height and width left for tiles and their labels below this many lines of captions, px."""
    return sheet.height - _header_height(captions) - 1, sheet.width - _inset_width(sheet, inset) - 2


def fit_captions(
    layout_below: Callable[[int], Layout], captions: Callable[[Layout], Sequence[Words]], sheet: Sheet
) -> tuple[Layout, list[str]]:
    """The layout of tiles below captions that say what it shows, and the lines of these captions.

    Args:
        layout_below: the layout, given the number of lines above it.
        captions: given the layout.
        sheet: what they are drawn on.
    """
    count = 0
    while True:
        layout = layout_below(count)
        lines = wrap_captions(captions(layout), sheet)
        if len(lines) <= count:
            return layout, lines
        count = len(lines)


def draw_tiles(
    strips: Sequence[Strip],
    layout: Layout,
    *,
    title: str,
    captions: Sequence[str],
    scale: Scale | Bar,
    columns: Sequence[str] = (),
    inset: Pixels | None = None,
    sheet: Sheet = CARD,
    marked: Collection[Key] = (),
) -> Drawing:
    """Draw the strips and tiles that `layout` has room for.

    Args:
        strips: one or more.
        layout: fitted into `tile_room(captions=len(captions), inset=inset is not None, sheet=sheet)`.
        title: shortened where it does not fit.
        captions: lines below the title, as `wrap_captions` gives them.
        scale: of the tiles, drawn with its two numbers; or another bar, where there is no single scale.
        columns: labels for the tiles of a strip, once above all.
        inset: a picture on the left, such as the input of a network: (h, w, 3).
        sheet: what it is drawn on.
        marked: tiles that are outlined; where there is no gap for that, a bar on the left of their strips.
    """
    bar = Bar.of(scale) if isinstance(scale, Scale) else scale
    top, beside = _header_height(len(captions)), _inset_width(sheet, inset is not None)
    inset_box = None
    if inset is not None:
        inset_box = _box(inset, x=MARGIN, y=top + LINE + 1, scale=max(1, sheet.inset // max(inset.shape[:2])))
    title_width = 8 + text_width(title, TITLE_SIZE) + bar.width
    header_width = max(title_width, *(text_width(caption, CAPTION_SIZE) for caption in captions))
    canvas, left = _canvas(layout, inset_box, sheet, beside=beside, top=top, header_width=header_width)
    _draw_header(canvas, [title], captions, bar)
    boxes, tiles = {}, {}
    for row, strip in enumerate(strips[: layout.strips]):
        for column, (key, pixels) in enumerate(list(strip.tiles.items())[: layout.tiles]):
            y, x = layout.corner(row, column)
            boxes[key] = _box(pixels, x=left + x, y=top + y, scale=layout.scale)
            tiles[key] = pixels
    for box in boxes.values():  # before any tile, so that tiles without a gap between them share one frame
        canvas.frame(box)
    for key in boxes.keys() & set(marked):
        canvas.frame(boxes[key], MARK, width=2 if layout.spacing.gap > 2 else 1)
        if not layout.spacing.gap and layout.spacing.left:
            canvas.bar(boxes[key], MARK)
    for key, box in boxes.items():
        canvas.tile(box, tiles[key])
    _draw_labels(canvas, strips, layout, columns=columns, left=left, top=top)
    if inset is not None and inset_box is not None:
        canvas.text(MARGIN, top, "input", width=beside)
        canvas.frame(inset_box)
        canvas.tile(inset_box, inset)
    return Drawing(canvas, boxes, inset_box)


def _inset_width(sheet: Sheet, inset: bool) -> int:
    return sheet.inset + INSET_MARGIN if inset else 0


def _canvas(
    layout: Layout, inset: Box | None, sheet: Sheet, *, beside: int, top: int, header_width: int
) -> tuple[Canvas, int]:
    """A canvas that holds everything, and where on it the tiles begin."""
    height, width = layout.size
    high = max(top + height, inset.bottom if inset else 0) + 1
    wide = sheet.width
    if sheet.trimmed:
        wide = min(wide, max(beside + width + 2 * PAGE_MARGIN, header_width + 2 * MARGIN))
        high += PAGE_MARGIN
    left = beside + max(1, (wide - beside - width) // 2)
    return Canvas(width=max(wide, left + width + 1), height=high if sheet.trimmed else max(sheet.height, high)), left


def _draw_labels(
    canvas: Canvas, strips: Sequence[Strip], layout: Layout, *, columns: Sequence[str], left: int, top: int
) -> None:
    """Strip labels, and column labels above the first line; some are skipped where labels would touch."""
    spacing, (down, _) = layout.spacing, layout.pitch
    tile_height, tile_width = layout.tile_height * layout.scale, layout.tile_width * layout.scale
    every_line = _label_step(LINE, down)
    for row, strip in enumerate(strips[: layout.strips]):
        y, x = layout.corner(row, 0)
        if spacing.above:
            canvas.centered(left + x + tile_width // 2, top + y - spacing.above, strip.label)
        elif spacing.left and row // layout.across % every_line == 0:
            canvas.right_aligned(left + x - 4, top + y + tile_height // 2, strip.label)
    if columns:
        every = _label_step(max(map(text_width, columns[: layout.tiles])) + 3, tile_width + spacing.gap)
        for place in range(layout.across):
            for column in range(0, layout.tiles, every):
                _, x = layout.corner(place, column)
                canvas.centered(left + x + tile_width // 2, top, columns[column])


def _label_step(needed: int, pitch: int) -> int:
    """Every n-th tile has room for a label: 1, 2, 4, 8, ..."""
    every = 1
    while every * pitch < needed:
        every *= 2
    return every


# Sections of cells


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """A picture in a cell.

    Attributes:
        pixels: uint8 (h, w, 3).
        scale: factor of enlargement.
        marked: first and last row and column of a part of it that is framed.
    """

    pixels: Pixels
    scale: int
    marked: tuple[Interval, Interval] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width on the sheet, px."""
        return self.pixels.shape[0] * self.scale, self.pixels.shape[1] * self.scale


def fit_panels(pictures: Sequence[Pixels], *, side: int, most: int | None = None) -> list[Panel]:
    """Panels at one scale, at which the longest side has about `side` px; thinned out beyond `most` pixels."""
    lengths = [length for picture in pictures for length in picture.shape[:2]] or [1]
    step = thinning(lengths, most or side)
    scale = enlargement([-(-length // step) for length in lengths], side)
    return [Panel(pixels=picture[::step, ::step], scale=scale) for picture in pictures]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """Panels that belong together, with a line of text above and lines below."""

    panels: Sequence[Panel]
    above: Words = ""
    below: Sequence[Words] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Section:
    """Cells under a heading and lines of text; each of the three may be missing."""

    heading: Words = ""
    lines: Sequence[Words] = ()
    cells: Sequence[Cell] = ()


def draw_sections(
    sections: Sequence[Section],
    *,
    title: Words,
    captions: Sequence[Words],
    side_by_side: bool = False,
    sheet: Sheet = PAGE,
) -> Drawing:
    """Draw sections one below the other.

    Args:
        sections: all their cells get the same room.
        title: broken into lines, as are the captions.
        captions: below it.
        side_by_side: whether the panels of a cell are side by side, rather than stacked.
        sheet: what it is drawn on; the drawing is as high as it must be, and as wide as the sheet unless trimmed.

    Returns:
        A drawing with a box for every (section, cell, panel).
    """
    cells = [cell for section in sections for cell in section.cells]
    room = sheet.width - 2 * MARGIN
    grid = _CellGrid.of(cells, side_by_side=side_by_side, room=room)
    if sheet.trimmed:
        room = min(room, _width(sections, grid, title, captions))
    titles = list(wrap(title, room, TITLE_SIZE))
    header = [line for caption in captions for line in wrap(caption, room, CAPTION_SIZE)]
    texts = [[line for text in (each.heading, *each.lines) for line in wrap(text, room)] for each in sections]
    tops, y = [], _header_height(len(header)) + max(0, len(titles) - 1) * TITLE_HEIGHT
    for section, lines in zip(sections, texts, strict=True):
        tops.append(y)
        y += len(lines) * LINE + grid.lines(len(section.cells)) * grid.height + SECTION_GAP
    canvas = Canvas(width=room + 2 * MARGIN, height=y - SECTION_GAP if sections else y)
    _draw_header(canvas, titles, header)
    boxes: dict[Key, Box] = {}
    for index, (section, lines, top) in enumerate(zip(sections, texts, tops, strict=True)):
        for number, line in enumerate(lines):
            canvas.text(MARGIN, top + number * LINE, line, width=room)
        first = top + len(lines) * LINE
        for number, cell in enumerate(section.cells):
            row, column = divmod(number, grid.across)
            placed = grid.draw(canvas, cell, x=MARGIN + column * grid.width, y=first + row * grid.height)
            boxes |= {(index, number, panel): box for panel, box in enumerate(placed)}
    return Drawing(canvas, boxes)


def draw_card(
    make: Callable[[int], Sequence[Section]], most: int, *, title: Words, side_by_side: bool = False
) -> Pixels:
    """As much as fits into a TensorBoard card, which has a fixed size; at least one.

    Args:
        make: the sections that show the first `n` items, given `n`.
        most: how many there are; 1 or more.
        title: above them; it says how many of how many are shown.
        side_by_side: as for `draw_sections`.
    """

    def draw(count: int) -> Canvas:
        parts = [title] if isinstance(title, str) else title
        heading = title if count == most else [f"{count} of {most}: ", *parts]
        return draw_sections(make(count), title=heading, captions=[], side_by_side=side_by_side, sheet=CARD).canvas

    fitting = bisect_right(range(2, most + 1), CARD.height, key=lambda count: draw(count).height)
    drawn = draw(1 + fitting).pixels
    pixels: Pixels = np.full((CARD.height, CARD.width, 3), BACKGROUND, dtype=np.uint8)
    pixels[: len(drawn)] = drawn[: CARD.height]
    return pixels


@dataclass(frozen=True, kw_only=True)
class _CellGrid:
    """Cells of equal size, `across` side by side; px.

    Attributes:
        panels: height and width of the room of each panel.
        side_by_side: whether the panels of a cell are side by side.
        above, below: room for text above the panels, and lines below them.
        width, height: from a cell to the next.
        across: cells in a line.
    """

    panels: Sequence[tuple[int, int]]
    side_by_side: bool
    above: int
    below: int
    width: int
    height: int
    across: int

    @classmethod
    def of(cls, cells: Sequence[Cell], *, side_by_side: bool, room: int) -> "_CellGrid":
        count = max((len(cell.panels) for cell in cells), default=0)
        panels = []
        for i in range(count):
            sizes = [cell.panels[i].size for cell in cells if i < len(cell.panels)]
            panels.append((max(height for height, _ in sizes), max(width for _, width in sizes)))
        texts = [text_width(line) for cell in cells for line in (cell.above, *cell.below)]
        heights, widths = [height + GAP for height, _ in panels], [width + GAP for _, width in panels]
        inner = sum(widths) if side_by_side else max(widths, default=0)
        # Long names of classes are shortened rather than widen all cells by more than half; numbers are not.
        least = max((least_width(line) for cell in cells for line in (cell.above, *cell.below)), default=0)
        width = max(inner, least + 4, min(max(texts, default=0) + 4, max(36, inner * 3 // 2)))
        above, below = any(cell.above for cell in cells), max((len(cell.below) for cell in cells), default=0)
        height = (max(heights, default=0) if side_by_side else sum(heights)) + (above + below) * LINE + SECTION_GAP
        across = max(1, room // max(1, width))
        if side_by_side:  # panels of a cell stand closer than those of different cells
            width = max(width, room // across)
        return cls(
            panels=panels,
            side_by_side=side_by_side,
            above=LINE * above,
            below=below,
            width=width,
            height=height,
            across=min(across, max(1, len(cells))),
        )

    def lines(self, cells: int) -> int:
        """Lines that this many cells take."""
        return -(-cells // self.across)

    def draw(self, canvas: Canvas, cell: Cell, *, x: int, y: int) -> Iterator[Box]:
        """Draw a cell from its upper left corner, and yield the boxes of its panels."""
        if cell.above:
            canvas.text(x + 1, y, cell.above, width=self.width - 2)
        left, top = x + 1, y + self.above + 1
        for panel, (height, width) in zip(cell.panels, self.panels, strict=False):
            box = _box(panel.pixels, x=left, y=top, scale=panel.scale)
            canvas.frame(box)
            canvas.tile(box, panel.pixels)
            if panel.marked is not None:
                canvas.frame(box.part(*panel.marked), PART)
            yield box
            left, top = (left + width + GAP, top) if self.side_by_side else (left, top + height + GAP)
        bottom = y + self.height - SECTION_GAP - self.below * LINE
        for number, line in enumerate(cell.below):
            canvas.text(x + 1, bottom + number * LINE, line, width=self.width - 2)


def _width(sections: Sequence[Section], grid: _CellGrid, title: Words, captions: Sequence[Words]) -> int:
    """The pixels that cells and texts need, between the margins."""
    cells = max((len(section.cells) for section in sections), default=0)
    texts = [text for section in sections for text in (section.heading, *section.lines)]
    return max(
        min(cells, grid.across) * grid.width,
        text_width(title, TITLE_SIZE),
        *(text_width(caption, CAPTION_SIZE) for caption in captions),
        *map(text_width, texts),
    )
