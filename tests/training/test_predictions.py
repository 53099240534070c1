"""Predictions, against numbers worked out by hand and against the evaluation of a training."""

from math import exp

import numpy as np
import pytest
import torch
from torch import nn

from cnncli.data.batches import ImageBatches, Normalization
from cnncli.data.images import ImageSet
from cnncli.training.evaluate import evaluate, predict, predictions_of

LOGITS = torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 0, 2.0], [0, 0, 0]])
LABELS = torch.tensor([0, 0, 1, 1, 0])  # right, wrong, right, wrong, right (the first of equals)


class Noisy(nn.Module):
    """A network that dropout makes noisy in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(12, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.logits(self.drop(images.flatten(1)))
        return logits


@pytest.fixture
def batches() -> ImageBatches:
    """50 images in batches of 20, 20 and 10."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (50, 1, 3, 4), generator=generator, dtype=torch.uint8)
    return ImageBatches(
        ImageSet(images=images, labels=torch.arange(50) % 3),
        batch_size=20,
        normalization=Normalization.none(1),
        shuffle=False,
        channels_last=False,
        seed=0,
    )


def test_numbers_worked_by_hand() -> None:
    predictions = predictions_of(LOGITS, LABELS, loss=0.0)
    assert predictions.predicted.tolist() == [0, 1, 1, 2, 0]
    assert predictions.correct.tolist() == [True, False, True, False, True]
    assert predictions.accuracy == 3 / 5
    sure = exp(2) / (exp(2) + 2)
    assert predictions.confidence.tolist() == pytest.approx([sure, sure, sure, sure, 1 / 3])
    assert predictions.probabilities.sum(axis=1) == pytest.approx(1)
    assert predictions.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_very_confident_predictions_can_be_distinguished() -> None:
    """In single precision both would be 1."""
    surer, sure = predictions_of(torch.tensor([[25.0, 0], [20.0, 0]]), torch.tensor([0, 0]), loss=0.0).confidence
    assert sure < surer < 1


def test_the_order_and_the_numbers_are_those_of_the_batches(batches: ImageBatches) -> None:
    torch.manual_seed(0)
    model = Noisy()
    predictions = predict(model, batches)
    images = torch.cat([images for images, _ in batches.epoch(1)])
    with torch.no_grad():
        expected = model.eval()(images).softmax(1)
    assert predictions.labels.tolist() == [each % 3 for each in range(50)]
    assert np.allclose(predictions.probabilities, expected.numpy(), atol=1e-6)
    summed = evaluate(model, batches, 3)
    assert predictions.accuracy == summed.accuracy
    assert tuple(map(tuple, predictions.confusion.tolist())) == summed.confusion
    assert predictions.loss == summed.loss, "to the last digit"


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_gets_no_gradient(batches: ImageBatches, training: bool) -> None:
    model = Noisy().train(training)
    predict(model, batches)
    assert model.training is model.drop.training is training
    assert model.logits.weight.grad is None
