"""One picture from many small tiles: a title, a caption, the printed color scale, and labeled tiles below.

title                low [ color bar ] high
caption
input    0     1     2
+---+  +---+ +---+ +---+
|   |  |   | |   | |   |
+---+  +---+ +---+ +---+
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from cnncli.drawing.canvas import MARK, Box, Canvas, text_width
from cnncli.drawing.color import Pixels, Scale
from cnncli.drawing.layout import CAPTION_SIZE, CARD, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, Layout, Sheet

PAGE_MARGIN = 6
INSET_MARGIN = 10
BAR_HEIGHT, BAR_WIDTH = 9, 64

Key: TypeAlias = tuple[int, ...]
"""What a tile shows, as an index into its tensor: (output, input) of a kernel, (channel,) of a map."""


@dataclass(frozen=True)
class Strip:
    """Tiles side by side, (h, w, 3) each, with a label for all of them."""

    label: str
    tiles: Mapping[Key, Pixels]


@dataclass(frozen=True)
class Bar:
    """A color scale as it is drawn: the colors (1, `BAR_WIDTH`, 3), and what is written at its ends."""

    colors: Pixels
    low: str
    high: str

    @classmethod
    def of(cls, scale: Scale) -> Self:
        """The bar of one scale, with its numbers."""
        return cls(scale.gradient(BAR_WIDTH), f"{scale.low:.3g}", f"{scale.high:.3g}")

    @property
    def width(self) -> int:
        """Of the bar with what is written beside it, px."""
        return text_width(self.low) + 4 + BAR_WIDTH + 4 + text_width(self.high)


@dataclass(frozen=True)
class Drawing:
    """`pixels` uint8 (H, W, 3), and where in it the tiles and the inset lie."""

    pixels: Pixels
    boxes: Mapping[Key, Box]
    inset: Box | None

    def colors(self, box: Box) -> Pixels:
        """What a box shows, one pixel for each value: (h, w, 3)."""
        return self.pixels[box.y : box.bottom : box.scale, box.x : box.right : box.scale]


def room(*, captions: int, inset: bool, sheet: Sheet = CARD) -> tuple[int, int]:
    """Height and width left for tiles and their labels in a picture with that many lines of caption, px."""
    return sheet.height - _header(captions) - 1, sheet.width - _inset_width(sheet, inset) - 2


def compose(
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
    """Draw what `layout` shows of the strips.

    Args:
        strips: one or more.
        layout: a plan for `room(captions=len(captions), inset=inset is not None, sheet=sheet)`.
        title: shortened where it does not fit, as are the captions.
        captions: lines below the title.
        scale: of the tiles, drawn with its two numbers; a bar of one's own where it is no single one.
        columns: labels for the tiles of a strip, written once above them.
        inset: a picture of its own on the left, such as the input of a network: (h, w, 3).
        sheet: what it is drawn on.
        marked: tiles that are outlined; where there is no gap for that, a bar stands on the left of their strips.
    """
    bar = Bar.of(scale) if isinstance(scale, Scale) else scale
    header, beside = _header(len(captions)), _inset_width(sheet, inset is not None)
    inset_box = None
    if inset is not None:
        inset_box = _box(inset, x=MARGIN, y=header + LINE + 1, scale=max(1, sheet.inset // max(inset.shape[:2])))
    header_width = max(8 + text_width(title, TITLE_SIZE) + bar.width, *(text_width(t, CAPTION_SIZE) for t in captions))
    canvas, left = _canvas(layout, inset_box, sheet, beside=beside, header=header, header_width=header_width)
    _write_header(canvas, title, captions, bar)
    boxes, tiles = {}, {}
    for place, key, pixels in _shown(strips, layout):
        y, x = layout.corner(*place)
        boxes[key] = _box(pixels, x=left + x, y=header + y, scale=layout.scale)
        tiles[key] = pixels
    for box in boxes.values():  # before any tile, so that tiles without a gap between them share one frame
        canvas.frame(box)
    for key in boxes.keys() & set(marked):
        canvas.frame(boxes[key], MARK, width=2 if layout.spacing.gap > 2 else 1)
        if not layout.spacing.gap and layout.spacing.left:
            canvas.bar(boxes[key], MARK)
    for key, box in boxes.items():
        canvas.tile(box, tiles[key])
    _draw_labels(canvas, strips, layout, columns=columns, left=left, top=header)
    if inset is not None and inset_box is not None:
        canvas.text(MARGIN, header, "input", width=beside)
        canvas.frame(inset_box)
        canvas.tile(inset_box, inset)
    return Drawing(canvas.pixels, boxes, inset_box)


def _canvas(
    layout: Layout, inset: Box | None, sheet: Sheet, *, beside: int, header: int, header_width: int
) -> tuple[Canvas, int]:
    """A sheet that holds everything, and where on it the tiles begin."""
    height, width = layout.size
    high = max(header + height, inset.bottom if inset else 0) + 1
    wide = sheet.width
    if sheet.trimmed:
        wide = min(wide, max(beside + width + 2 * PAGE_MARGIN, header_width + 2 * MARGIN))
        high += PAGE_MARGIN
    left = beside + max(1, (wide - beside - width) // 2)
    return Canvas(width=max(wide, left + width + 1), height=high if sheet.trimmed else max(sheet.height, high)), left


def _write_header(canvas: Canvas, title: str, captions: Sequence[str], bar: Bar) -> None:
    bar_left = _draw_bar(canvas, bar)
    canvas.text(MARGIN, 0, title, width=bar_left - 8 - MARGIN, size=TITLE_SIZE)
    for number, caption in enumerate(captions):
        y = TITLE_HEIGHT + number * LINE
        canvas.text(MARGIN, y, caption, width=canvas.width - 2 * MARGIN, size=CAPTION_SIZE)


def _header(captions: int) -> int:
    return TITLE_HEIGHT + captions * LINE + 4


def _inset_width(sheet: Sheet, inset: bool) -> int:
    return sheet.inset + INSET_MARGIN if inset else 0


def _box(pixels: Pixels, *, x: int, y: int, scale: int) -> Box:
    return Box(x=x, y=y, height=pixels.shape[0], width=pixels.shape[1], scale=scale)


def _shown(strips: Sequence[Strip], layout: Layout) -> Iterator[tuple[tuple[int, int], Key, Pixels]]:
    """(strip, tile) numbers, key and pixels of every tile that the layout shows."""
    for row, strip in enumerate(strips[: layout.strips]):
        for column, (key, pixels) in enumerate(list(strip.tiles.items())[: layout.tiles]):
            yield (row, column), key, pixels


def _draw_bar(canvas: Canvas, bar: Bar) -> int:
    """The color bar with its numbers in the upper right corner; returns where it begins."""
    end = canvas.width - MARGIN
    x = end - text_width(bar.high) - 4 - BAR_WIDTH
    middle = 3 + BAR_HEIGHT // 2
    colors = bar.colors.repeat(BAR_HEIGHT, axis=0)
    box = _box(colors, x=x, y=3, scale=1)
    canvas.frame(box)
    canvas.tile(box, colors)
    canvas.right_aligned(x - 4, middle, bar.low)
    canvas.right_aligned(end, middle, bar.high)
    return end - bar.width


def _draw_labels(
    canvas: Canvas, strips: Sequence[Strip], layout: Layout, *, columns: Sequence[str], left: int, top: int
) -> None:
    """Strip labels, and column labels over the first line; thinned out where they would touch."""
    spacing, (down, _) = layout.spacing, layout.pitch
    tile_height, tile_width = layout.tile_height * layout.scale, layout.tile_width * layout.scale
    every_line = _thinning(LINE, down)
    for row, strip in enumerate(strips[: layout.strips]):
        y, x = layout.corner(row, 0)
        if spacing.above:
            canvas.centered(left + x + tile_width // 2, top + y - spacing.above, strip.label)
        elif spacing.left and row // layout.across % every_line == 0:
            canvas.right_aligned(left + x - 4, top + y + tile_height // 2, strip.label)
    if columns:
        every = _thinning(max(map(text_width, columns[: layout.tiles])) + 3, tile_width + spacing.gap)
        for place in range(layout.across):
            for column in range(0, layout.tiles, every):
                _, x = layout.corner(place, column)
                canvas.centered(left + x + tile_width // 2, top, columns[column])


def _thinning(needed: int, pitch: int) -> int:
    """Every how many tiles a label has room: 1, 2, 4, 8, ..."""
    every = 1
    while every * pitch < needed:
        every *= 2
    return every
