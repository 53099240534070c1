"""Calibration against numbers worked by hand and against the definition for every image; how high its bars are."""

import numpy as np
import pytest

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.run import Run
from cnncli.views.calibration import (
    BAR,
    HISTOGRAM_LEFT,
    LEFT,
    OVERCONFIDENT,
    SIDE,
    TOP,
    UNDERCONFIDENT,
    Bins,
    Calibration,
    bin_predictions,
    draw_calibration,
)


def test_four_images() -> None:
    """Bins of a third: the first is empty, the second has gap |1/2 - 0.45|, the third |1/2 - 0.85|."""
    found = bin_predictions(np.array([0.4, 0.5, 0.8, 0.9]), np.array([True, False, True, False]), bins=3)
    assert found.counts.tolist() == [0, 2, 2]
    assert np.isnan(found.confidence[0])
    assert found.confidence[1:].tolist() == pytest.approx([0.45, 0.85])
    assert found.accuracy[1:].tolist() == [0.5, 0.5]
    assert found.gaps.tolist() == pytest.approx([0, -0.05, 0.35])
    assert found.expected_error == pytest.approx((2 * 0.05 + 2 * 0.35) / 4)
    assert found.maximum_error == pytest.approx(0.35)
    assert found.mean_confidence == pytest.approx(0.65)


def test_an_edge_belongs_to_the_bin_below() -> None:
    confidence = np.array([1 / 15, np.nextafter(1 / 15, 1), 3 / 15, 10 / 15, 14 / 15, 1.0])
    found = bin_predictions(confidence, np.ones(6, dtype=bool))
    assert found.counts.nonzero()[0].tolist() == [0, 1, 2, 9, 13, 14]


def test_always_right_with_a_confidence_of_70_percent() -> None:
    found = bin_predictions(np.full(50, 0.7), np.ones(50, dtype=bool))
    assert found.expected_error == pytest.approx(0.3)
    assert found.maximum_error == pytest.approx(0.3)


def test_perfect_calibration() -> None:
    """Every image is right with the probability it says: what is left is chance, of 1 / sqrt(images of a bin)."""
    generator = np.random.default_rng(5)
    confidence = generator.uniform(0.1, 1, 200_000)
    found = bin_predictions(confidence, generator.uniform(size=len(confidence)) < confidence)
    assert found.expected_error < 0.01
    assert bin_predictions(confidence, generator.uniform(size=len(confidence)) < confidence**2).expected_error > 0.1


def test_the_definition_image_by_image() -> None:
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.1, 1, 300)
    right = generator.uniform(size=300) < 0.6
    total, worst = 0.0, 0.0
    for m in range(1, 16):
        inside = [i for i in range(300) if (m - 1) / 15 < confidence[i] <= m / 15]
        if inside:
            gap = abs(sum(right[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside))
            total += len(inside) / 300 * gap
            worst = max(worst, gap)
    found = bin_predictions(confidence, right)
    assert found.expected_error == pytest.approx(total)
    assert found.maximum_error == pytest.approx(worst)


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
    assert found.numbers["expected_error"] == pytest.approx((gaps[0] + gaps[1] + 6 * gaps[2]) / 8, abs=1e-6)


def test_predictions_are_computed_once(eight: Run) -> None:
    assert eight.predictions is eight.predictions
