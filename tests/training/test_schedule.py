"""Learning rates, compared with torch's schedulers and with calculations by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from cnncli.config.train import Constant, Cosine, OneCycle, Schedule, StepDecay
from cnncli.training.schedule import build_schedule


def rates(choice: Schedule, *, lr: float = 1.0, epochs: int, steps_per_epoch: int) -> list[float]:
    schedule = build_schedule(choice, lr=lr, epochs=epochs, steps_per_epoch=steps_per_epoch)
    return [schedule(step) for step in range(epochs * steps_per_epoch)]


def torch_rates(make: Callable[[torch.optim.Optimizer], Any], *, lr: float, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    values = []
    for _ in range(steps):
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("steps", [10, 97])
@pytest.mark.parametrize("warmup", [0.3, 0.5])
def test_one_cycle_equals_torchs(steps: int, warmup: float) -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.2, total_steps=steps + 1, pct_start=warmup, div_factor=20, final_div_factor=50
        ),
        lr=0.2,
        steps=steps,
    )
    schedule = build_schedule(
        OneCycle(warmup=warmup, start=1 / 20, final=1 / 1000), lr=0.2, epochs=1, steps_per_epoch=steps + 1
    )
    assert [schedule(step) for step in range(steps)] == pytest.approx(expected)


def test_start_peak_and_end_of_one_cycle() -> None:
    values = rates(OneCycle(warmup=0.5, start=0.1, final=0.01), lr=2.0, epochs=2, steps_per_epoch=5)
    assert values[0] == pytest.approx(0.2)
    assert values[4] == max(values) == pytest.approx(2.0)
    assert values[9] == pytest.approx(0.02)


def test_cosine_equals_torchs() -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=0.05), lr=0.5, steps=12
    )
    assert rates(Cosine(final=0.1), lr=0.5, epochs=3, steps_per_epoch=4) == pytest.approx(expected)


def test_step_decay_equals_torchs() -> None:
    expected = torch_rates(lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.5), lr=0.8, steps=20)
    assert rates(StepDecay(every=2, factor=0.5), lr=0.8, epochs=7, steps_per_epoch=3)[:20] == pytest.approx(expected)


def test_warmup_equals_torchs_linear_one() -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.LinearLR(optimizer, start_factor=1 / 4, total_iters=3), lr=1.0, steps=8
    )
    assert rates(Constant(warmup=0.5), epochs=1, steps_per_epoch=8) == pytest.approx(expected)
    assert expected[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_cosine_falls_after_its_warmup() -> None:
    values = rates(Cosine(warmup=0.5), epochs=1, steps_per_epoch=8)
    assert values == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.85355339, 0.5, 0.14644661])


def test_step_decay_counts_warmup_epochs() -> None:
    values = rates(StepDecay(every=1, factor=0.1, warmup=0.25), epochs=4, steps_per_epoch=2)
    assert values == pytest.approx([0.5, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    "choice", [Constant(), Constant(warmup=0.9), StepDecay(every=1), Cosine(), Cosine(warmup=0.9), OneCycle()]
)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings_have_a_rate(choice: Schedule, steps: int) -> None:
    assert all(0 <= rate <= 1 for rate in rates(choice, epochs=1, steps_per_epoch=steps))
