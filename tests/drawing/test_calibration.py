"""The reliability diagram: how high its bars are."""

import numpy as np

from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.views.calibration import BAR, BESIDE, LEFT, SIDE, TOO_SURE, TOO_UNSURE, TOP, calibration_picture

COUNTS = np.array([0, 40, 10, 0, 100])
CONFIDENCE = np.array([np.nan, 0.3, 0.5, np.nan, 0.9])
ACCURACY = np.array([np.nan, 0.2, 0.6, np.nan, 0.9])


def height(pixels: Pixels, column: int, color: Color) -> int:
    """Pixels of a color in a column, from the top of the diagrams to their bottom."""
    return int(np.count_nonzero((pixels[TOP : TOP + SIDE, column] == color).all(axis=1)))


def drawn() -> Pixels:
    return calibration_picture(COUNTS, CONFIDENCE, ACCURACY, title="reliability", numbers=["one", "two"])


def test_bars_are_accuracy_and_gaps() -> None:
    """Five bins of 30 px; a pixel of each column can be the diagonal's."""
    pixels = drawn()
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    bins = [LEFT + number * 30 + 10 for number in range(5)]
    bars, sure, unsure = ([height(pixels, x, each) for x in bins] for each in (BAR, TOO_SURE, TOO_UNSURE))
    for found, expected in (
        (bars, [0, 0.2, 0.5, 0, 0.9]),
        (sure, [0, 0.1, 0, 0, 0]),
        (unsure, [0, 0, 0.1, 0, 0]),
    ):
        assert np.allclose(found, np.array(expected) * SIDE, atol=1), (found, expected)


def test_the_histogram_is_relative_to_the_fullest_bin() -> None:
    pixels = drawn()
    found = [height(pixels, BESIDE + number * 18 + 5, BAR) for number in range(5)]
    assert np.allclose(found, COUNTS / 100 * 90, atol=0.5)
