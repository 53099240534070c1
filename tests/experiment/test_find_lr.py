"""The learning-rate range test, against the same steps in plain torch."""

import copy
from math import log
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.config import read_config
from cnncli.errors import DivergedError
from cnncli.experiment import find_lr
from cnncli.experiment.find_lr import RangeTest, find_learning_rate
from cnncli.experiment.setup import Experiment, prepare

CONFIG = """\
name: tiny
data: {name: digits, size: 8, validation: 0.5, augment: {noise: 0.1}}
model: {layers: [flatten, {linear: {out_features: 16, activation: relu}}, logits]}
train: {batch_size: 64, optimizer: {sgd: {lr: 1, momentum: 0}}, schedule: one_cycle}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def experiment(config: Path, *assignments: str) -> Experiment:
    read = read_config(str(config), data_dir=config.parent, assignments=assignments)
    return prepare(read, data_dir=config.parent, device=torch.device("cpu"))


def test_steps_are_those_of_plain_torch(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 steps an epoch: the second epoch is shuffled and augmented anew."""
    monkeypatch.setattr(find_lr, "STEPS", 20)
    prepared = experiment(config)
    model = copy.deepcopy(prepared.model)
    found = find_learning_rate(prepared)
    rates = [1e-6 * 1e7 ** (i / 19) for i in range(len(found.losses))]
    assert found.learning_rates == pytest.approx(rates)
    batches = [*prepared.train.epoch(1), *prepared.train.epoch(2)]
    average = 0.0
    for i, (rate, (images, labels)) in enumerate(zip(rates, batches, strict=False)):
        loss = F.cross_entropy(model(images), labels)
        average = 0.9 * average + 0.1 * loss.item()
        assert found.losses[i] == pytest.approx(loss.item(), rel=1e-4)
        assert found.smoothed[i] == pytest.approx(average / (1 - 0.9 ** (i + 1)), rel=1e-4)
        gradients = torch.autograd.grad(loss, [*model.parameters()])
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=rate)
    assert len(found.losses) > 12


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss(config: Path) -> None:
    found = find_learning_rate(experiment(config))
    lowest = found.learning_rates[found.smoothed.index(min(found.smoothed))]
    assert found.suggestion == pytest.approx(lowest / 10, rel=0.05)
    assert f"--set train.optimizer.sgd.lr={found.suggestion:.2g}" in found.explanation()
    assert 0.01 < found.suggestion < 1


def test_it_ends_where_the_loss_is_four_times_the_lowest(config: Path) -> None:
    """With Adam, whose steps do not depend on the size of the gradient, it diverges before the last step."""
    found = find_learning_rate(experiment(config, "train.optimizer=adam"))
    assert found.diverged
    assert len(found.losses) < find_lr.STEPS
    assert found.smoothed[-1] > 4 * min(found.smoothed)
    assert all(each <= 4 * min(found.smoothed[: i + 1]) for i, each in enumerate(found.smoothed[:-1]))


def test_a_network_that_diverges_at_once(config: Path) -> None:
    prepared = experiment(config)
    with torch.no_grad():
        next(prepared.model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="the loss is not finite at a learning rate of 1e-06"):
        find_learning_rate(prepared)


def test_the_labels_of_the_chart_are_at_their_powers_of_ten() -> None:
    rates = tuple(1e-6 * 1e7 ** (i / 199) for i in range(200))
    ramp = tuple(1 + i / 100 for i in range(200))
    found = RangeTest(
        learning_rates=rates, losses=ramp, smoothed=ramp[::-1], diverged=False, suggestion=0.1, field="lr"
    )
    labels = found.chart().x_labels
    assert labels is not None
    assert [label for _, label in labels] == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1e0", "1e1"]
    for position, label in labels:
        assert abs(log(rates[position - 1] / float(label))) < 0.05
    assert [row[0] for row in found.rows(5)][::4] == [rates[0], rates[-1]]
