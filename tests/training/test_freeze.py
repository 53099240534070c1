"""Frozen layers, learning rates and weight decays of layers: a loop in plain torch, bit for bit."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.train import AdamW, Constant, Optimizer, Sgd
from cnncli.data.batches import Batches
from cnncli.module import CnnModule, seeded_module
from cnncli.training.loop import Epoch, fit
from cnncli.training.optimizer import build_optimizer, build_schedule
from cnncli.training.state import Training
from cnncli.training.step import Step
from tests.networks import network_of

LAYERS = """[
    {conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: prelu, freeze: true}},
    {conv: {out_channels: 4, kernel_size: 3, norm: batch, activation: relu, freeze: {epochs: 2}, lr_scale: 0.5}},
    flatten, {linear: {out_features: 6, weight_decay: 0.3, lr_scale: 0.1}}, logits]"""
EPOCHS = 4
LR, DECAY, MOMENTUM = 0.05, 0.01, 0.9


def start(optimizer: Optimizer) -> Training:
    model = seeded_module(network_of(LAYERS, (1, 8, 8), 3), 0)
    schedule = build_schedule(Constant(), lr=LR, epochs=EPOCHS, steps_per_epoch=3)
    return Training(model=model, optimizer=build_optimizer(optimizer, model), schedule=schedule)


@pytest.fixture
def batches(make_batches: Callable[..., Batches]) -> Batches:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(12, 1, 8, 8, generator=generator)
    return make_batches(images, torch.arange(12) % 3, batch_size=4)


def plain_torch(batches: Batches) -> CnnModule:
    """Trained without the code in question."""
    model = seeded_module(network_of(LAYERS, (1, 8, 8), 3), 0)
    parameters = dict(model.named_parameters())
    groups = []
    for name, parameter in parameters.items():
        decay = 0.0 if name.endswith("bias") or "norm" in name else 0.3 if "linear1" in name else DECAY
        rate = 0.5 if "conv2" in name else 0.1 if "linear1" in name else 1.0
        if "conv1" not in name:
            groups.append({"params": [parameter], "weight_decay": decay, "lr": LR * rate})
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    for epoch in range(1, EPOCHS + 1):
        frozen = ["conv1"] if epoch > 2 else ["conv1", "conv2"]
        model.train()
        for name in frozen:
            model.get_submodule(f"{name}.norm").eval()
        for name, parameter in parameters.items():
            parameter.requires_grad_(name.partition(".")[0] not in frozen)
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(images), labels))
            optimizer.step()
    return model


def assert_equal(model: torch.nn.Module, other: torch.nn.Module) -> None:
    expected = other.state_dict()
    assert [name for name, each in model.state_dict().items() if not torch.equal(each, expected[name])] == []


def test_a_training_equals_one_in_plain_torch(batches: Batches) -> None:
    training = start(Sgd(lr=LR, momentum=MOMENTUM, weight_decay=DECAY))
    for _ in fit(Step(training), batches, None, classes=3, epochs=EPOCHS):
        pass
    expected = plain_torch(batches).state_dict()
    for name, each in training.model.state_dict().items():
        torch.testing.assert_close(each, expected[name], rtol=1e-4, atol=1e-6)
    untrained = seeded_module(network_of(LAYERS, (1, 8, 8), 3), 0).state_dict()
    changed = {name for name, each in training.model.state_dict().items() if not torch.equal(each, untrained[name])}
    assert changed == {name for name in untrained if not name.startswith("conv1.")}


@pytest.mark.parametrize("steps", [4, 6, 8])  # with two layers frozen, between the epochs, with one
def test_resumed_bit_for_bit(steps: int, batches: Batches) -> None:
    whole, first, second = (start(AdamW(lr=LR)) for _ in range(3))
    for _ in fit(Step(whole), batches, None, classes=3, epochs=EPOCHS):
        pass
    for _ in fit(Step(first), batches, None, classes=3, epochs=EPOCHS, stop=lambda: first.step == steps):
        pass
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in fit(Step(second), batches, None, classes=3, epochs=EPOCHS):
        pass
    assert second.step == 3 * EPOCHS
    assert_equal(second.model, whole.model)


def test_unfreezing_is_said_and_recorded(batches: Batches, caplog: pytest.LogCaptureFixture) -> None:
    """At the beginning of the epoch, once, also where the training is stopped within the epoch or just before it."""
    caplog.set_level("INFO", "cnncli")
    training = start(AdamW(lr=LR))
    epochs: list[Epoch] = []
    for stop in (4, 6, 8, None):
        epochs += fit(Step(training), batches, None, classes=3, epochs=EPOCHS, stop=lambda: training.step == stop)  # noqa: B023
    assert [each.unfrozen for each in epochs] == [(), (), ("conv2",), ()]
    assert [each.as_record()["unfrozen"] for each in epochs] == [[], [], ["conv2"], []]
    assert [each.message for each in caplog.records] == ["epoch 3 unfreezes conv2"]


def test_a_frozen_layer_has_no_state_in_the_optimizer(batches: Batches) -> None:
    training = start(AdamW(lr=LR))
    names = {id(parameter): name for name, parameter in training.model.named_parameters()}
    trained = [
        {names[id(parameter)].partition(".")[0] for parameter in training.optimizer.state}
        for _ in fit(Step(training), batches, None, classes=3, epochs=3)
    ]
    assert trained == [{"linear1", "logits1"}, {"linear1", "logits1"}, {"conv2", "linear1", "logits1"}]
    given = {names[id(each)].partition(".")[0] for group in training.optimizer.param_groups for each in group["params"]}
    assert given == {"conv2", "linear1", "logits1"}
