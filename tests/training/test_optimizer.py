"""Optimizers and learning rates: torch's own, its schedulers, and calculations by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from cnncli.config.train import Adam, AdamW, Constant, Cosine, OneCycle, Optimizer, RmsProp, Schedule, Sgd, StepDecay
from cnncli.training.optimizer import build_optimizer, build_schedule


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 4, 2),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(64, 3),
        nn.LayerNorm(3),
    )


def kernels_only() -> nn.Sequential:
    """Without norms: the gradient of a bias before a norm is only rounding error."""
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize("choice", [Sgd(weight_decay=0.5), Adam(weight_decay=0.5), RmsProp(weight_decay=0.5)])
def test_only_kernels_and_matrices_decay(choice: Optimizer) -> None:
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in build_optimizer(choice, model).param_groups
        for parameter in group["params"]
    }
    assert {name for name, each in decay.items() if each == 0.5} == {"0.weight", "2.weight", "5.weight"}
    assert {name for name, each in decay.items() if each == 0.0} == {
        "0.bias", "1.weight", "1.bias", "2.bias", "3.weight", "3.bias", "5.bias", "6.weight", "6.bias",
    }  # fmt: skip


def test_without_a_gradient_only_decay_changes_weights() -> None:
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(2.0)
    optimizer = build_optimizer(AdamW(lr=0.1, weight_decay=0.5), model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert model.weight.item() == pytest.approx(2 * (1 - 0.1 * 0.5))
    assert model.bias.item() == 2.0


ORACLES: list[tuple[Optimizer, Callable[..., torch.optim.Optimizer], dict[str, Any]]] = [
    (Sgd(lr=0.1, nesterov=True), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam(lr=0.01, betas=(0.8, 0.9)), torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.9)}),
    (AdamW(lr=0.01, weight_decay=0.0), torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}),
    (
        RmsProp(lr=0.01, alpha=0.9, momentum=0.5),
        torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5},
    ),
]


@pytest.mark.parametrize(("choice", "kind", "arguments"), ORACLES)
def test_fused_channels_last_steps_equal_those_of_the_plain_optimizer(
    choice: Optimizer, kind: Callable[..., torch.optim.Optimizer], arguments: dict[str, Any]
) -> None:
    """A fused kernel goes through memory in order; weights and gradients may differ in layout."""
    torch.manual_seed(0)
    ours, plain = kernels_only(), kernels_only()
    plain.load_state_dict(ours.state_dict())
    ours = ours.to(memory_format=torch.channels_last)
    pairs = [
        (build_optimizer(choice, ours), ours),
        (kind(plain.parameters(), **arguments, foreach=False), plain),
    ]
    images = torch.rand(5, 2, 5, 5)
    for optimizer, model in pairs:
        for _ in range(4):
            optimizer.zero_grad()
            torch.autograd.backward(model(images).square().sum())
            optimizer.step()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("choice", "kind", "arguments"), ORACLES)
def test_without_the_compiler_an_optimizer_is_bit_identical(
    choice: Optimizer, kind: Callable[..., torch.optim.Optimizer], arguments: dict[str, Any]
) -> None:
    """Its steps, name and hooks; and each of the two continues from the state of the other."""
    torch.manual_seed(0)
    ours, plain = kernels_only(), kernels_only()
    plain.load_state_dict(ours.state_dict())
    weights, biases = [*plain.parameters()][::2], [*plain.parameters()][1::2]
    groups = [{"params": weights, "weight_decay": choice.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    fused = {} if kind is torch.optim.RMSprop else {"fused": True}
    optimizer, theirs = build_optimizer(choice, ours), kind(groups, **arguments | fused)
    assert isinstance(optimizer, type(theirs))
    assert type(optimizer).__name__ == type(theirs).__name__
    hooked: list[object] = []
    optimizer.register_step_post_hook(lambda *_: hooked.append(_))
    images = torch.rand(5, 2, 5, 5)
    for step in range(6):
        for each, model in ((optimizer, ours), (theirs, plain)):
            each.zero_grad()
            torch.autograd.backward(model(images).square().mean())
            each.step()
        if step == 2:
            mine, other = copy.deepcopy((optimizer.state_dict(), theirs.state_dict()))
            optimizer.load_state_dict(other)
            theirs.load_state_dict(mine)
    assert len(hooked) == 6
    for after, expected in zip(ours.parameters(), plain.parameters(), strict=True):
        assert after.isfinite().all()
        assert torch.equal(after, expected)
        assert after.is_leaf


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
