"""Trainings that diverge: the layer is named, and the weights do not change."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from cnncli.config.train import Adam, Optimizer, RmsProp, Sgd
from cnncli.data.batches import WHOLE, Batches, Shard
from cnncli.errors import DivergedError
from cnncli.training.loop import fit
from cnncli.training.nonfinite import find_nonfinite_layer
from cnncli.training.state import Training
from cnncli.training.step import FiniteGuard, NonFiniteStep, Step, can_defer_checks


def can_defer(optimizer: torch.optim.Optimizer) -> bool:
    """As on a GPU: fused optimizers skip steps on the CPU as well."""
    return not isinstance(optimizer, torch.optim.RMSprop)


GUARDS = {"immediate": lambda optimizer: False, "deferred": can_defer}


@pytest.fixture(params=GUARDS)
def guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of checking, on the CPU."""
    monkeypatch.setattr("cnncli.training.step.can_defer_checks", GUARDS[request.param])
    return str(request.param)


class MaybeNan(nn.Module):
    """The identity, until it is told to return NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def forward(self, x: Tensor) -> Tensor:
        return x + float("nan") if self.broken else x


class RootOf(nn.Module):
    """The square root, whose slope at 0 is infinite: a finite output without a finite gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 0).sqrt() + x


def network_with(middle: nn.Module) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("conv1", nn.Conv2d(1, 2, 3))
    layers.add_module("norm1", nn.BatchNorm2d(2))
    layers.add_module("middle", middle)
    layers.add_module("conv2", nn.Conv2d(2, 2, 3))
    layers.add_module("flatten", nn.Flatten())
    layers.add_module("logits", nn.Linear(32, 3))
    return layers


def training_of(model: nn.Module, lr: float = 0.1) -> Training:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, fused=True)
    return Training(model=model, optimizer=optimizer, schedule=lambda step: lr)


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_a_nan_is_found_and_the_weights_do_not_change(guard: str, train: Batches) -> None:
    """It occurs in the fifth step, with 3 steps per epoch."""
    maybe_nan = MaybeNan()
    training = training_of(network_with(maybe_nan))
    kept: list[Tensor] = []

    def break_after_four() -> bool:
        if training.step == 4:
            maybe_nan.broken = True
            kept.extend(weights(training.model))
        return False

    with pytest.raises(DivergedError) as caught:
        list(fit(Step(training), train, None, classes=3, epochs=3, stop=break_after_four))
    assert str(caught.value) == (
        "training diverged at step 5 (epoch 2, learning rate 0.1): the output of middle is not finite"
    )
    assert "the checkpoint of step 3 is good" in str(caught.value.remedy)
    for before, after in zip(kept, weights(training.model), strict=True):
        assert torch.equal(before, after)


def test_one_bad_batch_does_not_change_the_weights(guard: str, train: Batches) -> None:
    """The second of three batches; a deferred check must not have taken the third step."""

    class OneBad:
        def __len__(self) -> int:
            return 3

        def images_in(self, step: int) -> int:
            return train.images_in(step)

        def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
            for step, (images, labels) in enumerate(train.epoch(number, start_step), start_step):
                yield (images * float("inf") if step == 1 else images), labels

    training = training_of(network_with(nn.ReLU()))
    kept: list[list[Tensor]] = []

    def keep() -> bool:
        kept.append(weights(training.model))
        return False

    with pytest.raises(DivergedError, match=r"step 2 \(epoch 1.*an input image is not finite") as caught:
        list(fit(Step(training), OneBad(), None, classes=3, epochs=1, stop=keep))
    assert "there is no checkpoint yet" in str(caught.value.remedy)
    for before, after in zip(kept[0], weights(training.model), strict=True):
        assert torch.equal(before, after)


def test_a_gradient_that_is_not_finite_is_found(guard: str, train: Batches) -> None:
    training = training_of(network_with(RootOf()))
    before = weights(training.model)
    with pytest.raises(DivergedError, match=r"step 1 .*the gradient of middle is not finite"):
        list(fit(Step(training), train, None, classes=3, epochs=1))
    assert all(map(torch.equal, before, weights(training.model)))


@pytest.mark.parametrize(
    ("optimizer", "clip_norm"),
    [(Sgd(lr=1e12), None), (Sgd(lr=1e25), 1.0), (Adam(lr=1e25), None), (RmsProp(lr=1e25), 1.0)],
)
def test_a_huge_learning_rate_leaves_finite_weights(
    guard: str,
    make_training: Callable[..., Training],
    train: Batches,
    optimizer: Optimizer,
    clip_norm: float | None,
) -> None:
    training = make_training(optimizer=optimizer, epochs=20)
    with pytest.raises(
        DivergedError, match=r"training diverged at step \d+ \(epoch \d+, learning rate .* is not finite"
    ):
        list(fit(Step(training, clip_norm=clip_norm), train, None, classes=3, epochs=20))
    assert all(bool(torch.isfinite(each).all()) for each in weights(training.model))


def test_weights_that_overflow_in_the_last_step_are_found(train: Batches) -> None:
    """Loss and gradient of the last step of an epoch are finite, but its update is not."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    training = Training(
        model=model,
        optimizer=torch.optim.SGD(model.parameters()),
        schedule=lambda step: 3e38 if step == 2 else 0.0,
    )
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(100)
    with pytest.raises(DivergedError, match=r"step 3 .*1\.weight is not finite"):
        list(fit(Step(training), train, None, classes=3, epochs=1))


@pytest.mark.parametrize("name", ["conv1", "conv2", "logits"])
def test_the_first_layer_in_order_of_computation_is_named(name: str, train: Batches) -> None:
    model = network_with(nn.ReLU())
    with torch.no_grad():
        model.get_parameter(f"{name}.bias").fill_(float("inf"))
    loss = nn.CrossEntropyLoss()
    images, labels = next(train.epoch(1))
    assert find_nonfinite_layer(model, images, lambda x: loss(model(x), labels)) == f"the output of {name}"


def test_hooks_and_gradients_are_removed(train: Batches) -> None:
    model = network_with(nn.ReLU(inplace=True))
    loss = nn.CrossEntropyLoss()
    images, labels = next(train.epoch(1))
    assert find_nonfinite_layer(model, images, lambda x: loss(model(x), labels)) is None
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.1), Adam(lr=0.01), RmsProp(lr=0.01)])
def test_both_ways_of_checking_take_the_same_steps(
    make_training: Callable[..., Training],
    train: Batches,
    optimizer: Optimizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = []
    for deferred in GUARDS.values():
        monkeypatch.setattr("cnncli.training.step.can_defer_checks", deferred)
        training = make_training(optimizer=optimizer)
        torch.manual_seed(5)
        list(fit(Step(training, clip_norm=0.5), train, None, classes=3, epochs=2))
        trained.append(weights(training.model))
    assert all(map(torch.equal, *trained))


def test_a_late_check_finds_the_first_bad_step() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    guard = FiniteGuard(optimizer, deferred=True)
    for number in range(11, 31):
        optimizer.zero_grad()
        loss = (weight * (float("inf") if number == 15 else 1.0)).sum()
        torch.autograd.backward(loss)
        guard.step(loss.detach(), clip_norm=None, number=number)
    assert weight.item() == pytest.approx(1 - 4 * 0.1)
    with pytest.raises(NonFiniteStep, match="15"):
        guard.check()


def test_on_the_cpu_every_step_is_checked_at_once() -> None:
    assert not can_defer_checks(torch.optim.SGD([torch.ones(1, requires_grad=True)], fused=True))
