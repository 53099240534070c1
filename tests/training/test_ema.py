"""The moving average of the weights, compared with calculations by hand."""

import pytest
import torch
from torch import nn

from cnncli.training.state import EmaWeights


def put(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_numbers_worked_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    put(model, 0.0)
    ema = EmaWeights(model, decay=0.2)
    put(model, 1.0)
    ema.update(0)  # d = min(0.2, 1/10) = 0.1: 0.1 * 0 + 0.9 * 1
    assert ema.model.get_parameter("weight").item() == pytest.approx(0.9)
    put(model, 2.0)
    ema.update(1)  # d = min(0.2, 2/11) = 2/11: (2 * 0.9 + 9 * 2) / 11
    assert ema.model.get_parameter("weight").item() == pytest.approx(1.8)
    put(model, 3.0)
    ema.update(2)  # d = min(0.2, 3/12) = 0.2: 0.2 * 1.8 + 0.8 * 3
    assert ema.model.get_parameter("weight").item() == pytest.approx(2.76)


def test_batch_norm_statistics_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm2d(1)
    ema = EmaWeights(model, decay=0.5)
    assert model.running_mean is not None
    assert model.num_batches_tracked is not None
    model.running_mean.fill_(10.0)
    model.num_batches_tracked.fill_(7)
    ema.update(0)
    state = ema.model.state_dict()
    assert state["running_mean"].item() == pytest.approx(9.0)
    assert state["num_batches_tracked"].item() == 7


def test_the_copy_is_not_trained_and_keeps_its_layout() -> None:
    model = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)
    copied = EmaWeights(model, decay=0.5).model
    assert not copied.training
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert copied.get_parameter("weight").is_contiguous(memory_format=torch.channels_last)
