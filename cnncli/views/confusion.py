"""The confusion matrix of the test images.

Letters for shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cnncli.drawing.canvas import Box, Canvas, ink_on, text_width
from cnncli.drawing.color import NEUTRAL, Scale, sequential
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH
from cnncli.drawing.sheet import Drawing
from cnncli.training.scores import WORST, confusion_text
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.drawing.color import Color, Pixels, Values
    from cnncli.drawing.sheet import Key
    from cnncli.run import Run

Counts = npt.NDArray[np.int64]

CAPTION = 13
"""Height of the line below the title, px."""
SHORTEST_LABEL, LONGEST_LABEL = 36, 120
"""Names of classes are shortened to the second, and not below the first to make room, px."""
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
        shares = row_shares(counts)
        values = counts.astype(np.float64)
        accuracy = f"{predictions.accuracy:.2%} of {len(predictions):,} test images are classified correctly"
        evaluation = predictions.evaluation(run.classes)
        yield Picture(
            tag="eval/confusion",
            title=accuracy,
            pixels=draw_confusion(counts, run.classes, title=f"accuracy {predictions.accuracy:.2%}").pixels,
            tiles=[
                Tile(
                    label="rows: true; columns: predicted",
                    values=values,
                    scale=Scale.from_zero(values),
                    pixels=share_colors(shares),
                )
            ],
            numbers={"accuracy": predictions.accuracy},
            lines=[
                accuracy,
                *(confusion_text(evaluation, pair) for pair in evaluation.most_confused(WORST)),
            ],
        )


def draw_confusion(counts: Counts, classes: Sequence[str], *, title: str) -> Drawing:
    """A row for each true class, a column for each predicted one, the accuracy of each class on the right.

    The color of a cell is the square root of its share of the row, so that single errors are visible next to hundreds
    of hits; cells without an image have a separate color. With up to 14 classes, the cells show their counts; with
    more, labels are thinned out.

    Args:
        counts: (K, K), `counts[true, predicted]` images.
        classes: K names.
        title: shortened where it does not fit.

    Returns:
        A drawing with a box for every (true, predicted).
    """
    plan = _Plan.of(counts, classes)
    count = len(classes)
    top = TITLE_HEIGHT + CAPTION + LINE + max(0, (LINE - plan.height) // 2)  # labels of thin rows reach above the first
    width = plan.left + count * plan.width + plan.right + MARGIN
    canvas = Canvas(width=max(WIDTH, width), height=max(HEIGHT, top + count * plan.height + 2))
    _draw_legend(canvas, title)
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
            canvas.middle(*center, str(counts[true, predicted]), ink=ink_on(color))
        boxes[true, predicted] = box
    right = matrix.right + plan.right
    for number in range(0, count, plan.every_row):
        middle_row = y + number * plan.height + plan.height // 2
        canvas.text(MARGIN, middle_row - 6, plan.rows[number], width=plan.left - MARGIN - 3)
        canvas.right_aligned(right, middle_row, _percent(counts[number, number], totals[number]))
    for number in range(0, count, plan.every_column):
        canvas.centered(x + number * plan.width + plan.width // 2, y - LINE, plan.columns[number])
    canvas.right_aligned(right, TITLE_HEIGHT + CAPTION + LINE // 2, "right")
    return Drawing(canvas.pixels, boxes, None)


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
    """Sizes in px: of a cell, and of what is drawn to the left and right of the matrix.

    Attributes:
        numbers: whether the cells show their counts.
        rows, columns: labels.
        every_row, every_column: every n-th label has room.
    """

    height: int
    width: int
    left: int
    right: int
    numbers: bool
    rows: Sequence[str]
    columns: Sequence[str]
    every_row: int
    every_column: int

    @classmethod
    def of(cls, counts: Counts, classes: Sequence[str]) -> _Plan:
        """The largest cells that fit a TensorBoard card, and counts in them where a line of text fits.

        Cells have at least 3 pixels, and are wide enough for their counts; where there are too many for a card, the
        picture is larger. Where names are wider than a column, the classes are numbered: a row has number and name.
        """
        count = len(classes)
        right = max(text_width("100%"), text_width("right")) + 4
        height = max(3, (HEIGHT - TITLE_HEIGHT - CAPTION - LINE - 4) // count)
        numbers = height >= LINE
        width = max(text_width(str(each)) for each in counts.flat) + 1 if numbers else height
        named = _widest(classes) <= (width if numbers else LINE) - 2
        rows = classes if named else [f"{number} {name}" for number, name in enumerate(classes)]
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
            numbers=numbers,
            rows=rows,
            columns=columns,
            every_row=-(-LINE // height),
            every_column=-(-(_widest(columns) + 2) // width),
        )


def _widest(texts: Sequence[str]) -> int:
    return max(map(text_width, texts))


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that only all of them are 100%."""
    return f"{100 * part // whole}%" if whole else "-"


def _draw_legend(canvas: Canvas, title: str) -> None:
    """The title, what rows and columns are, and the colors of some shares."""
    x = WIDTH - MARGIN
    for percent in reversed(SWATCHES):
        label = f"{percent}%"
        x -= text_width(label)
        canvas.text(x, 3, label, width=WIDTH)
        x -= 12
        box = Box(x=x, y=4, height=8, width=9, scale=1)
        canvas.frame(box)
        canvas.tile(box, share_colors(np.full((8, 9), percent / 100)))
        x -= 6
    canvas.text(MARGIN, 0, title, width=x - MARGIN, size=TITLE_SIZE)
    caption = "a row for each true class, a column for each predicted one"
    canvas.text(MARGIN, TITLE_HEIGHT, caption, width=WIDTH - 2 * MARGIN)
