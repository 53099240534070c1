"""The reliability diagram: how high its bars are, and its numbers against some worked by hand."""

import numpy as np
import pytest

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.run import Run
from cnncli.training.calibration import Bins
from cnncli.views.calibration import (
    BAR,
    HISTOGRAM_LEFT,
    LEFT,
    OVERCONFIDENT,
    SIDE,
    TOP,
    UNDERCONFIDENT,
    Calibration,
    draw_calibration,
)

COUNTS = np.array([0, 40, 10, 0, 100])


CONFIDENCE = np.array([np.nan, 0.3, 0.5, np.nan, 0.9])


ACCURACY = np.array([np.nan, 0.2, 0.6, np.nan, 0.9])


def height(pixels: Pixels, column: int, color: Color) -> int:
    """Pixels of a color in a column, from the top of the diagrams to their bottom."""
    return int(np.count_nonzero((pixels[TOP : TOP + SIDE, column] == color).all(axis=1)))


def drawn() -> Pixels:
    return draw_calibration(
        Bins(counts=COUNTS, confidence=CONFIDENCE, accuracy=ACCURACY), title="reliability", lines=["one", "two"]
    )


def test_bars_are_accuracy_and_gaps() -> None:
    """Five bins of 30 px; a pixel of each column can be the diagonal's."""
    pixels = drawn()
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    bins = [LEFT + number * 30 + 10 for number in range(5)]
    bars, sure, unsure = ([height(pixels, x, each) for x in bins] for each in (BAR, OVERCONFIDENT, UNDERCONFIDENT))
    for found, expected in (
        (bars, [0, 0.2, 0.5, 0, 0.9]),
        (sure, [0, 0.1, 0, 0, 0]),
        (unsure, [0, 0, 0.1, 0, 0]),
    ):
        assert np.allclose(found, np.array(expected) * SIDE, atol=1), (found, expected)


def test_the_histogram_is_relative_to_the_fullest_bin() -> None:
    pixels = drawn()
    found = [height(pixels, HISTOGRAM_LEFT + number * 18 + 5, BAR) for number in range(5)]
    assert np.allclose(found, COUNTS / 100 * 90, atol=0.5)


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
