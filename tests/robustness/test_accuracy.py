"""The accuracy on distorted images, and its pictures."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.data.batches import Normalization
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.module import CnnModule
from cnncli.robustness.accuracy import Accuracy, measure_accuracies, spread
from cnncli.robustness.distortions import Contrast, Shift, Thickness
from cnncli.robustness.picture import ACROSS, BAR, BAR_HEIGHT, PLAIN, draw_robustness, draw_robustness_card
from cnncli.run import Run
from tests.networks import network_of, run_of_model


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Its logits are the brightness of the left, middle and right column of an image of 3x3."""
    images = torch.zeros(3, 1, 3, 3, dtype=torch.uint8)
    for label in range(3):
        images[label, 0, :, label] = 255
    model = CnnModule(network_of("[flatten, logits]", (1, 3, 3), 3)).eval()
    weight = torch.eye(3).repeat(1, 3)  # (3, 9): every third pixel
    model.load_state_dict({"logits1.weight": weight, "logits1.bias": torch.tensor([0.02, 0.01, 0.0])})
    return run_of_model(model, images, torch.arange(3), path=tmp_path, normalization=Normalization.none(1))


def test_shifts_worked_by_hand(run: Run) -> None:
    """To the left 1 -> 0, 2 -> 1 and 0 -> nothing, which counts as 0; to the right all are wrong; up and down right."""
    images, indices = run.test, torch.arange(3)
    (found, *_) = measure_accuracies(run, images, indices, run.predictions, [Shift])
    assert found.distortion == Shift(1)
    assert found.accuracy == found.consistency == pytest.approx((1 / 3 + 0 / 3 + 1 + 1) / 4)


def test_consistency_compares_with_the_undistorted_prediction(run: Run) -> None:
    """With wrong labels nothing is correct, but the predictions stay the same."""
    images = replace(run.test, labels=(run.test.labels + 1) % 3)
    found = list(measure_accuracies(run, images, torch.arange(3), run.predict_set(images), [Contrast]))
    assert [each.accuracy for each in found] == [0.0] * 4
    assert [each.consistency for each in found] == [1.0] * 4


@pytest.mark.parametrize(("count", "most"), [(10, 3), (10, 10), (10, 99), (7, 2), (1, 1), (10_000, 2000)])
def test_images_are_evenly_spaced(count: int, most: int) -> None:
    found = spread(count, most).tolist()
    assert 1 <= len(found) <= most
    assert found[0] == 0
    assert len({b - a for a, b in pairwise(found)}) <= 1
    assert len(found) > most / 2 or len(found) == count


ACCURACIES = [
    *(Accuracy(distortion=Shift(pixels), accuracy=value, consistency=1) for pixels, value in ((1, 0.9), (2, 0.25))),
    *(Accuracy(distortion=Thickness(pixels), accuracy=value, consistency=1) for pixels, value in ((-1, 0.5), (1, 0.0))),
]


def test_bars_are_as_high_as_the_accuracy() -> None:
    pixels = draw_robustness(ACCURACIES, plain=0.97, title="three images").pixels
    assert pixels.shape[1] < 1000
    for color, expected in ((PLAIN, [97, 97]), (BAR, [90, 25, 50])):
        columns = (pixels == color).all(axis=2).sum(axis=0)  # pixels of the color in each column
        bars = [int(columns[0])]
        for before, after in pairwise(columns):
            if after and not before:
                bars.append(int(after))
        assert [round(each * 100 / BAR_HEIGHT) for each in bars if each] == expected


def test_a_card_has_the_size_of_a_card() -> None:
    assert draw_robustness_card(ACCURACIES, plain=0.97).shape == (HEIGHT, WIDTH, 3)
    assert ACROSS == 4
    assert not np.array_equal(
        draw_robustness_card(ACCURACIES, plain=0.97), draw_robustness_card(ACCURACIES[::-1], plain=0.97)
    )
