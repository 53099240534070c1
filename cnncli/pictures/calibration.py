"""Confidence against accuracy: the reliability diagram, and how often the network is how sure.

Letters: B bins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnncli.pictures.canvas import FRAME, Box, Canvas
from cnncli.pictures.colour import Colour, Pixels
from cnncli.pictures.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH

BAR: Colour = (96, 158, 212)
TOO_SURE: Colour = (236, 128, 104)
TOO_UNSURE: Colour = (170, 214, 160)
"""What a bar lacks up to its confidence, and what it has beyond it."""

TOP, LEFT, SIDE = 48, 29, 150
"""Of the diagram, px: its upper left corner, and the length of both axes."""
BESIDE, HISTOGRAM = 202, 90
"""Of the histogram, px: its left edge, and the length of both axes."""

Values = npt.NDArray[np.float64]


def calibration_picture(
    counts: npt.NDArray[np.int64], confidence: Values, accuracy: Values, *, title: str, numbers: list[str]
) -> Pixels:
    """The reliability diagram on the left, on the right a histogram of confidence with a few lines of numbers.

    A bar reaches up to the accuracy of its bin. Where the network is surer than it is right, the gap up to its mean
    confidence is added in red; where it is less sure, the part beyond it is green. Empty bins have no bar.

    Args:
        counts: int64 (B,), images in each bin of equal width from 0 to 1.
        confidence: (B,), their mean confidence; NaN in an empty bin.
        accuracy: (B,), the share of them that is right; likewise.
        title: above both.
        numbers: lines below the histogram.

    Returns:
        uint8 (H, W, 3), of the size of a card of TensorBoard.
    """
    canvas = Canvas(width=WIDTH, height=HEIGHT)
    canvas.text(MARGIN, 0, title, width=WIDTH - 2 * MARGIN, size=TITLE_SIZE)
    _legend(canvas)
    diagram = _Axes(x=LEFT, y=TOP, side=SIDE, bins=len(counts))
    diagram.draw(canvas, ("0", "50%", "100%"))
    for number in np.flatnonzero(counts).tolist():
        right, sure = float(accuracy[number]), float(confidence[number])
        diagram.bar(canvas, number, 0.0, min(right, sure), BAR)
        diagram.bar(canvas, number, min(right, sure), max(right, sure), TOO_SURE if sure > right else TOO_UNSURE)
    canvas.line((LEFT, TOP + SIDE - 1), (LEFT + SIDE - 1, TOP), colour=FRAME)
    histogram = _Axes(x=BESIDE, y=TOP, side=HISTOGRAM, bins=len(counts))
    most = int(counts.max())
    histogram.draw(canvas, ("", "", ""))
    for number in np.flatnonzero(counts).tolist():
        histogram.bar(canvas, number, 0.0, float(counts[number]) / most, BAR)
    canvas.right_aligned(BESIDE + HISTOGRAM, TOP - 7, f"images, up to {most:,}")
    for row, line in enumerate(numbers):
        canvas.text(BESIDE - 16, TOP + HISTOGRAM + LINE + 5 + row * LINE, line, width=WIDTH - BESIDE + 14)
    return canvas.pixels


def _legend(canvas: Canvas) -> None:
    x = MARGIN
    for colour, label in ((BAR, "accuracy by confidence"), (TOO_SURE, "too sure"), (TOO_UNSURE, "not sure enough")):
        canvas.rectangle(x, TITLE_HEIGHT + 2, width=9, height=9, colour=colour)
        canvas.text(x + 13, TITLE_HEIGHT, label, width=WIDTH)
        x += 13 + 6 + {"accuracy by confidence": 112, "too sure": 44}.get(label, 0)


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """A square with bars over equal bins from 0 to 1.

    Attributes:
        x, y: of its upper left corner, px.
        side: px, a whole number of times the bins.
        bins: how many.
    """

    x: int
    y: int
    side: int
    bins: int

    def draw(self, canvas: Canvas, labels: tuple[str, str, str]) -> None:
        """The frame, the labels of the left axis from below, and those of confidence."""
        canvas.frame(Box(x=self.x, y=self.y, height=self.side, width=self.side, scale=1))
        bottom = self.y + self.side
        for place, label in enumerate(labels):
            canvas.right_aligned(self.x - 3, bottom - place * self.side // 2, label)
        for place, label in enumerate(("0", "confidence", "1")):
            canvas.centred(self.x + place * self.side // 2, bottom + 2, label)

    def bar(self, canvas: Canvas, number: int, low: float, high: float, colour: Colour) -> None:
        """A part of a bar, from one height to another, of 1."""
        width = self.side // self.bins
        top, bottom = (self.y + self.side - round(height * self.side) for height in (high, low))
        canvas.rectangle(self.x + number * width, top, width=width - 1, height=bottom - top, colour=colour)
