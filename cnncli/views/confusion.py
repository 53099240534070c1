"""The confusion matrix of the test images.

Letters for shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cnncli.drawing.canvas import Box, Canvas, ink_on
from cnncli.drawing.color import NEUTRAL, sequential
from cnncli.drawing.layout import CARD_LETTERING, HEIGHT, LINE, MARGIN, PAGE_LETTERING, WIDTH, Lettering
from cnncli.drawing.sheet import Drawing
from cnncli.drawing.text import Name, Words, fit_name, shortened, text_width
from cnncli.training.scores import WORST, confusion_text
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.drawing.color import Color, Pixels, Values
    from cnncli.drawing.sheet import Key
    from cnncli.inspection.formatting import Line
    from cnncli.run import Run

Counts = npt.NDArray[np.int64]

SHORTEST_LABEL, LONGEST_LABEL = 36, 120
"""In a card, names of classes are shortened to the second, and not below the first to make room, px."""
LONGEST_ROW_LABEL, LONGEST_COLUMN_LABEL = 230, 150
"""In a file, names of classes beside the rows and above the columns are shortened to this, px."""
MOST_NUMBERED = 64
"""In a file, the cells of up to this many classes show their counts."""
LARGEST_SIDE = 2800
"""A file of more classes has a matrix of about this many pixels a side, at most, if a class has at least 3 of them."""
SWATCHES = (0, 1, 5, 25, 100)
"""Percentages whose colors the legend shows."""


@dataclass(frozen=True, kw_only=True)
class Confusion(View):
    """The confusion matrix of the test images, and the accuracy of each class.

    Examples:

      cnncli show confusion runs/lenet5-20260131-120000
    """

    name = "confusion"

    def pictures(self, run: Run) -> Iterator[Picture]:
        """The matrix, and as lines the pairs of classes that are confused most."""
        predictions = run.predictions
        counts = predictions.confusion
        accuracy = f"{predictions.accuracy:.2%} of {len(predictions):,} test images are classified correctly"
        evaluation = predictions.evaluation(run.classes)
        card = draw_confusion(counts, run.classes, title=f"accuracy {predictions.accuracy:.2%}", letters=CARD_LETTERING)
        yield Picture(
            tag="eval/confusion",
            title=accuracy,
            canvas=draw_confusion(counts, run.classes, title=accuracy).canvas,
            card=card.pixels,
            text=lambda width, ascii_only: text_lines(counts, run.classes, width),
            numbers={"accuracy": predictions.accuracy},
            data={"classes": list(run.classes), "confusion": counts.tolist()},
            lines=[
                accuracy,
                *(confusion_text(evaluation, pair) for pair in evaluation.most_confused(WORST)),
            ],
        )


def draw_confusion(
    counts: Counts, classes: Sequence[str], *, title: str, letters: Lettering = PAGE_LETTERING
) -> Drawing:
    """A row for each true class, a column for each predicted one, the accuracy of each class on the right.

    The color of a cell is the square root of its share of the row, so that single errors are visible next to hundreds
    of hits; cells without an image have a separate color. The cells of a file show their counts with up to
    `MOST_NUMBERED` classes, those of a card with up to 14.

    Args:
        counts: (K, K), `counts[true, predicted]` images.
        classes: K names, shortened in their middle where they do not fit.
        title: shortened where it does not fit.
        letters: of a file, or `CARD_LETTERING` for a card of TensorBoard.

    Returns:
        A drawing with a box for every (true, predicted).
    """
    is_card = letters is CARD_LETTERING
    plan = _Plan.of_card(counts, classes) if is_card else _Plan.of_page(counts, classes, letters)
    count = len(classes)
    legend = _Legend(title, letters)
    spill = max(0, (letters.line - plan.height) // 2)  # labels of thin rows reach above the first
    top = legend.height + plan.above + spill
    width = plan.left + count * plan.width + plan.right + MARGIN
    bottom = top + count * plan.height + 2 + spill * (not is_card)
    canvas = Canvas(width=max(WIDTH if is_card else legend.width, width), height=max(HEIGHT if is_card else 0, bottom))
    legend.draw(canvas)
    x, y = plan.left, top
    matrix = Box(x=x, y=y, height=count * plan.height, width=count * plan.width, scale=1)
    canvas.frame(matrix)
    totals = counts.sum(axis=1)
    colors = share_colors(row_shares(counts))  # (K, K, 3)
    boxes: dict[Key, Box] = {}
    for true, predicted in np.ndindex(counts.shape):
        box = Box(x=x + predicted * plan.width, y=y + true * plan.height, height=plan.height, width=plan.width, scale=1)
        red, green, blue = colors[true, predicted].tolist()
        color: Color = (red, green, blue)
        canvas.rectangle(box.x, box.y, width=box.width, height=box.height, color=color)
        if plan.numbers and counts[true, predicted]:
            center = (box.x + box.width / 2, box.y + box.height / 2)
            canvas.middle(*center, str(counts[true, predicted]), ink=ink_on(color), size=plan.number_size)
        boxes[true, predicted] = box
    right = matrix.right + plan.right
    for number in range(0, count, plan.every_row):
        middle_row = y + number * plan.height + plan.height // 2
        half = letters.line // 2 - (not is_card)
        canvas.text(MARGIN, middle_row - half, plan.rows[number], width=plan.left - MARGIN - 3, size=letters.text)
        canvas.right_aligned(right, middle_row, _percent(counts[number, number], totals[number]), size=letters.text)
    for number in range(0, count, plan.every_column):
        middle = x + number * plan.width + plan.width // 2
        if plan.upward:
            canvas.upward(middle, y - 4, plan.columns[number], size=letters.text)
        else:
            canvas.centered(middle, y - letters.line, plan.columns[number], size=letters.text)
    canvas.right_aligned(right, y - letters.line // 2, "right", size=letters.text)
    return Drawing(canvas, boxes)


def row_shares(counts: Counts) -> Values:
    """Counts (K, K) as shares of their row, from 0 to 1; 0 in a row without images."""
    shares: Values = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def share_colors(shares: Values) -> Pixels:
    """The colors (..., 3) of shares from 0 to 1: the sequential scale reversed, so that on white, hits stand out."""
    colors = sequential(1 - np.sqrt(shares), 0.0, 1.0)
    colors[shares == 0] = NEUTRAL
    return colors


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Sizes in px: of a cell, and of what is drawn to the left and right of the matrix, and above it.

    Attributes:
        numbers: whether the cells show their counts, in letters of `number_size`.
        rows, columns: labels.
        every_row, every_column: every n-th label has room.
        upward: whether the labels of columns are turned.
    """

    height: int
    width: int
    left: int
    right: int
    above: int
    numbers: bool
    number_size: int
    rows: Sequence[Words]
    columns: Sequence[str]
    every_row: int
    every_column: int
    upward: bool = False

    @classmethod
    def of_card(cls, counts: Counts, classes: Sequence[str]) -> _Plan:
        """The largest cells that fit a TensorBoard card, and counts in them where a line of text fits.

        Cells have at least 3 pixels, and are wide enough for their counts; where there are too many for a card, the
        picture is larger. Where names are wider than a column, the classes are numbered: a row has number and name.
        """
        count = len(classes)
        right = max(text_width("100%"), text_width("right")) + 4
        height = max(3, (HEIGHT - _Legend("", CARD_LETTERING).height - LINE - 4) // count)
        numbers = height >= LINE
        width = max(text_width(str(each)) for each in counts.flat) + 1 if numbers else height
        named = _widest(classes) <= (width if numbers else LINE) - 2
        rows: list[Words] = [[Name(name)] if named else [f"{i} ", Name(name)] for i, name in enumerate(classes)]
        columns = classes if named else [str(number) for number in range(count)]
        left = min(_widest(rows) + 6, LONGEST_LABEL)
        spare = WIDTH - right - 2 * MARGIN - left - count * width
        if spare < 0 and left + spare >= SHORTEST_LABEL:
            left += spare
        elif spare > 0 and numbers:
            width = min(width + spare // count, 2 * height)
        return cls(
            height=height,
            width=width,
            left=left,
            right=right,
            above=LINE,
            numbers=numbers,
            number_size=CARD_LETTERING.text,
            rows=rows,
            columns=columns,
            every_row=-(-LINE // height),
            every_column=-(-(_widest(columns) + 2) // width),
        )

    @classmethod
    def of_page(cls, counts: Counts, classes: Sequence[str], letters: Lettering) -> _Plan:
        """Cells as large as useful; names beside the rows, and above the columns, upward where they are wider."""
        count, size = len(classes), letters.text
        numbers = count <= MOST_NUMBERED
        right = max(text_width("100%", size), text_width("right", size)) + 8
        if numbers:
            height = min(44, max(20, 500 // count))
            number_size = size if count <= 20 else size - 2
            widest = max(text_width(str(each), number_size) for each in counts.flat)
            width = max(widest + 6, height)
        else:
            height = width = max(3, min(size + 2, LARGEST_SIDE // count))
            number_size = size
        upward = _widest(classes, size) > width - 4
        most = LONGEST_COLUMN_LABEL if upward else width
        columns = [fit_name(name, most, size) for name in classes]
        left = min(_widest(classes, size), LONGEST_ROW_LABEL) + 10
        return cls(
            height=height,
            width=width,
            left=left,
            right=right,
            above=_widest(columns, size) + 8 if upward else letters.line,
            numbers=numbers,
            number_size=number_size,
            rows=[[Name(name)] for name in classes],
            columns=columns,
            every_row=-(-(size + 1) // height),
            every_column=-(-(size + 1) // width) if upward else 1,
            upward=upward,
        )


def _widest(texts: Sequence[Words], size: int = CARD_LETTERING.text) -> int:
    return max(text_width(text, size) for text in texts)


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that only all of them are 100%."""
    return f"{100 * part // whole}%" if whole else "-"


@dataclass(frozen=True)
class _Legend:
    """The title, what rows and columns are, and the colors of some shares."""

    title: str
    letters: Lettering

    _CAPTION = "a row for each true class, a column for each predicted one"

    @property
    def height(self) -> int:
        """px, with the space below it."""
        return self.letters.title_height + self.letters.line + 1

    @property
    def width(self) -> int:
        """The width that it needs, px."""
        title = text_width(self.title, self.letters.title) + self._swatches_width + 24
        return 2 * MARGIN + max(title, text_width(self._CAPTION, self.letters.text))

    @property
    def _swatches_width(self) -> int:
        return sum(text_width(f"{each}%", self.letters.text) + self.letters.text + 8 for each in SWATCHES)

    def draw(self, canvas: Canvas) -> None:
        """In the upper left corner, in the width of a card or as much as it needs."""
        letters = self.letters
        right = WIDTH - MARGIN if letters is CARD_LETTERING else self.width - MARGIN
        x, side = right, letters.text - 1
        for percent in reversed(SWATCHES):
            label = f"{percent}%"
            x -= text_width(label, letters.text)
            canvas.text(x, 3, label, width=canvas.width, size=letters.text)
            x -= side + 3
            box = Box(x=x, y=4, height=side - 1, width=side, scale=1)
            canvas.frame(box)
            canvas.tile(box, share_colors(np.full((side - 1, side), percent / 100)))
            x -= 6
        canvas.text(MARGIN, 0, self.title, width=x - MARGIN, size=letters.title)
        canvas.text(MARGIN, letters.title_height, self._CAPTION, width=right - MARGIN, size=letters.text)


# In a terminal

_LEAST_NAME, _MOST_NAME = 8, 24
"""Characters of a name."""
_COLUMN_NAME = 6
_LISTED = 3
"""Wrong predictions that are listed for a class whose row of the matrix does not fit."""


def text_lines(counts: Counts, classes: Sequence[str], width: int) -> Iterator[Line]:
    """The counts for a terminal: the matrix where it fits, else the most frequent wrong predictions of each class.

    Correct predictions are in brackets, and errors are bold; a cell without an image is a dot.
    """
    totals = counts.sum(axis=1)
    digits = max(len(str(each)) for each in counts.flat)
    named = max(map(len, classes)) <= max(digits, _COLUMN_NAME)
    columns = list(classes) if named else [str(number) for number in range(len(classes))]
    cell = max(digits + 2, *(len(name) + 1 for name in columns))
    prefix = 0 if named else len(str(len(classes) - 1)) + 1
    longest = min(_MOST_NAME, max(map(len, classes)))
    room = width - len(classes) * cell - prefix - len("  100%")
    if room < min(longest, _LEAST_NAME):
        yield from _listed(counts, classes, totals, width)
        return
    name_width = min(longest, room)
    yield [("rows: true class; columns: predicted; [correct]; . is 0", "dim")]
    heads = "".join(f"{name:>{cell - 1}} " for name in columns)
    yield [(" " * (prefix + name_width + 1) + heads + "right", "bold")]
    for true, name in enumerate(classes):
        label = "" if named else f"{true:>{prefix - 1}} "
        line: Line = [(f"{label}{shortened(name, name_width):<{name_width}} ", "bold")]
        for predicted, count in enumerate(counts[true].tolist()):
            if predicted == true:
                line.append((f"[{count}]".rjust(cell), "cyan"))
            else:
                line.append((f"{count or '.':>{cell - 1}} ", "bold yellow" if count else "dim"))
        line.append((_percent(counts[true, true], totals[true]).rjust(5), ""))
        yield line


def _listed(counts: Counts, classes: Sequence[str], totals: Counts, width: int) -> Iterator[Line]:
    """A line for each class: its images, how many are right, and what the others are most often predicted as."""
    digits = max(len("images"), len(str(totals.max())))
    longest = min(_MOST_NAME, max(map(len, classes)), max(_LEAST_NAME, (width - 30) // 3))
    numbered = longest < max(map(len, classes))  # shortened names may be equal
    width_of_number = len(str(len(classes) - 1))

    def label(number: int) -> str:
        return f"{number} " * numbered + shortened(classes[number], longest)

    room = longest + (width_of_number + 1) * numbered
    yield [(f"{'true class':<{room}}  {'images':>{digits}}  right  predicted instead", "bold")]
    for true in range(len(classes)):
        wrong = counts[true].copy()
        wrong[true] = 0
        order = [int(each) for each in np.argsort(-wrong, kind="stable") if wrong[each]]
        start = f"{label(true):<{room}}  {totals[true]:>{digits}}  {_percent(counts[true, true], totals[true]):>5}"
        parts: list[str] = []
        left = width - len(start) - 2
        for each in order[:_LISTED]:
            part = f"{label(each)}: {wrong[each]}"
            if len(", ".join([*parts, part])) + len(", ...") * (len(parts) + 1 < len(order)) > left:
                break
            parts.append(part)
        more = [] if len(parts) == len(order) else ["..."]
        yield [(start, ""), ("  " + ", ".join([*parts, *more]), "bold yellow")]
