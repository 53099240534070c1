"""Trainings that diverge and are rolled back: the same bits as a training whose learning rate was halved by hand."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnncli.config.train import Adam, AdamW, Muon, NAdam, Optimizer, RmsProp, Sgd
from cnncli.data.batches import WHOLE, Batches, Shard
from cnncli.errors import DivergedError
from cnncli.training.loop import Epoch, fit
from cnncli.training.optimizer import build_optimizer
from cnncli.training.state import EmaWeights, Training
from cnncli.training.step import Step

STEPS = 3
"""Steps in an epoch of the fixture `train`."""


@pytest.fixture(params=["immediate", "deferred"])
def guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of checking, on the CPU; fused optimizers skip steps there as on a GPU."""
    can_defer = request.param == "deferred"
    monkeypatch.setattr(
        "cnncli.training.step.can_defer_checks",
        lambda optimizer: can_defer and not isinstance(optimizer, torch.optim.RMSprop),
    )
    return str(request.param)


class Brittle(nn.Module):
    """The identity, but NaN in the given steps, counted from 1, while the learning rate is above a limit."""

    def __init__(self, steps: tuple[int, ...], limit: float) -> None:
        super().__init__()
        self.steps = steps
        self.limit = limit
        self.training_state: list[Training] = []

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.training_state):
            return x
        (training,) = self.training_state
        too_high = training.optimizer.param_groups[0]["lr"] > self.limit
        return x * float("nan") if too_high and training.step + 1 in self.steps else x


def start(
    *,
    steps: tuple[int, ...] = (),
    limit: float = 0.0,
    optimizer: Optimizer | None = None,
    ema: float | None = None,
    schedule: Callable[[int], float] | None = None,
    can_roll_back: bool = True,
    seed: int = 0,
) -> Training:
    """A training whose network has dropout and batch norm, and fails in these steps above this learning rate."""
    torch.manual_seed(seed)
    brittle = Brittle(steps, limit)
    convolution, norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
    head = (nn.Dropout(0.3), nn.Flatten(), nn.Linear(256, 3))
    model = nn.Sequential(convolution, norm, nn.ReLU(), brittle, *head)
    training = Training(
        model=model,
        optimizer=build_optimizer(optimizer or Sgd(lr=0.1), model),
        schedule=schedule or (lambda step: 0.1 / (1 + step)),
        ema=EmaWeights(model, decay=ema) if ema else None,
        can_roll_back=can_roll_back,
    )
    brittle.training_state.append(training)
    return training


def run(training: Training, train: Batches, validation: Batches | None = None, **settings: Any) -> list[Epoch]:
    return list(fit(Step(training, clip_norm=1.0), train, validation, classes=3, epochs=3, **settings))


def tensors_of(training: Training) -> dict[str, Tensor]:
    """All numbers of a training: weights, running statistics, moving average, moments of the optimizer."""
    found = {f"model.{name}": each for name, each in training.model.state_dict().items()}
    found |= {f"ema.{name}": each for name, each in training.inference_model.state_dict().items()}
    for index, moments in training.optimizer.state_dict()["state"].items():
        found |= {f"{index}.{name}": each for name, each in moments.items() if isinstance(each, Tensor)}
    return found


def same(one: Training, other: Training) -> None:
    assert tensors_of(one).keys() == tensors_of(other).keys()
    for name, tensor in tensors_of(one).items():
        assert torch.equal(tensor, tensors_of(other)[name]), name
    assert one.best_score == other.best_score
    assert one.epochs_without_improvement == other.epochs_without_improvement


def scores(epochs: list[Epoch]) -> list[tuple[Any, ...]]:
    return [(each.number, each.step, each.train, each.validation, each.learning_rate, each.best) for each in epochs]


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.1), Adam(lr=0.1), AdamW(lr=0.1), RmsProp(lr=0.1), NAdam(lr=0.1)])
@pytest.mark.parametrize(("failing", "times"), [(2, 1), (5, 1), (5, 3), (9, 1)])
def test_the_bits_of_a_learning_rate_halved_by_hand(
    optimizer: Optimizer, failing: int, times: int, guard: str, train: Batches, validation: Batches
) -> None:
    """In the first, second or last epoch, which then begins again with half the learning rate, once or three times."""
    begun = (failing - 1) // STEPS * STEPS

    def rate(step: int) -> float:
        return 0.1 / (1 + step)

    factor = 0.5**times
    training = start(steps=(failing,), limit=1.5 * factor * rate(failing - 1), optimizer=optimizer, ema=0.9)
    called: list[int] = []
    epochs = run(training, train, validation, rolled_back=lambda: called.append(training.step))
    halved = start(optimizer=optimizer, ema=0.9, schedule=lambda step: rate(step) * (factor if step >= begun else 1))
    expected = run(halved, train, validation)
    same(training, halved)
    assert scores(epochs) == scores(expected)
    assert called == [begun] * times
    epoch = begun // STEPS + 1
    assert [{**each, "reason": ""} for each in training.rollbacks] == [
        {"epoch": epoch, "step": failing, "restored": begun, "factor": 0.5**count, "reason": ""}
        for count in range(1, times + 1)
    ]
    assert all(str(each["reason"]).endswith("is not finite") for each in training.rollbacks)
    noted = [each.as_record()["rollbacks"] for each in epochs]
    assert noted == [training.rollbacks if number == epoch else [] for number in (1, 2, 3)]


@pytest.mark.parametrize("stop_at", [4, 5, 7, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3, 8))])
@pytest.mark.parametrize("limit", [0.05, 0.025, 0.0125], ids=["once", "twice", "three times"])
def test_resumed_with_the_same_bits(
    stop_at: int, limit: float, guard: str, train: Batches, validation: Batches
) -> None:
    """Before, between and after the rollbacks at the steps 5 and 6; the restore point is before the interruption."""

    def begin(seed: int = 0) -> Training:
        return start(steps=(5, 6), limit=1.1 * limit, schedule=lambda step: 0.1, ema=0.9, seed=seed)

    whole = begin()
    expected = run(whole, train, validation)
    cut = begin()
    before = run(cut, train, validation, stop=lambda: cut.step == stop_at)
    buffer = io.BytesIO()
    torch.save(cut.state_dict(), buffer)
    buffer.seek(0)
    resumed = begin(seed=99)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    torch.rand(5)
    after = run(resumed, train, validation)
    same(resumed, whole)
    assert scores([*before, *after]) == scores(expected)
    # Which layer is named depends on the step, at which the module of this test looks, and which deferred checks pass.
    first, second = ([{**each, "reason": ""} for each in one.rollbacks] for one in (resumed, whole))
    assert first == second
    assert [each["factor"] for each in whole.rollbacks] == [0.5, 0.25, 0.125][: round(0.05 / limit).bit_length()]


def test_at_most_three_times(guard: str, train: Batches) -> None:
    training = start(steps=(5,), limit=0.0)
    with pytest.raises(DivergedError, match=r"step 5 \(epoch 2.*, after 3 rollbacks\).*not finite") as caught:
        run(training, train)
    assert len(training.rollbacks) == 3
    assert "train.on_nan" not in str(caught.value.remedy)
    assert "the checkpoint of step 3 is good" in str(caught.value.remedy)


def test_the_three_are_of_the_whole_training(guard: str, train: Batches) -> None:
    """Two in the second epoch, one and then another in the third."""
    training = start(steps=(5, 8), limit=0.01)
    training.schedule = lambda step: 0.039 if step < 6 else 0.1
    with pytest.raises(DivergedError, match=r"step 8 \(epoch 3.*, after 3 rollbacks\)"):
        run(training, train)
    assert [each["epoch"] for each in training.rollbacks] == [2, 2, 3]


def test_not_where_a_smaller_learning_rate_changes_nothing(guard: str, train: Batches) -> None:
    """The first step of an epoch has the weights of the restore point, whatever the learning rate is."""
    training = start(steps=(4,), limit=0.0)
    with pytest.raises(DivergedError, match=r"step 4 \(epoch 2"):
        run(training, train)
    assert training.rollbacks == []


def test_weights_that_overflow(train: Batches) -> None:
    """The loss of an epoch's last step is finite, its update is not."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(100)
    training = Training(
        model=model,
        optimizer=build_optimizer(Sgd(lr=1.0, momentum=0.0), model),
        schedule=lambda step: 3e38 if step == 2 and not training.rollbacks else 0.0,
        can_roll_back=True,
    )
    list(fit(Step(training), train, None, classes=3, epochs=1))
    assert [(each["step"], each["reason"]) for each in training.rollbacks] == [(3, "1.weight is not finite")]


class BrittleEvaluation(nn.Module):
    """The identity, but infinite in evaluation after step 6 while the learning rate is above a limit."""

    def __init__(self, inner: Brittle) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        (training,) = self.inner.training_state
        fails = not self.training and training.step == 6 and training.optimizer.param_groups[0]["lr"] > 0.01
        return x * float("inf") if fails else x


def test_a_validation_loss_that_is_not_finite(train: Batches, validation: Batches) -> None:
    """The weights of the second epoch are finite, but no state to return to in the third."""
    for can_roll_back in (True, False):
        training = start(can_roll_back=can_roll_back)
        brittle = training.model.get_submodule("3")
        assert isinstance(brittle, Brittle)
        training.model.append(BrittleEvaluation(brittle))  # type: ignore[operator]  # a Sequential
        epochs = run(training, train, validation)
        losses = [each.validation is not None and each.as_record()["val"]["loss"] is not None for each in epochs]
        assert losses == [True, can_roll_back, True]
        found = [(each["step"], each["restored"], each["reason"]) for each in training.rollbacks]
        assert found == [(6, 3, "the loss of the validation images is not finite")] * can_roll_back


def test_without_rollback_it_stops(guard: str, train: Batches) -> None:
    training = start(steps=(5,), limit=0.0, can_roll_back=False)
    with pytest.raises(DivergedError, match=r"step 5 \(epoch 2, learning rate 0\.02\)") as caught:
        run(training, train)
    assert "set train.on_nan to rollback" in str(caught.value.remedy)
    assert (training.rollbacks, training.restore_point) == ([], None)


def test_switched_on_within_an_epoch(train: Batches) -> None:
    """The checkpoint of a training that had no restore point; the training returns to the checkpoint."""
    cut = start(can_roll_back=False)
    run(cut, train, stop=lambda: cut.step == 4)
    resumed = start(steps=(6,), limit=0.75 * 0.1 / 6)
    resumed.load_state_dict(cut.state_dict())
    run(resumed, train)
    assert [(each["step"], each["restored"]) for each in resumed.rollbacks] == [(6, 4)]
    switched_off = start(can_roll_back=False)
    state = start()
    run(state, train, stop=lambda: state.step == 4)
    switched_off.load_state_dict(state.state_dict())
    assert switched_off.restore_point is None


class WatchedBatches:
    """Batches that note which of them were read."""

    def __init__(self, train: Batches) -> None:
        self.train = train
        self.read: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.train)

    def images_in(self, step: int) -> int:
        return self.train.images_in(step)

    def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        for step, batch in enumerate(self.train.epoch(number, start_step, shard), start_step):
            self.read.append((number, step))
            yield batch


def test_the_epoch_gets_the_same_batches_again(train: Batches) -> None:
    watched = WatchedBatches(train)
    run(start(steps=(5,), limit=0.015), watched)
    second = [each for each in watched.read if each[0] == 2]
    # The failing batch is read once more, to name the layer.
    assert second == [(2, 0), (2, 1), (2, 1), (2, 0), (2, 1), (2, 2)]


def test_early_stopping_counts_on_after_a_rollback(train: Batches, validation: Batches) -> None:
    """An epoch counts once, however often it was begun."""
    training = start(steps=(5,), limit=0.0001, schedule=lambda step: 0.1 if step < 3 else 0.0002)
    epochs = run(training, train, validation, patience=2, metric="loss")
    assert [each.number for each in epochs] == [1, 2, 3][: len(epochs)]
    assert training.epochs_done == len(epochs)
    assert len(training.rollbacks) == 1


def test_a_rollback_restores_the_momentum_of_muon(train: Batches, validation: Batches) -> None:
    """It is not fused, so no guard is deferred."""
    expected = start(optimizer=Muon(lr=0.1), schedule=lambda step: 0.05)
    run(expected, train, validation)
    found = start(steps=(5,), limit=0.06, optimizer=Muon(lr=0.1), schedule=lambda step: 0.1 if step > 2 else 0.05)
    run(found, train, validation)
    assert len(found.rollbacks) == 1
    same(expected, found)
