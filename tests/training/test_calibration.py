"""Calibration against numbers worked by hand, and against the definition for every image."""

import numpy as np
import pytest

from cnncli.training.calibration import bin_predictions


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
