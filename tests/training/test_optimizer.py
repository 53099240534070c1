"""Weight decay, and that the optimizers are torch's own."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cnncli.config.train import Adam, AdamW, Optimizer, RmsProp, Sgd
from cnncli.training.optimizer import build_optimizer


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
