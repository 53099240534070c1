"""Effective receptive fields against numbers worked by hand, and as a run's event file has them."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import nn

from cnncli.errors import UsageError
from cnncli.experiment.effective import SHARES, effective_field, gradients, square_sides
from cnncli.experiment.run import conduct
from cnncli.experiment.setup import Experiment, prepare
from cnncli.model import CnnModule
from cnncli.spec.config import read_config
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

TWO_OF_ONES = """
version: 1
name: ones
data: {name: digits, size: 11}
model:
  layers:
    - conv: {out_channels: 1, kernel_size: 3, padding: same, bias: false}
    - conv: {out_channels: 1, kernel_size: 3, padding: same, bias: false}
    - global_avg_pool
    - logits
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, RunDirectory]:
    """The quickstart after one epoch, and what it began with."""
    folder = tmp_path_factory.mktemp("runs")
    config = read_config("quickstart", data_dir=folder, assignments=["train.epochs=1", "log.graph=false"])

    def begin() -> Experiment:
        return prepare(config, data_dir=folder, device=torch.device("cpu"))

    run = RunDirectory.create(folder, "quickstart", datetime(2026, 1, 2))
    for _ in conduct(
        begin(), run, command=[], resumed=False, progress=Progress(), stop=lambda: False, notify=lambda message: None
    ):
        pass
    return begin(), run


def test_two_convolutions_of_ones(tmp_path: Path) -> None:
    """Rows of weights 1 2 3 2 1, and as many columns: the centre has 9 of 81, the 3x3 around it 49."""
    path = tmp_path / "ones.yaml"
    path.write_text(TWO_OF_ONES)
    model = CnnModule(read_config(str(path), data_dir=tmp_path).network)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    found = gradients(model, "conv2", (5, 5), torch.zeros(3, 1, 11, 11))
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])
    assert np.array_equal(found, expected)
    assert square_sides(found, (5.0, 5.0)) == {20: 3, 50: 3, 90: 5, 99: 5}


def test_squares_around_a_centre_between_pixels() -> None:
    """A kernel of two has its centre between them: its squares have even sides."""
    weights = np.zeros((6, 6))
    weights[2:4, 2:4] = 0.25
    assert square_sides(weights, (2.5, 2.5)) == dict.fromkeys(SHARES, 2)


def test_a_run(trained: tuple[Experiment, RunDirectory]) -> None:
    experiment, run = trained
    before = [parameter.clone() for parameter in experiment.model.parameters()]
    found = effective_field(experiment, run, images=70)
    assert (found.layer, found.unit, found.images) == ("max_pool2", (2, 2), 70)
    # Unit 2 of 4 after two 3x3 convolutions with a 2x2 pool behind each sees 10 pixels, from 2 * 4 - 3 on.
    assert found.rows == found.columns == (5, 14)
    for each in (found.trained, found.untrained):
        assert each.weights.sum() == pytest.approx(1)
        assert each.weights[:5].sum() == each.weights[15:].sum() == 0
        assert list(each.sides) == list(SHARES)
        assert list(each.sides.values()) == sorted(each.sides.values())
        assert each.sides[99] <= 10
    assert not np.array_equal(found.trained.weights, found.untrained.weights)
    after = list(experiment.model.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_event_file(trained: tuple[Experiment, RunDirectory]) -> None:
    experiment, run = trained
    found = effective_field(experiment, run, images=5, layer="conv2")
    events = EventAccumulator(str(run.path), size_guidance={"images": 0})
    events.Reload()
    assert "effective/03_conv2" in events.Tags()["images"]
    sides = {
        tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"] if tag.startswith("effective/03_conv2")
    }
    assert sides["effective/03_conv2/trained_50"] == found.trained.sides[50]
    assert len(sides) == 2 * len(SHARES)


@pytest.mark.parametrize(
    ("layer", "message"), [("conv9", "there is no layer conv9"), ("logits1", "logits1 has no positions")]
)
def test_layers_without_a_centre(trained: tuple[Experiment, RunDirectory], layer: str, message: str) -> None:
    experiment, run = trained
    with pytest.raises(UsageError, match=message):
        effective_field(experiment, run, images=1, layer=layer)
