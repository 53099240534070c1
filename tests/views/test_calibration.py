"""The reliability diagram: how high its bars are, and its numbers against some worked by hand."""

import numpy as np
import pytest

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.inspection.formatting import plain
from cnncli.run import Run
from cnncli.training.calibration import Bins
from cnncli.views.calibration import (
    BAR,
    BAR_OF_FEW,
    CARD_FORM,
    HATCHING,
    OVERCONFIDENT,
    OVERCONFIDENT_OF_FEW,
    PAGE_FORM,
    UNDERCONFIDENT,
    Axes,
    Calibration,
    Form,
    draw_calibration,
    text_lines,
)

COUNTS = np.array([0, 40, 10, 0, 100])


CONFIDENCE = np.array([np.nan, 0.3, 0.5, np.nan, 0.9])


ACCURACY = np.array([np.nan, 0.2, 0.6, np.nan, 0.9])

BINS = Bins(counts=COUNTS, confidence=CONFIDENCE, accuracy=ACCURACY)


def height(pixels: Pixels, axes: Axes, number: int, *colors: Color) -> int:
    """Pixels of some colors in a column of a bin, a quarter of its width from its left edge."""
    column = axes.x + number * axes.width // axes.bins + axes.width // axes.bins // 4
    found = pixels[axes.y : axes.y + axes.height, column]
    return sum(int(np.count_nonzero((found == color).all(axis=1))) for color in colors)


@pytest.mark.parametrize("form", [CARD_FORM, PAGE_FORM], ids=["card", "page"])
def test_bars_are_accuracy_and_gaps(form: Form) -> None:
    """A few pixels of each column can be the diagonal's, or a frame's; the bin of ten images is pale."""
    drawing = draw_calibration(BINS, title="reliability", lines=["one", "two"], form=form)
    pixels, axes = drawing.canvas.pixels, drawing.diagram
    assert pixels.shape == (form.height, form.width, 3)
    bars, few, sure, unsure = (
        [height(pixels, axes, number, *colors) for number in range(5)]
        for colors in ([BAR], [BAR, BAR_OF_FEW], [OVERCONFIDENT, HATCHING], [UNDERCONFIDENT])
    )
    assert bars[2] <= 2
    for found, expected in (
        (few, [0, 0.2, 0.5, 0, 0.9]),
        (sure, [0, 0.1, 0, 0, 0]),
        (unsure, [0, 0, 0.1, 0, 0]),
    ):
        assert np.allclose(found, np.array(expected) * axes.height, atol=2), (found, expected)


def test_the_histogram_is_logarithmic_and_shows_bins_of_few_images() -> None:
    """A bin of 10 of 10,000 images would be a thousandth of the height of the largest if the axis were linear."""
    counts = np.array([1, 10, 100, 1000, 10_000])
    found = Bins(counts=counts, confidence=np.full(5, 0.5), accuracy=np.full(5, 0.5))
    for form in (CARD_FORM, PAGE_FORM):
        drawing = draw_calibration(found, title="", lines=[], form=form)
        pixels, axes = drawing.canvas.pixels, drawing.histogram
        heights = [height(pixels, axes, number, BAR, BAR_OF_FEW) for number in range(5)]
        assert heights[0] >= 4
        steps = np.diff(heights)
        assert np.allclose(steps, steps.mean(), atol=1.5), heights  # each ten times as many
        assert heights[-1] > axes.height * 0.7


def test_the_gap_of_an_overconfident_bin_of_few_images_is_pale() -> None:
    found = Bins(counts=np.array([10, 40]), confidence=np.array([0.4, 0.9]), accuracy=np.array([0.1, 0.6]))
    drawing = draw_calibration(found, title="", lines=[])
    pixels, axes = drawing.canvas.pixels, drawing.diagram
    strong, pale = ([height(pixels, axes, i, each) for i in (0, 1)] for each in (OVERCONFIDENT, OVERCONFIDENT_OF_FEW))
    assert strong[0] == pale[1] == 0
    assert strong[1] > 0.2 * axes.height
    assert pale[0] > 0.2 * axes.height


def luminance(color: Color) -> float:
    """The relative luminance of WCAG 2."""
    linear = [each / 255 / 12.92 if each <= 10 else ((each / 255 + 0.055) / 1.055) ** 2.4 for each in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_gaps_can_be_told_apart_without_hue() -> None:
    """The two kinds of gap differ in lightness by a contrast of 3, and one of them is hatched."""
    for over in (OVERCONFIDENT, OVERCONFIDENT_OF_FEW):
        assert (luminance(over) + 0.05) / (luminance(UNDERCONFIDENT) + 0.05) > 3
    pixels = draw_calibration(BINS, title="", lines=[]).canvas.pixels
    assert (pixels == HATCHING).all(axis=-1).sum() > 100


def test_the_card_has_its_size_and_the_file_is_larger(eight: Run) -> None:
    (found,) = Calibration().pictures(eight)
    assert found.card is not None
    assert found.card.shape == (HEIGHT, WIDTH, 3)
    assert found.pixels.shape[0] > 2 * HEIGHT
    assert found.pixels.shape[1] > 2 * WIDTH


def test_lines_of_a_terminal() -> None:
    """Accuracy 0.2 at confidence 0.3 in 50 columns: 10 for the bar, 5 for the gap."""
    lines = [plain(line) for line in text_lines(BINS, 100)]
    assert [line.split()[:5] for line in lines[1:4]] == [
        ["20.0-", "40.0", "%", "30.0%", "20.0%"],
        ["40.0-", "60.0", "%", "50.0%", "60.0%"],
        ["80.0-100.0", "%", "90.0%", "90.0%", "100"],
    ]
    assert lines[1].endswith("40   " + "#" * 10 + "-" * 5 + "|")
    assert lines[2].endswith("10 * " + "#" * 25 + "|" + "=" * 5)
    assert lines[3].endswith("100   " + "#" * 45 + "|")
    assert max(map(len, lines)) <= 100
    assert all(len(plain(line)) <= 60 for line in text_lines(BINS, 60) if "accuracy," not in plain(line))


def test_bins_as_json(eight: Run) -> None:
    (found,) = Calibration().pictures(eight)
    bins = found.data["bins"]
    assert isinstance(bins, list)
    assert len(bins) == 15
    assert sum(each["images"] for each in bins) == 8
    for number, each in enumerate(bins):
        assert (each["low"], each["high"]) == pytest.approx((number / 15, (number + 1) / 15))
        assert (each["accuracy"] is None) == (each["confidence"] is None) == (each["images"] == 0)
    assert sum(each["images"] * each["accuracy"] for each in bins if each["images"]) == pytest.approx(5)


def test_calibration(eight: Run) -> None:
    (found,) = Calibration().pictures(eight)
    assert found.tag == "eval/calibration"
    confidence = eight.test.images.flatten(1).div(255).mul(10).double().softmax(1).amax(1)
    assert found.numbers["mean_confidence"] == pytest.approx(confidence.mean().item(), abs=1e-6)
    assert found.numbers["accuracy"] == 5 / 8
    # Two images are less sure than 14 of 15, with bins of their own; both are right.
    unsure = sorted(confidence.tolist())[:2]
    sure = sorted(confidence.tolist())[2:]
    gaps = [1 - unsure[0], 1 - unsure[1], sum(sure) / 6 - 3 / 6]
    assert found.numbers["maximum_error"] == pytest.approx(max(gaps), abs=1e-6)
    assert found.numbers["expected_error"] == eight.evaluate().ece
    assert found.numbers["expected_error"] == pytest.approx((gaps[0] + gaps[1] + 6 * gaps[2]) / 8, abs=1e-6)


def test_predictions_are_computed_once(eight: Run) -> None:
    assert eight.predictions is eight.predictions
