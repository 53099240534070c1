"""The reliability diagram: the accuracy of predictions by their confidence.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnncli.drawing.canvas import FRAME, Box, Canvas, text_width
from cnncli.drawing.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH
from cnncli.training.calibration import Bins
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.drawing.color import Color, Pixels
    from cnncli.run import Run

BAR: Color = (96, 158, 212)
OVERCONFIDENT: Color = (236, 128, 104)
UNDERCONFIDENT: Color = (170, 214, 160)
"""Colors of the gap up to the confidence, and of the part of a bar above it."""
TOP, LEFT, SIDE = 48, 29, 150
"""The upper left corner of the diagram, and the length of both axes, px."""
HISTOGRAM_LEFT, HISTOGRAM_SIDE = 202, 90
"""The left edge of the histogram, and the length of both axes, px."""


@dataclass(frozen=True, kw_only=True)
class Calibration(View):
    """The reliability diagram of the test images: the accuracy of predictions by their confidence.

    Also prints the expected and the maximum calibration error (ECE and MCE, Guo et al. 2017), over 15 bins.

    Examples:

      cnncli show calibration runs/lenet5-20260131-120000
    """

    name = "calibration"

    def pictures(self, run: Run) -> Iterator[Picture]:
        """One picture, with the calibration errors."""
        predictions = run.predictions
        found = predictions.calibration
        worst, bins = int(np.abs(found.gaps).argmax()), len(found.counts)
        confidence, accuracy = f"{found.mean_confidence:.2%}", f"{predictions.accuracy:.2%}"
        ece, mce = f"{found.expected_error:.2%}", f"{found.maximum_error:.2%}"
        yield Picture(
            tag="eval/calibration",
            title=f"expected calibration error {ece}",
            pixels=draw_calibration(
                found,
                title=f"reliability diagram, {len(predictions):,} test images",
                lines=[f"ECE {ece}", f"MCE {mce}", f"confidence {confidence}", f"accuracy {accuracy}"],
            ),
            numbers={
                "expected_error": found.expected_error,
                "maximum_error": found.maximum_error,
                "mean_confidence": found.mean_confidence,
                "accuracy": predictions.accuracy,
            },
            lines=[
                f"expected calibration error {ece}: mean confidence {confidence}, accuracy {accuracy}, {bins} bins",
                f"maximum calibration error {mce}: confidences from {worst / bins:.1%} to {(worst + 1) / bins:.1%}, "
                f"{found.accuracy[worst]:.1%} correct of {found.counts[worst]:,}",
            ],
        )


def draw_calibration(found: Bins, *, title: str, lines: Sequence[str]) -> Pixels:
    """The reliability diagram on the left, on the right a histogram of confidence with a few lines below it.

    A bar reaches up to the accuracy of its bin. Where confidence is higher than accuracy, the gap is added in red;
    where it is lower, the part beyond it is green. Empty bins have no bar.

    Returns:
        uint8 (H, W, 3), of the size of a TensorBoard card.
    """
    canvas = Canvas(width=WIDTH, height=HEIGHT)
    canvas.text(MARGIN, 0, title, width=WIDTH - 2 * MARGIN, size=TITLE_SIZE)
    _draw_legend(canvas)
    diagram = _Axes(x=LEFT, y=TOP, side=SIDE, bins=len(found.counts))
    diagram.draw(canvas, ("0", "50%", "100%"))
    filled = np.flatnonzero(found.counts).tolist()
    for number in filled:
        accuracy, confidence = float(found.accuracy[number]), float(found.confidence[number])
        low, high = min(accuracy, confidence), max(accuracy, confidence)
        diagram.bar(canvas, number, 0.0, low, BAR)
        diagram.bar(canvas, number, low, high, OVERCONFIDENT if confidence > accuracy else UNDERCONFIDENT)
    canvas.line((LEFT, TOP + SIDE - 1), (LEFT + SIDE - 1, TOP), color=FRAME)
    histogram = _Axes(x=HISTOGRAM_LEFT, y=TOP, side=HISTOGRAM_SIDE, bins=len(found.counts))
    most = int(found.counts.max())
    histogram.draw(canvas, ("", "", ""))
    for number in filled:
        histogram.bar(canvas, number, 0.0, float(found.counts[number]) / most, BAR)
    canvas.right_aligned(HISTOGRAM_LEFT + HISTOGRAM_SIDE, TOP - 7, f"images, up to {most:,}")
    x, y = HISTOGRAM_LEFT - 16, TOP + HISTOGRAM_SIDE + LINE + 5
    for row, line in enumerate(lines):
        canvas.text(x, y + row * LINE, line, width=WIDTH - HISTOGRAM_LEFT + 14)
    return canvas.pixels


def _draw_legend(canvas: Canvas) -> None:
    x = MARGIN
    labels = {BAR: "accuracy", OVERCONFIDENT: "overconfident", UNDERCONFIDENT: "underconfident"}
    for color, label in labels.items():
        canvas.rectangle(x, TITLE_HEIGHT + 2, width=9, height=9, color=color)
        canvas.text(x + 13, TITLE_HEIGHT, label, width=WIDTH)
        x += 13 + 6 + text_width(label)


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
            canvas.centered(self.x + place * self.side // 2, bottom + 2, label)

    def bar(self, canvas: Canvas, number: int, low: float, high: float, color: Color) -> None:
        """A part of a bar, from one height to another, of 1."""
        width = self.side // self.bins
        top, bottom = (self.y + self.side - round(height * self.side) for height in (high, low))
        canvas.rectangle(self.x + number * width, top, width=width - 1, height=bottom - top, color=color)
