"""A long sheet of labeled pictures in sections: a page as wide as it must be, or a TensorBoard card.

title
captions
heading of a section
+---+ +---+ +---+
|   | |   | |   |     cells, wrapped like words: panels one below the other or side by side, and text around them
+---+ +---+ +---+
 text  text  text
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnncli.drawing.canvas import BACKGROUND, TEXT_SIZE, Box, Canvas, text_width
from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.grid import Drawing, Key
from cnncli.drawing.layout import CAPTION_SIZE, CARD, LINE, MARGIN, PAGE, TITLE_HEIGHT, TITLE_SIZE, Sheet

PART: Color = (255, 128, 0)
"""Of the frame around a part of an image: on neither scale."""
GAP, SECTION_GAP = 4, 8

Interval = tuple[int, int]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """Panels that belong together, with a line of text above and lines below."""

    panels: Sequence[Panel]
    above: str = ""
    below: Sequence[str] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Section:
    """Cells under a heading, if it has one; a section may have no cells and only say why."""

    heading: str = ""
    lines: Sequence[str] = ()
    cells: Sequence[Cell] = ()


def sheet(
    sections: Sequence[Section],
    *,
    title: str,
    captions: Sequence[str],
    side_by_side: bool = False,
    on: Sheet = PAGE,
) -> Drawing:
    """Draw sections one below the other.

    Args:
        sections: what is shown; all cells of the sheet get the same room.
        title: shortened where it does not fit.
        captions: below it, broken into lines.
        side_by_side: whether the panels of a cell stand beside each other, rather than one below the other.
        on: what it is drawn on; as high as it must be, and only if it is trimmed no wider.

    Returns:
        A drawing with a box for every (section, cell, panel).
    """
    cells = [cell for section in sections for cell in section.cells]
    plan = _Plan.of(cells, side_by_side=side_by_side, room=on.width - 2 * MARGIN)
    room = _used(sections, plan, title, captions, on) if on.trimmed else on.width - 2 * MARGIN
    wrapped = [line for caption in captions for line in _wrapped(caption, room, CAPTION_SIZE)]
    texts = [
        [line for text in (section.heading, *section.lines) for line in _wrapped(text, room)] for section in sections
    ]
    tops, y = [], TITLE_HEIGHT + len(wrapped) * LINE + GAP
    for section, lines in zip(sections, texts, strict=True):
        tops.append(y)
        y += len(lines) * LINE + plan.rows(len(section.cells)) * plan.height + SECTION_GAP
    canvas = Canvas(width=room + 2 * MARGIN, height=y - SECTION_GAP if sections else y)
    canvas.text(MARGIN, 0, title, width=room, size=TITLE_SIZE)
    for number, line in enumerate(wrapped):
        canvas.text(MARGIN, TITLE_HEIGHT + number * LINE, line, width=room, size=CAPTION_SIZE)
    boxes: dict[Key, Box] = {}
    for index, (section, lines, top) in enumerate(zip(sections, texts, tops, strict=True)):
        for number, line in enumerate(lines):
            canvas.text(MARGIN, top + number * LINE, line, width=room)
        first = top + len(lines) * LINE
        for number, cell in enumerate(section.cells):
            row, column = divmod(number, plan.across)
            placed = plan.draw(canvas, cell, x=MARGIN + column * plan.width, y=first + row * plan.height)
            boxes |= {(index, number, panel): box for panel, box in enumerate(placed)}
    return Drawing(canvas.pixels, boxes, None)


def card(make: Callable[[int], Sequence[Section]], most: int, *, title: str, side_by_side: bool = False) -> Pixels:
    """As much as a TensorBoard card shows pixel for pixel, which is of a fixed size; at least one.

    Args:
        make: the sections that show the first so many of what there is.
        most: how many there are; 1 or more.
        title: above them; it says how many of how many are shown.
        side_by_side: as for `sheet`.
    """

    def drawn(count: int) -> Pixels:
        heading = title if count == most else f"{count} of {most}: {title}"
        return sheet(make(count), title=heading, captions=[], side_by_side=side_by_side, on=CARD).pixels

    fitting = bisect_right(range(2, most + 1), CARD.height, key=lambda count: len(drawn(count)))
    shown = drawn(1 + fitting)
    pixels: Pixels = np.full((CARD.height, CARD.width, 3), BACKGROUND, dtype=np.uint8)
    pixels[: len(shown)] = shown[: CARD.height]
    return pixels


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The room of a cell, and how many stand side by side."""

    panels: Sequence[tuple[int, int]]
    side_by_side: bool
    above: int
    below: int
    width: int
    height: int
    across: int

    @classmethod
    def of(cls, cells: Sequence[Cell], *, side_by_side: bool, room: int) -> "_Plan":
        count = max((len(cell.panels) for cell in cells), default=0)
        panels = [
            (
                max(cell.panels[i].size[0] for cell in cells if i < len(cell.panels)),
                max(cell.panels[i].size[1] for cell in cells if i < len(cell.panels)),
            )
            for i in range(count)
        ]
        texts = [text_width(line) for cell in cells for line in (cell.above, *cell.below)]
        heights, widths = [height + GAP for height, _ in panels], [width + GAP for _, width in panels]
        inner = sum(widths) if side_by_side else max(widths, default=0)
        # Long names of classes are shortened rather than make all cells wider than half as much again.
        width = max(inner, min(max(texts, default=0) + 4, max(36, inner * 3 // 2)))
        above, below = any(cell.above for cell in cells), max((len(cell.below) for cell in cells), default=0)
        height = (max(heights, default=0) if side_by_side else sum(heights)) + (above + below) * LINE + SECTION_GAP
        across = max(1, room // max(1, width))
        if side_by_side:  # what belongs together stands closer than what does not
            width = max(width, room // across)
        most = max(1, len(cells))
        return cls(
            panels=panels,
            side_by_side=side_by_side,
            above=LINE * above,
            below=below,
            width=width,
            height=height,
            across=min(across, most),
        )

    def rows(self, cells: int) -> int:
        """Lines that so many cells take."""
        return -(-cells // self.across)

    def draw(self, canvas: Canvas, cell: Cell, *, x: int, y: int) -> Iterator[Box]:
        """Draw a cell from its upper left corner, and yield where its panels are."""
        if cell.above:
            canvas.text(x + 1, y, cell.above, width=self.width - 2)
        left, top = x + 1, y + self.above + 1
        for panel, (height, width) in zip(cell.panels, self.panels, strict=False):
            box = Box(x=left, y=top, height=panel.pixels.shape[0], width=panel.pixels.shape[1], scale=panel.scale)
            canvas.frame(box)
            canvas.tile(box, panel.pixels)
            if panel.marked is not None:
                canvas.frame(_part(box, *panel.marked), PART)
            yield box
            left, top = (left + width + GAP, top) if self.side_by_side else (left, top + height + GAP)
        bottom = y + self.height - SECTION_GAP - self.below * LINE
        for number, line in enumerate(cell.below):
            canvas.text(x + 1, bottom + number * LINE, line, width=self.width - 2)


def _used(sections: Sequence[Section], plan: "_Plan", title: str, captions: Sequence[str], on: Sheet) -> int:
    """The pixels between the margins that cells and texts take, if there are so many."""
    cells = max((len(section.cells) for section in sections), default=0)
    texts = [text for section in sections for text in (section.heading, *section.lines)]
    return min(
        on.width - 2 * MARGIN,
        max(
            min(cells, plan.across) * plan.width,
            text_width(title, TITLE_SIZE),
            *(text_width(caption, CAPTION_SIZE) for caption in captions),
            *map(text_width, texts),
        ),
    )


def _part(box: Box, rows: Interval, columns: Interval) -> Box:
    """Some rows and columns of an enlarged picture."""
    return Box(
        x=box.x + columns[0] * box.scale,
        y=box.y + rows[0] * box.scale,
        height=rows[1] - rows[0] + 1,
        width=columns[1] - columns[0] + 1,
        scale=box.scale,
    )


def _wrapped(text: str, width: int, size: int = TEXT_SIZE) -> Iterator[str]:
    """The lines of a text, each of so many pixels at most, if it has several words."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_width(longer, size) > width:
            yield line
            longer = word
        line = longer
    if line:
        yield line
