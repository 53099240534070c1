"""The reliability diagram: the accuracy of predictions by their confidence.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING

import numpy as np

from cnncli.drawing.canvas import FRAME, INK, Box, Canvas
from cnncli.drawing.layout import CARD_LETTERING, HEIGHT, MARGIN, PAGE_LETTERING, WIDTH, Lettering
from cnncli.drawing.text import text_width
from cnncli.training.scores import wilson_interval
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.drawing.color import Color
    from cnncli.inspection.formatting import Line
    from cnncli.run import Run
    from cnncli.training.calibration import Bins

FEW = 20
"""Bins of fewer images are marked: their accuracy says little."""
BAR: Color = (86, 160, 220)
BAR_OF_FEW: Color = (205, 226, 244)
OVERCONFIDENT: Color = (230, 159, 0)
OVERCONFIDENT_OF_FEW: Color = (250, 226, 170)
UNDERCONFIDENT: Color = (0, 70, 125)
"""Colors of the gap up to the confidence, and of the part of a bar above it: people with any kind of color vision can
tell them apart, and the first is hatched."""
HATCHING: Color = (120, 80, 0)


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
        title = f"reliability diagram, {len(predictions):,} test images"
        texts = [f"ECE {ece}", f"MCE {mce}", f"confidence {confidence}", f"accuracy {accuracy}"]
        yield Picture(
            tag="eval/calibration",
            title=f"expected calibration error {ece}",
            canvas=draw_calibration(found, title=title, lines=texts).canvas,
            card=draw_calibration(found, title=title, lines=texts, form=CARD_FORM).canvas.pixels,
            text=lambda width, ascii_only: text_lines(found, width),
            numbers={
                "expected_error": found.expected_error,
                "maximum_error": found.maximum_error,
                "mean_confidence": found.mean_confidence,
                "accuracy": predictions.accuracy,
            },
            data={"bins": bins_as_json(found)},
            lines=[
                f"expected calibration error {ece}: mean confidence {confidence}, accuracy {accuracy}, {bins} bins",
                f"maximum calibration error {mce}: confidences from {worst / bins:.1%} to {(worst + 1) / bins:.1%}, "
                f"{found.accuracy[worst]:.1%} correct of {found.counts[worst]:,}",
            ],
        )


def bins_as_json(found: Bins) -> list[dict[str, float | int | None]]:
    """The bins as JSON values: the ends of each, its images, and their confidence and accuracy, null if it is empty."""
    count = len(found.counts)
    return [
        {
            "low": number / count,
            "high": (number + 1) / count,
            "images": int(images),
            "confidence": float(found.confidence[number]) if images else None,
            "accuracy": float(found.accuracy[number]) if images else None,
        }
        for number, images in enumerate(found.counts.tolist())
    ]


@dataclass(frozen=True, kw_only=True)
class Form:
    """Sizes of the picture, px.

    Attributes:
        width, height: of the canvas.
        left, top: the upper left corner of the diagram.
        side: the length of both of its axes.
        histogram_left, histogram_top, histogram_width, histogram_height: likewise, of the histogram.
        text_left, text_top: the upper left corner of the lines of text.
        counts: whether the bars of the histogram have room for their numbers.
        lettering: of all text.
    """

    width: int
    height: int
    left: int
    top: int
    side: int
    histogram_left: int
    histogram_top: int
    histogram_width: int
    histogram_height: int
    text_left: int
    text_top: int
    counts: bool
    lettering: Lettering


CARD_FORM = Form(
    width=WIDTH,
    height=HEIGHT,
    left=29,
    top=48,
    side=150,
    histogram_left=204,
    histogram_top=48,
    histogram_width=90,
    histogram_height=90,
    text_left=186,
    text_top=155,
    counts=False,
    lettering=CARD_LETTERING,
)
PAGE_FORM = Form(
    width=850,
    height=830,
    left=70,
    top=78,
    side=540,
    histogram_left=70,
    histogram_top=672,
    histogram_width=540,
    histogram_height=106,
    text_left=632,
    text_top=78,
    counts=True,
    lettering=PAGE_LETTERING,
)


@dataclass(frozen=True)
class CalibrationDrawing:
    """The drawing with its two pairs of axes."""

    canvas: Canvas
    diagram: Axes
    histogram: Axes


def draw_calibration(found: Bins, *, title: str, lines: Sequence[str], form: Form = PAGE_FORM) -> CalibrationDrawing:
    """The reliability diagram, a histogram of confidence, and a few lines of text.

    A bar reaches up to the accuracy of its bin. Where confidence is higher than accuracy, the gap is added in orange,
    hatched; where it is lower, the part beyond it is dark. A thin line is the 95 % interval of the accuracy. Empty bins
    have no bar, and those of fewer than `FEW` images a pale one. The histogram is logarithmic.
    """
    letters = form.lettering
    canvas = Canvas(width=form.width, height=form.height)
    canvas.text(MARGIN, 0, title, width=form.width - 2 * MARGIN, size=letters.title)
    _draw_legend(canvas, form)
    bins = len(found.counts)
    diagram = Axes(x=form.left, y=form.top, width=form.side, height=form.side, bins=bins)
    _draw_diagram(canvas, diagram, found, letters)
    histogram = Axes(
        x=form.histogram_left,
        y=form.histogram_top,
        width=form.histogram_width,
        height=form.histogram_height,
        bins=bins,
    )
    _draw_histogram(canvas, histogram, found, form)
    for row, line in enumerate(lines):
        y = form.text_top + row * letters.line
        canvas.text(form.text_left, y, line, width=form.width - form.text_left, size=letters.text)
    return CalibrationDrawing(canvas, diagram, histogram)


def _draw_diagram(canvas: Canvas, axes: Axes, found: Bins, letters: Lettering) -> None:
    ticks = (0.0, 0.5, 1.0) if letters is CARD_LETTERING else (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    axes.draw(canvas, {tick: f"{tick:.0%}" for tick in ticks}, letters)
    axes.label_confidence(canvas, letters)
    for number in np.flatnonzero(found.counts).tolist():
        accuracy, confidence = float(found.accuracy[number]), float(found.confidence[number])
        low, high = min(accuracy, confidence), max(accuracy, confidence)
        axes.bar(canvas, number, 0.0, low, _bar_color(found, number))
        if confidence > accuracy:
            axes.bar(canvas, number, low, high, OVERCONFIDENT_OF_FEW if found.counts[number] < FEW else OVERCONFIDENT)
            axes.hatch(canvas, number, low, high)
        else:
            axes.bar(canvas, number, low, high, UNDERCONFIDENT)
    canvas.line((axes.x, axes.bottom - 1), (axes.x + axes.width - 1, axes.y), color=FRAME)
    for number in np.flatnonzero(found.counts).tolist():
        images = int(found.counts[number])
        low, high = wilson_interval(round(float(found.accuracy[number]) * images), images)
        axes.whisker(canvas, number, low, high)


def _draw_histogram(canvas: Canvas, axes: Axes, found: Bins, form: Form) -> None:
    """Bars of the logarithm of the number of images; one image has a short bar."""
    letters = form.lettering
    most = int(found.counts.max())
    base = -0.3
    top = base + 1.25 * (log10(most) - base) if form.counts else max(1.0, log10(most)) + 0.05

    def height(images: float) -> float:
        return (log10(images) - base) / (top - base)

    powers = [10**power for power in range(floor(log10(most)) + 1)]
    step = -(-len(powers) // (4 if form.counts else 3))
    axes.draw(canvas, {height(power): f"{power:,}" for power in powers[::step]}, letters)
    for number in np.flatnonzero(found.counts).tolist():
        images = int(found.counts[number])
        axes.bar(canvas, number, 0.0, height(images), _bar_color(found, number))
        if form.counts:
            y = axes.y + axes.height - round(height(images) * axes.height)
            canvas.middle(axes.middle(number), y - 8, f"{images:,}", size=11)
    axes.label_confidence(canvas, letters)
    y = axes.y - letters.line + 3
    canvas.anchored(axes.x, y, "images, logarithmic", anchor="start", size=letters.text)


def _bar_color(found: Bins, number: int) -> Color:
    return BAR_OF_FEW if found.counts[number] < FEW else BAR


def _draw_legend(canvas: Canvas, form: Form) -> None:
    """The colors: in a line below the title or, where there is room, below each other."""
    letters = form.lettering
    side = letters.text - 1
    labels: list[tuple[Color, str]] = [
        (BAR, "accuracy"),
        (OVERCONFIDENT, "overconfident"),
        (UNDERCONFIDENT, "underconfident"),
        (BAR_OF_FEW, f"< {FEW} images" if form.counts else f"n < {FEW}"),
    ]
    x, y = MARGIN, letters.title_height + 2
    for color, label in labels:
        box = Box(x=x, y=y, height=side, width=side, scale=1)
        canvas.rectangle(x, y, width=side, height=side, color=color)
        if color == OVERCONFIDENT:
            _hatch(canvas, box, every=5)
        if color == BAR_OF_FEW:
            canvas.frame(box.part((1, side - 2), (1, side - 2)), BAR)
        canvas.text(x + side + 4, y - 2, label, width=form.width, size=letters.text)
        x += side + 4 + letters.line // 2 + text_width(label, letters.text)
    if form.counts:
        canvas.line((x + side // 2, y - 1), (x + side // 2, y + side), color=INK)
        canvas.text(x + side + 4, y - 2, "95 % interval of the accuracy", width=form.width, size=letters.text)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle with bars over equal bins of confidence, from 0 to 1.

    Attributes:
        x, y: of its upper left corner, px.
        width, height: px; the width is a whole number of times the bins.
        bins: how many.
    """

    x: int
    y: int
    width: int
    height: int
    bins: int

    @property
    def bottom(self) -> int:
        """y of the first pixel below it."""
        return self.y + self.height

    def middle(self, number: int) -> int:
        """x of the middle of a bin."""
        return self.x + number * self.width // self.bins + self.width // self.bins // 2

    def draw(self, canvas: Canvas, labels: dict[float, str], letters: Lettering) -> None:
        """The frame, and labels of the left axis by their height, of 1."""
        canvas.frame(Box(x=self.x, y=self.y, height=self.height, width=self.width, scale=1))
        for height, label in labels.items():
            y = self.bottom - round(height * self.height)
            canvas.line((self.x - 3, y), (self.x - 1, y))
            canvas.right_aligned(self.x - 5, y, label, size=letters.text)

    def label_confidence(self, canvas: Canvas, letters: Lettering) -> None:
        """The labels of the lower axis."""
        for place, label in enumerate(("0", "confidence", "1")):
            canvas.centered(self.x + place * self.width // 2, self.bottom + 2, label, size=letters.text)

    def bar(self, canvas: Canvas, number: int, low: float, high: float, color: Color) -> None:
        """A part of a bar, from one height to another, of 1."""
        box = self.part(number, low, high)
        canvas.rectangle(box.x, box.y, width=box.width, height=box.height, color=color)
        if color == BAR_OF_FEW and box.height > 2:
            canvas.frame(box.part((1, box.height - 2), (1, box.width - 2)), BAR)

    def hatch(self, canvas: Canvas, number: int, low: float, high: float) -> None:
        """Lines over a part of a bar."""
        box = self.part(number, low, high)
        if box.height > 0:
            _hatch(canvas, box, every=6)

    def whisker(self, canvas: Canvas, number: int, low: float, high: float) -> None:
        """An interval, as a vertical line with ends."""
        box, x = self.part(number, low, high), self.middle(number)
        canvas.line((x, box.y), (x, box.bottom - 1), color=INK)
        half = max(1, box.width // 6)
        for y in (box.y, box.bottom - 1):
            canvas.line((x - half, y), (x + half, y), color=INK)

    def part(self, number: int, low: float, high: float) -> Box:
        """The box of a part of a bar."""
        width = self.width // self.bins
        top, bottom = (self.bottom - round(height * self.height) for height in (high, low))
        return Box(x=self.x + number * width, y=top, height=bottom - top, width=width - 1, scale=1)


def _hatch(canvas: Canvas, box: Box, *, every: int) -> None:
    """Diagonal lines inside a box."""
    right, bottom = box.right - 1, box.bottom - 1
    for start in range(box.x - box.height, box.right, every):
        # From the lower edge at x = start, up to the right.
        x0, y0 = max(start, box.x), bottom - max(0, box.x - start)
        x1 = min(right, start + box.height - 1)
        y1 = bottom - (x1 - start)
        if x0 <= x1 and y0 <= bottom and y0 >= box.y and y1 >= box.y:
            canvas.line((x0, y0), (x1, y1), color=HATCHING)


_BAR_COLUMNS = 50


def text_lines(found: Bins, width: int) -> Iterator[Line]:
    """The diagram for a terminal: a line for each bin that has images, in characters that every terminal has.

    A bar of `#` is the accuracy, `|` the mean confidence; the gap between them is `-` where the network is
    overconfident, `=` where it is underconfident.
    """
    bins, most = len(found.counts), int(found.counts.max())
    digits = max(len(f"{most:,}"), len("images"))
    room = max(10, min(_BAR_COLUMNS, width - 36 - digits))
    yield [(f"{'confidence':>13}  {'mean':>6}  {'accuracy':>8}  {'images':>{digits}}", "bold")]
    for number in np.flatnonzero(found.counts).tolist():
        images = int(found.counts[number])
        accuracy, confidence = float(found.accuracy[number]), float(found.confidence[number])
        reached, expected = round(accuracy * room), round(confidence * room)
        yield [
            (f"{100 * number / bins:5.1f}-{100 * (number + 1) / bins:5.1f} %", ""),
            (f"  {confidence:6.1%}  {accuracy:8.1%}  {images:{digits},}", ""),
            (" * " if images < FEW else "   ", "bold"),
            ("#" * min(reached, expected), "blue"),
            ("-" * (expected - reached), "yellow"),
            ("|", "bold"),
            ("=" * (reached - expected), "cyan"),
        ]
    yield [("# accuracy, | mean confidence, - overconfident, = underconfident", "dim")]
    if (found.counts[found.counts > 0] < FEW).any():
        yield [(f"* fewer than {FEW} images", "dim")]
