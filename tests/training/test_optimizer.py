"""Optimizers and learning rates: torch's own, its schedulers, and calculations by hand."""

import copy
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from cnncli.config.train import (
    OPTIMIZERS,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    MultiStep,
    Muon,
    NAdam,
    OneCycle,
    Optimizer,
    OptimizerSpec,
    Piecewise,
    Plateau,
    Polynomial,
    RAdam,
    RmsProp,
    Schedule,
    Sgd,
    StepDecay,
)
from cnncli.training.optimizer import build_optimizer, build_schedule
from cnncli.training.state import Training


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
    (NAdam(lr=0.01, betas=(0.8, 0.9)), torch.optim.NAdam, {"lr": 0.01, "betas": (0.8, 0.9)}),
    (RAdam(lr=0.01, betas=(0.8, 0.9)), torch.optim.RAdam, {"lr": 0.01, "betas": (0.8, 0.9)}),
    (Adagrad(lr=0.01), torch.optim.Adagrad, {"lr": 0.01}),
    (Adadelta(lr=0.5, rho=0.8), torch.optim.Adadelta, {"lr": 0.5, "rho": 0.8}),
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
    fused = {"fused": True} if kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW) else {}
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


@pytest.mark.parametrize("channels_last", [False, True])
def test_muon_is_torchs_on_matrices_and_adamw_on_the_rest(channels_last: bool) -> None:
    """torch's own takes matrices only: a network whose kernels are matrices of (filters, inputs height width)."""
    torch.manual_seed(0)
    ours = kernels_only().to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    optimizer = build_optimizer(Muon(lr=0.01, momentum=0.9, weight_decay=0.1), ours)
    weights = [each.detach().flatten(1).clone().requires_grad_() for each in ours.parameters() if each.ndim > 1]
    biases = [each.detach().clone().requires_grad_() for each in ours.parameters() if each.ndim == 1]
    muon = torch.optim.Muon(weights, lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(biases, lr=0.01, weight_decay=0.0)
    images = torch.rand(5, 2, 5, 5)
    for step in range(4):
        optimizer.zero_grad()
        torch.autograd.backward(ours(images).square().mean())
        for theirs, ndim in ((weights, 2), (biases, 1)):
            own = [each for each in ours.parameters() if (each.ndim > 1) == (ndim > 1)]
            for mine, their in zip(own, theirs, strict=True):
                assert mine.grad is not None
                their.grad = mine.grad.flatten(1).clone() if ndim > 1 else mine.grad.clone()
        for each in (optimizer, muon, adamw):
            each.step()
        for mine, their in zip([p for p in ours.parameters() if p.ndim > 1], weights, strict=True):
            torch.testing.assert_close(mine.flatten(1), their, atol=2e-4, rtol=0)  # matrices in bfloat16
        for mine, their in zip([p for p in ours.parameters() if p.ndim == 1], biases, strict=True):
            torch.testing.assert_close(mine, their)
        if step == 1:  # from a checkpoint, whose tensors may have another layout
            state = copy.deepcopy(optimizer.state_dict())
            for values in state["state"].values():
                values |= {name: value.contiguous() for name, value in values.items()}
            optimizer.load_state_dict(state)


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_states_of_the_memory_estimate_are_torchs(kind: type[OptimizerSpec], momentum: float) -> None:
    """The numbers that an optimizer keeps, without single ones; Muon keeps more for biases and norms."""
    settings = {"momentum": momentum} if "momentum" in kind.model_fields else {}
    if kind is Muon and not momentum:
        settings = {}
    choice = kind.model_validate(settings)
    model = network()
    optimizer = build_optimizer(choice, model)  # type: ignore[arg-type]  # one of the members of Optimizer
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    kept = {
        parameter: sum(value.numel() for value in values.values() if isinstance(value, torch.Tensor) and value.ndim)
        for parameter, values in optimizer.state.items()
    }
    for parameter in model.parameters():
        more = parameter.numel() if kind is Muon and parameter.ndim == 1 else 0
        assert kept.get(parameter, 0) == choice.states * parameter.numel() + more


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


def test_multistep_equals_torchs() -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, milestones=[6, 9], gamma=0.5), lr=0.8, steps=15
    )
    assert rates(MultiStep(epochs=(2, 3), factor=0.5), lr=0.8, epochs=5, steps_per_epoch=3) == pytest.approx(expected)


def test_exponential_equals_torchs_after_each_epoch() -> None:
    expected = torch_rates(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.9), lr=0.5, steps=4)
    values = rates(Exponential(factor=0.9), lr=0.5, epochs=4, steps_per_epoch=3)
    assert values[::3] == pytest.approx(expected)
    assert values[1] / values[0] == pytest.approx(values[7] / values[6])


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_polynomial_equals_torchs(power: float) -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total_iters=12, power=power), lr=0.5, steps=12
    )
    assert rates(Polynomial(power=power), lr=0.5, epochs=3, steps_per_epoch=4) == pytest.approx(expected)
    values = rates(Polynomial(power=power, final=0.2, warmup=0.5), epochs=1, steps_per_epoch=4)
    assert values == pytest.approx([0.5, 1, 1, 0.2 + 0.8 * 0.5**power])


@pytest.mark.parametrize(("decay", "mode"), [(1.0, "triangular"), (0.5, "triangular2")])
def test_cyclic_equals_torchs(decay: float, mode: str) -> None:
    expected = torch_rates(
        lambda optimizer: lr_scheduler.CyclicLR(
            optimizer,
            base_lr=0.05,
            max_lr=0.5,
            step_size_up=3,
            mode=mode,  # type: ignore[arg-type]  # one of its modes
            cycle_momentum=False,
        ),
        lr=0.05,
        steps=20,
    )
    values = rates(Cyclic(every=1.5, low=0.1, decay=decay), lr=0.5, epochs=5, steps_per_epoch=4)
    assert values == pytest.approx(expected)


def test_piecewise_by_hand() -> None:
    values = rates(Piecewise(points=((1, 0.5), (2, 1.0), (4, 0.0))), lr=2.0, epochs=5, steps_per_epoch=2)
    assert values == pytest.approx([1, 1, 1, 1.5, 2, 1.5, 1, 0.5, 0, 0])


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_plateau_equals_torchs(metric: Literal["accuracy", "loss"]) -> None:
    """Scores that improve, stay and get worse; torch reduces after one epoch more than its patience."""
    scores = [0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.69, 0.7, 0.1, 0.2, 0.8, 0.3, 0.2, 0.1, 0.1, 0.1]
    model = nn.Linear(1, 1)
    training = Training(
        model=model,
        optimizer=torch.optim.SGD(model.parameters()),
        schedule=lambda step: 0.8,
        plateau=Plateau(patience=2, factor=0.5, metric=metric, lowest=0.25),
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max" if metric == "accuracy" else "min", factor=0.5, patience=1, threshold=0, min_lr=0.2
    )
    seen = []
    for score in scores:
        value = score if metric == "accuracy" else 1 - score
        training.reduce_on_plateau(score)
        theirs.step(value)
        seen.append(training.learning_rate(0))
        assert seen[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    "choice",
    [
        *(Constant(), Constant(warmup=0.9), StepDecay(every=1), Cosine(), Cosine(warmup=0.9), OneCycle()),
        *(MultiStep(epochs=(1,)), Piecewise(points=((0, 1),)), Exponential(), Polynomial(warmup=0.9), Cyclic(every=1)),
        Plateau(),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings_have_a_rate(choice: Schedule, steps: int) -> None:
    assert all(0 <= rate <= 1 for rate in rates(choice, epochs=1, steps_per_epoch=steps))
