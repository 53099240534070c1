"""Whether a run is as sure as it is right."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cnncli.drawing.canvas import FRAME, Box, Canvas
from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.layout import HEIGHT, LINE, MARGIN, TITLE_HEIGHT, TITLE_SIZE, WIDTH
from cnncli.run import Run
from cnncli.views.view import Exhibit

BINS = 15
"""As in the paper."""

Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Confidence against accuracy, bin by bin. Bin b holds confidences above b / B, up to (b + 1) / B.

    Attributes:
        counts: int64 (B,), images in each bin.
        confidence: (B,), their mean confidence; NaN in an empty bin.
        accuracy: (B,), the share of them that is right; likewise.
    """

    counts: npt.NDArray[np.int64]
    confidence: Values
    accuracy: Values

    @property
    def gaps(self) -> Values:
        """(B,), confidence - accuracy: above 0 where the network is too sure; 0 in an empty bin."""
        return np.nan_to_num(self.confidence - self.accuracy)

    @property
    def mean_confidence(self) -> float:
        """Over all images."""
        return self._mean(self.confidence)

    @property
    def mean_accuracy(self) -> float:
        """Over all images."""
        return self._mean(self.accuracy)

    @property
    def expected_error(self) -> float:
        """ECE: the mean over images of the size of their bin's gap."""
        return self._mean(np.abs(self.gaps))

    @property
    def maximum_error(self) -> float:
        """MCE: the largest gap of a bin that has images."""
        return float(np.abs(self.gaps).max())

    def _mean(self, values: Values) -> float:
        return float(np.nansum(self.counts * values) / self.counts.sum())


def calibration(confidence: Values, right: npt.NDArray[np.bool_], *, bins: int = BINS) -> Calibration:
    """Put predictions into bins.

    Args:
        confidence: (N,), of each prediction, above 0 and up to 1; at least one.
        right: (N,), whether it is right.
        bins: how many.
    """
    assert len(confidence), "a calibration needs images"
    edges = np.arange(1, bins) / bins  # between two bins
    bin_of = np.searchsorted(edges, confidence, side="left")  # an edge itself belongs to the bin below it
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is the NaN that is wanted
        return Calibration(
            counts=counts,
            confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / counts,
            accuracy=np.bincount(bin_of, weights=right, minlength=bins) / counts,
        )


BAR: Color = (96, 158, 212)
TOO_SURE: Color = (236, 128, 104)
TOO_UNSURE: Color = (170, 214, 160)
"""What a bar lacks up to its confidence, and what it has beyond it."""

TOP, LEFT, SIDE = 48, 29, 150
"""Of the diagram, px: its upper left corner, and the length of both axes."""
BESIDE, HISTOGRAM = 202, 90
"""Of the histogram, px: its left edge, and the length of both axes."""

CalibrationValues = npt.NDArray[np.float64]


def calibration_picture(
    counts: npt.NDArray[np.int64],
    confidence: CalibrationValues,
    accuracy: CalibrationValues,
    *,
    title: str,
    numbers: list[str],
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
    canvas.line((LEFT, TOP + SIDE - 1), (LEFT + SIDE - 1, TOP), color=FRAME)
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
    for color, label in ((BAR, "accuracy by confidence"), (TOO_SURE, "too sure"), (TOO_UNSURE, "not sure enough")):
        canvas.rectangle(x, TITLE_HEIGHT + 2, width=9, height=9, color=color)
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
            canvas.centered(self.x + place * self.side // 2, bottom + 2, label)

    def bar(self, canvas: Canvas, number: int, low: float, high: float, color: Color) -> None:
        """A part of a bar, from one height to another, of 1."""
        width = self.side // self.bins
        top, bottom = (self.y + self.side - round(height * self.side) for height in (high, low))
        canvas.rectangle(self.x + number * width, top, width=width - 1, height=bottom - top, color=color)


def calibration_view(run: Run) -> Iterator[Exhibit]:
    """The reliability diagram over the test images, with the expected and the maximum calibration error."""
    predictions = run.predictions
    found = calibration(predictions.confidence, predictions.correct)
    worst = int(np.abs(found.gaps).argmax())
    bins = len(found.counts)
    sure, right = f"{found.mean_confidence:.2%}", f"{predictions.accuracy:.2%}"
    ece, mce = f"{found.expected_error:.2%}", f"{found.maximum_error:.2%}"
    yield Exhibit(
        tag="eval/calibration",
        title=f"expected calibration error {ece}",
        pixels=calibration_picture(
            found.counts,
            found.confidence,
            found.accuracy,
            title=f"reliability over {len(predictions):,} test images",
            numbers=[f"ECE {ece}, MCE {mce}", f"confidence {sure}", f"accuracy {right}"],
        ),
        numbers={
            "expected_error": found.expected_error,
            "maximum_error": found.maximum_error,
            "mean_confidence": found.mean_confidence,
            "accuracy": predictions.accuracy,
        },
        lines=[
            f"expected calibration error {ece}: mean confidence {sure}, accuracy {right}, {bins} bins",
            f"maximum calibration error {mce}: confidences from {worst / bins:.1%} to {(worst + 1) / bins:.1%}, "
            f"{found.accuracy[worst]:.1%} right of {found.counts[worst]:,}",
        ],
    )
