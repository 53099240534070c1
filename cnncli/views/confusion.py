"""Which classes a run takes for which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnncli.drawing.canvas import Box, Canvas, ink_on, text_width
from cnncli.drawing.color import NEUTRAL, Color, Pixels, Scale, Values, sequential
from cnncli.drawing.grid import Key, Picture
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH
from cnncli.run import Run
from cnncli.views.view import Exhibit

CAPTION = 13
"""Height of the line below the title, px."""
LEAST_LABEL, LONGEST_LABEL = 36, 120
"""Names of classes are not cut shorter than the one, and always to the other, px."""
SWATCHES = (0, 1, 5, 25, 100)
"""Shares whose colors the legend shows, per cent."""

Counts = npt.NDArray[np.int64]


def confusion_picture(counts: Counts, classes: Sequence[str], *, title: str) -> Picture:
    """A row for each true class, a column for each predicted one, the accuracy of each class on the right.

    The color of a cell is the square root of its share of the row, so that single errors are seen beside hundreds
    of hits; cells without an image have a color of their own. Numbers of images stand in the cells of up to 14
    classes; with more, labels are thinned out.

    Args:
        counts: (K, K), `counts[true, predicted]` images.
        classes: K names.
        title: shortened where it does not fit.

    Returns:
        A picture with a box for every (true, predicted).
    """
    plan = _plan(counts, classes)
    classes_count = len(classes)
    top = TITLE_HEIGHT + CAPTION + LINE + max(0, (LINE - plan.height) // 2)  # labels of thin rows reach above the first
    width = plan.left + classes_count * plan.width + plan.right + MARGIN
    canvas = Canvas(width=max(WIDTH, width), height=max(HEIGHT, top + classes_count * plan.height + 2))
    _draw_legend(canvas, title)
    x, y = plan.left, top
    matrix = Box(x=x, y=y, height=classes_count * plan.height, width=classes_count * plan.width, scale=1)
    canvas.frame(matrix)
    totals = counts.sum(axis=1)
    colors = share_colors(shares_of_rows(counts))  # (K, K, 3)
    boxes: dict[Key, Box] = {}
    for true, predicted in np.ndindex(counts.shape):
        box = Box(x=x + predicted * plan.width, y=y + true * plan.height, height=plan.height, width=plan.width, scale=1)
        red, green, blue = colors[true, predicted].tolist()
        color: Color = (red, green, blue)
        canvas.rectangle(box.x, box.y, width=box.width, height=box.height, color=color)
        if plan.numbers and counts[true, predicted]:
            middle = (box.x + box.width / 2, box.y + box.height / 2)
            canvas.middle(*middle, str(counts[true, predicted]), ink=ink_on(color))
        boxes[true, predicted] = box
    for number in range(0, classes_count, plan.every_row):
        middle_row = y + number * plan.height + plan.height // 2
        canvas.text(MARGIN, middle_row - 6, plan.rows[number], width=plan.left - MARGIN - 3)
        canvas.right_aligned(matrix.right + plan.right, middle_row, _per_cent(counts[number, number], totals[number]))
    for number in range(0, classes_count, plan.every_column):
        canvas.centered(x + number * plan.width + plan.width // 2, y - LINE, plan.columns[number])
    canvas.right_aligned(matrix.right + plan.right, TITLE_HEIGHT + CAPTION + LINE // 2, "right")
    return Picture(canvas.pixels, boxes, None)


def shares_of_rows(counts: Counts) -> Values:
    """Counts (K, K) as shares of their row, from 0 to 1; 0 in a row without images."""
    shares: Values = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def share_colors(shares: Values) -> Pixels:
    """The colors of shares of a row from 0 to 1, any shape, the three channels behind it: pale for a small share.

    On white paper the sequential scale the other way round gives single errors little weight and hits much.
    """
    colors = sequential(1 - np.sqrt(shares), 0.0, 1.0)
    colors[shares == 0] = NEUTRAL
    return colors


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Sizes in px: of a cell, and of what stands on the left and on the right of the matrix.

    Attributes:
        numbers: whether the cells hold them.
        rows, columns: labels.
        every_row, every_column: every how many of them there is room for.
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


def _plan(counts: Counts, classes: Sequence[str]) -> _Plan:
    """The largest cells that fit a card of TensorBoard, and numbers where lines of text fit between the rows.

    Cells are at least 3 pixels, and wide enough for their numbers; where there are too many for a card, the picture is
    larger than one. Where names are wider than a column, the classes are numbered: a row has number and name.
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
    if spare < 0 and left + spare >= LEAST_LABEL:
        left += spare
    elif spare > 0 and numbers:
        width = min(width + spare // count, 2 * height)
    return _Plan(
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


def _per_cent(part: int, whole: int) -> str:
    """Rounded down, so that 100% is all of them."""
    return f"{100 * part // whole}%" if whole else "-"


def _draw_legend(canvas: Canvas, title: str) -> None:
    """The title, what rows and columns are, and the colors of some shares."""
    x = WIDTH - MARGIN
    for share in reversed(SWATCHES):
        label = f"{share}%"
        x -= text_width(label)
        canvas.text(x, 3, label, width=WIDTH)
        x -= 12
        box = Box(x=x, y=4, height=8, width=9, scale=1)
        canvas.frame(box)
        canvas.tile(box, share_colors(np.full((8, 9), share / 100)))
        x -= 6
    canvas.text(MARGIN, 0, title, width=x - MARGIN, size=TITLE_SIZE)
    canvas.text(
        MARGIN, TITLE_HEIGHT, "a row for each true class, a column for what it is taken for", width=WIDTH - 2 * MARGIN
    )


WORST = 5
"""Pairs of classes that are named."""


def confusion(run: Run) -> Iterator[Exhibit]:
    """The confusion matrix over the test images, and the pairs of classes that are confused most."""
    found = run.predictions
    share = f"{found.accuracy:.2%} of {len(found):,} test images are right"
    counts = found.confusion
    shares = shares_of_rows(counts)
    picture = confusion_picture(counts, run.classes, title=f"accuracy {found.accuracy:.2%}")
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [(int(each) // len(counts), int(each) % len(counts)) for each in order]
    yield Exhibit(
        tag="eval/confusion",
        title=share,
        pixels=picture.pixels,
        tiles=[
            Tile(
                label="rows: true; columns: taken for",
                values=counts.astype(np.float64),
                scale=Scale.from_zero(counts.astype(np.float64)),
                pixels=share_colors(shares),
            )
        ],
        numbers={"accuracy": found.accuracy},
        lines=[
            share,
            *(
                f"{run.classes[true]} taken for {run.classes[taken]}: {wrong[true, taken]:,} of "
                f"{counts[true].sum():,} ({shares[true, taken]:.1%})"
                for true, taken in pairs
                if wrong[true, taken]
            ),
        ],
    )
