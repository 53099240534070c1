"""The loop: resuming exactly, stopping, scores, compiling, progress."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.train import (
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Metric,
    Muon,
    NAdam,
    Optimizer,
    Plateau,
    RAdam,
    RmsProp,
    Sgd,
)
from cnncli.data.batches import Batches
from cnncli.training.checkpoint import load_state, save_checkpoint
from cnncli.training.evaluate import evaluate
from cnncli.training.loop import Epoch, fit
from cnncli.training.loss import Loss
from cnncli.training.progress import Progress
from cnncli.training.state import Training
from cnncli.training.step import Step

Make = Callable[..., Training]


def stop_after(steps: int) -> Callable[[], bool]:
    """True from the given call on."""
    calls = iter(range(1, 1_000_000))
    return lambda: next(calls) >= steps


def all_tensors(training: Training) -> dict[str, Tensor]:
    models = {"model": training.model, "ema": training.inference_model}
    tensors = {f"{key}.{name}": t for key, model in models.items() for name, t in model.state_dict().items()}
    for index, moments in training.optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{name}": t for name, t in moments.items() if isinstance(t, Tensor)}
    return tensors


@pytest.mark.parametrize("stop_at", [3, 4, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 8))])
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize(
    "optimizer",
    [
        *(Sgd(lr=0.1), Adam(lr=0.01), AdamW(lr=0.01), RmsProp(lr=0.01), NAdam(lr=0.01), RAdam(lr=0.01), Muon(lr=0.01)),
        *(Adagrad(lr=0.01), Adadelta(lr=0.1)),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(
    make_training: Make,
    train: Batches,
    validation: Batches,
    tmp_path: Path,
    optimizer: Optimizer,
    ema: float | None,
    stop_at: int,
) -> None:
    """Three epochs of three steps, stopped in the middle of an epoch or after its last step."""
    step_of = partial(Step, clip_norm=1.0, loss=Loss(label_smoothing=0.1))
    whole = make_training(optimizer=optimizer, ema=ema)
    expected = list(fit(step_of(whole), train, validation, classes=3, epochs=3))

    cut = make_training(optimizer=optimizer, ema=ema)
    before = list(fit(step_of(cut), train, validation, classes=3, epochs=3, stop=stop_after(stop_at)))
    assert cut.step == stop_at
    save_checkpoint(tmp_path / "last", cut)

    resumed = make_training(optimizer=optimizer, ema=ema, seed=99)
    resumed.load_state_dict(load_state(tmp_path / "last"))
    torch.rand(5)  # other uses of the generator
    after = list(fit(step_of(resumed), train, validation, classes=3, epochs=3))

    for name, tensor in all_tensors(whole).items():
        assert torch.equal(tensor, all_tensors(resumed)[name]), name
    kept = [(e.number, e.step, e.train, e.validation, e.learning_rate, e.best) for e in expected]
    assert [(e.number, e.step, e.train, e.validation, e.learning_rate, e.best) for e in before + after] == kept


def test_the_caller_may_use_random_numbers_between_epochs(make_training: Make, train: Batches) -> None:
    quiet, noisy = make_training(), make_training()
    torch.manual_seed(0)
    list(fit(Step(quiet), train, None, classes=3, epochs=3))
    torch.manual_seed(0)
    for _ in fit(Step(noisy), train, None, classes=3, epochs=3):
        torch.manual_seed(123)
    assert torch.equal(quiet.model.state_dict()["logits.weight"], noisy.model.state_dict()["logits.weight"])


def test_it_learns(make_training: Make, train: Batches, validation: Batches) -> None:
    training = make_training(epochs=30)
    *_, last = fit(Step(training), train, validation, classes=3, epochs=30)
    assert last.validation is not None
    assert last.validation.accuracy == 1.0


def test_the_first_step_equals_one_in_plain_torch(make_batches: Callable[..., Any]) -> None:
    """Label smoothing, clipping and the schedule's learning rate, on one step of gradient descent."""
    images, labels = torch.rand(4, 2), torch.tensor([0, 1, 1, 0])
    ours, plain = nn.Linear(2, 2), nn.Linear(2, 2)
    plain.load_state_dict(ours.state_dict())
    training = Training(model=ours, optimizer=torch.optim.SGD(ours.parameters(), lr=99), schedule=lambda step: 0.5)
    (epoch,) = fit(
        Step(training, loss=Loss(label_smoothing=0.2), clip_norm=0.01),
        make_batches(images, labels, 4),
        None,
        classes=2,
        epochs=1,
    )

    optimizer = torch.optim.SGD(plain.parameters(), lr=0.5)
    loss = F.cross_entropy(plain(images), labels, label_smoothing=0.2)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    optimizer.step()
    torch.testing.assert_close(ours.weight, plain.weight)
    assert epoch.train.loss == pytest.approx(loss.item())
    assert epoch.learning_rate == 0.5


def test_train_score_is_the_mean_over_images_not_over_batches(make_batches: Callable[..., Any]) -> None:
    """Batches of 2 and 1; with a learning rate of 0 the weights do not change."""
    images, labels = torch.tensor([[3.0, 0], [0, 1], [2, 0]]), torch.tensor([0, 0, 1])
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    training = Training(model=model, optimizer=torch.optim.SGD(model.parameters()), schedule=lambda step: 0.0)
    (epoch,) = fit(Step(training), make_batches(images, labels, 2, shuffle=False), None, classes=2, epochs=1)
    assert epoch.train.loss == pytest.approx(F.cross_entropy(images, labels).item())
    assert epoch.train.accuracy == pytest.approx(1 / 3)
    assert epoch.validation is None


def test_validation_uses_the_moving_average(make_training: Make, train: Batches, validation: Batches) -> None:
    training = make_training(ema=0.9)
    *_, last = fit(Step(training), train, validation, classes=3, epochs=2)
    assert last.validation is not None
    assert training.ema is not None
    assert last.validation.loss == evaluate(training.ema.model, validation, 3).loss
    assert last.validation.loss != evaluate(training.model, validation, 3).loss


@pytest.mark.parametrize("metric", get_args(Metric))
def test_early_stopping(
    make_training: Make,
    train: Batches,
    validation: Batches,
    monkeypatch: pytest.MonkeyPatch,
    metric: Metric,
) -> None:
    """Scores that rise, rise, stay and fall: with a patience of 2 the fourth epoch is the last.

    An equal score is no improvement, but the later of two equal epochs is the best.
    """
    scores = iter([0.5, 0.7, 0.7, 0.6, 0.9])

    class Scored:
        def __init__(self) -> None:
            self.accuracy = self.balanced_accuracy = self.macro_precision = self.macro_f1 = self.loss = 0.5
            self.top_k_accuracy = None
            score = next(scores)
            setattr(self, metric, 1 - score if metric == "loss" else score)

    monkeypatch.setattr("cnncli.training.loop.evaluate", lambda *_, top_k: Scored())
    training = make_training(epochs=5)
    epochs = list(fit(Step(training), train, validation, classes=3, epochs=5, patience=2, metric=metric))
    assert [epoch.best for epoch in epochs] == [True, True, True, False]
    assert [epoch.stopped_early for epoch in epochs] == [False, False, False, True]
    assert training.best_epoch == 3
    assert not list(fit(Step(training), train, validation, classes=3, epochs=5, patience=2)), "it stays stopped"


def test_stopping_after_the_current_step(make_training: Make, train: Batches) -> None:
    training = make_training()
    epochs = list(fit(Step(training), train, None, classes=3, epochs=3, stop=stop_after(5)))
    assert [epoch.number for epoch in epochs] == [1]
    assert (training.step, training.epochs_done, training.step_in_epoch) == (5, 1, 2)


def test_bfloat16_computes_in_it_and_keeps_weights_in_float32(make_training: Make, train: Batches) -> None:
    training, seen = make_training(), set()
    training.model.get_submodule("conv1").register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
    (epoch,) = fit(Step(training, bf16=True), train, None, classes=3, epochs=1)
    assert seen == {torch.bfloat16}
    assert {tensor.dtype for tensor in training.model.parameters()} == {torch.float32}
    assert 0 < epoch.train.loss < 3


def test_a_compiler_that_fails_is_not_fatal(
    make_training: Make, train: Batches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("no compiler found\nmore")

    monkeypatch.setattr(torch, "compile", lambda model: broken)
    compiled, plain = make_training(), make_training()
    torch.manual_seed(1)
    list(fit(Step(compiled, compiled=True), train, None, classes=3, epochs=1))
    torch.manual_seed(1)
    list(fit(Step(plain), train, None, classes=3, epochs=1))
    assert caplog.messages == ["torch.compile failed (no compiler found); training continues without it"]
    assert torch.equal(compiled.model.state_dict()["logits.weight"], plain.model.state_dict()["logits.weight"])


@pytest.mark.parametrize("works", [True, False])
def test_a_training_that_pauses_is_compiled_once(
    works: bool, make_training: Make, train: Batches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compilations = []

    def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
        compilations.append(model)

        def run(images: Tensor) -> Tensor:
            if not works:
                raise RuntimeError("no compiler found")
            logits: Tensor = model(images)
            return logits

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    training = make_training()
    step = Step(training, compiled=True)
    for _ in range(2):
        list(fit(step, train, None, classes=3, epochs=1, stop=lambda: True))
    assert training.step == 2
    assert len(compilations) == 1
    assert len(caplog.messages) == (not works)


def test_a_compiled_training_can_pause(
    make_training: Make, train: Batches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the backend that generates no code, which is fast."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    training = make_training()
    step = Step(training, compiled=True)
    for _ in range(2):
        list(fit(step, train, None, classes=3, epochs=1, stop=lambda: True))
    assert (training.step, caplog.messages) == (2, [])


@pytest.mark.parametrize(("compiled", "messages"), [(False, 0), (True, 1)])
def test_an_error_of_the_model_is_raised_with_and_without_the_compiler(
    compiled: bool, messages: int, train: Batches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model.__call__)
    model = nn.Sequential(nn.Flatten(), nn.Linear(63, 3))  # the images have 64 pixels
    training = Training(model=model, optimizer=torch.optim.SGD(model.parameters()), schedule=lambda step: 0.1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(fit(Step(training, compiled=compiled), train, None, classes=3, epochs=1))
    assert len(caplog.messages) == messages


def test_progress_follows_the_steps(make_training: Make, train: Batches) -> None:
    progress, readings = Progress(), []

    def look() -> bool:
        readings.append(progress.read())
        return False

    epochs: list[Epoch] = list(
        fit(Step(make_training()), train, None, classes=3, epochs=2, progress=progress, stop=look)
    )
    assert [(r.epoch, r.epochs, r.step, r.steps) for r in readings] == [
        (1, 2, 1, 3), (1, 2, 2, 3), (1, 2, 3, 3), (2, 2, 1, 3), (2, 2, 2, 3), (2, 2, 3, 3),
    ]  # fmt: skip
    assert readings[2].score == epochs[0].train
    assert all(r.images_per_second > 0 for r in readings)


def test_records_have_the_keys_of_metrics(make_training: Make, train: Batches, validation: Batches) -> None:
    first, second = fit(Step(make_training()), train, validation, classes=3, epochs=2, top_k=2)
    record = second.as_record()
    assert list(record) == [
        "epoch",
        "step",
        "train",
        "val",
        "learning_rate",
        "unfrozen",
        *("rollbacks", "seconds", "images_per_second"),
    ]
    assert (record["epoch"], record["step"]) == (2, 6)
    assert set(record["train"]) == {"loss", "accuracy"}
    macro = {"balanced_accuracy", "macro_precision", "macro_f1"}
    assert set(record["val"]) == {"loss", "accuracy", *macro, "top_k_accuracy"}
    assert second.validation is not None
    assert record["val"]["top_k_accuracy"] == second.validation.top_k_accuracy
    assert all(later.step > earlier.step for earlier, later in pairwise([first, second]))


def test_a_plateau_survives_a_resumption(
    make_training: Make, train: Batches, validation: Batches, tmp_path: Path
) -> None:
    """A schedule that depends on the scores so far continues with them: with a patience of one, it falls often."""

    def start() -> Training:
        training = make_training(optimizer=Sgd(lr=0.5))
        training.schedule, training.plateau = lambda step: 0.5, Plateau(patience=1, metric="accuracy")
        return training

    whole = start()
    expected = list(fit(Step(whole), train, validation, classes=3, epochs=6))
    cut = start()
    before = list(fit(Step(cut), train, validation, classes=3, epochs=6, stop=stop_after(11)))
    save_checkpoint(tmp_path / "last", cut)
    resumed = start()
    resumed.load_state_dict(load_state(tmp_path / "last"))
    after = list(fit(Step(resumed), train, validation, classes=3, epochs=6))
    rates = [epoch.learning_rate for epoch in expected]
    assert rates[0] == 0.5
    assert len(set(rates)) > 2
    assert [epoch.learning_rate for epoch in before + after] == rates
    for name, tensor in all_tensors(whole).items():
        assert torch.equal(tensor, all_tensors(resumed)[name]), name


def without_norm(make_training: Make) -> Training:
    """Batch norm depends on the parts of a batch, and so does the order in which dropout draws."""
    training = make_training()
    training.model.norm1, training.model.drop1 = nn.Identity(), nn.Identity()
    training.optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1)
    return training


@pytest.mark.parametrize("parts", [2, 3, 8, 100])
def test_accumulated_gradients_are_those_of_the_whole_batch(make_training: Make, train: Batches, parts: int) -> None:
    """Batches of 8, 8 and 4 images, in parts that may differ by an image."""
    whole, divided = without_norm(make_training), without_norm(make_training)
    sizes: list[int] = []
    divided.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    (expected,) = fit(Step(whole, clip_norm=1.0), train, None, classes=3, epochs=1)
    (epoch,) = fit(Step(divided, clip_norm=1.0, accumulate=parts), train, None, classes=3, epochs=1)
    assert sum(sizes) == 20
    assert len(sizes) == sum(min(parts, size) for size in (8, 8, 4))
    assert epoch.train.loss == pytest.approx(expected.train.loss, rel=1e-6)
    assert epoch.train.accuracy == expected.train.accuracy
    for name, tensor in all_tensors(whole).items():
        torch.testing.assert_close(all_tensors(divided)[name], tensor, msg=name)
