"""Evaluation, compared with calculations by hand."""

from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import top_k_accuracy_score
from torch import nn

from cnncli.config.config import read_config
from cnncli.training.evaluate import evaluate, evaluation_batch_size, mean_predictions, predictions_of


class Pixels(nn.Module):
    """Returns the three pixels of an image as logits, and records the mode it is called in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.drop.training, torch.is_inference_mode_enabled()))
        logits: torch.Tensor = self.drop(images.flatten(1) * self.weight)
        return logits


LOGITS = [[2.0, 0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 0, 2.0], [0, 0, 0]]
LABELS = [0, 0, 1, 1, 0]  # right, wrong, right, wrong, right (the first of equals)


def batches(make: Callable[..., Any]) -> Any:
    return make(torch.tensor(LOGITS).view(5, 1, 1, 3), torch.tensor(LABELS), 2, shuffle=False)


def test_numbers_worked_by_hand(make_batches: Callable[..., Any]) -> None:
    result = evaluate(Pixels(), batches(make_batches), 3)
    right, wrong, even = log(exp(2) + 2) - 2, log(exp(2) + 2), log(3)
    assert result.loss == pytest.approx((2 * right + 2 * wrong + even) / 5)
    assert result.accuracy == 3 / 5
    assert result.per_class == (2 / 3, 1 / 2, None)
    assert result.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 0))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_accuracy_equals_scikit_learns(k: int, make_batches: Callable[..., Any]) -> None:
    """Over nine classes, by `evaluate` and from stored logits."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.rand(40, 9, generator=generator), torch.randint(9, (40,), generator=generator)
    expected = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(9))
    model = Pixels()
    found = evaluate(model, make_batches(logits.view(40, 1, 3, 3), labels, 7, shuffle=False), 9, top_k=k)
    predictions = predictions_of(logits, labels, loss=1.0, top_k=k)
    several = mean_predictions([predictions, predictions])
    for each in (found, predictions.evaluation("abcdefghi"), several.evaluation("abcdefghi")):
        assert (each.top_k, each.top_k_accuracy) == (k, expected)
    assert (expected == found.accuracy) == (k == 1)


def test_there_is_no_top_k_accuracy_of_k_classes(make_batches: Callable[..., Any]) -> None:
    assert evaluate(Pixels(), batches(make_batches), 3, top_k=3).top_k_accuracy is None
    assert evaluate(Pixels(), batches(make_batches), 3, top_k=2).top_k_accuracy is not None


def test_record_has_the_names_of_the_classes(make_batches: Callable[..., Any]) -> None:
    record = evaluate(Pixels(), batches(make_batches), 3).as_record(["cat", "dog", "emu"])
    assert record["per_class"] == {"cat": 2 / 3, "dog": 1 / 2, "emu": None}
    assert set(record) == {
        "loss",
        "accuracy",
        "balanced_accuracy",
        "macro_precision",
        "macro_f1",
        "top_k",
        "top_k_accuracy",
        "per_class",
    }


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_without_gradients_is_temporary(make_batches: Callable[..., Any], training: bool) -> None:
    model = Pixels().train(training)
    evaluate(model, batches(make_batches), 3)
    assert model.modes == [(False, True)] * 3
    assert model.training is training
    assert model.drop.training is training


def test_the_mode_is_restored_after_an_error(make_batches: Callable[..., Any]) -> None:
    model = Pixels()
    with pytest.raises(IndexError):  # no class 5
        evaluate(model, make_batches(torch.zeros(2, 1, 1, 3), torch.tensor([0, 5]), 2), 3)
    assert model.training


@pytest.mark.parametrize(
    ("size", "device", "images"),
    [
        (28, "cpu", 222),  # 6 maps of 28x28 in float32 are 18,816 bytes; 222 times that is just below 4 MiB
        (28, "cuda", 1000),
        (1024, "cpu", 1),  # 24 MiB
        (1024, "cuda", 10),
    ],
)
def test_the_batch_size_keeps_outputs_in_the_cache(size: int, device: str, images: int) -> None:
    config = read_config("lenet5", data_dir=Path("nowhere"), assignments=[f"data.size={size}"])
    assert evaluation_batch_size(config.network, torch.device(device)) == images
