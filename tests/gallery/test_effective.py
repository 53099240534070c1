"""The effective field of a run's layers: what is measured, and what is hung into the run."""

from datetime import datetime

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)

from cnncli.cli.notices import show_log
from cnncli.config.config import read_config
from cnncli.errors import UsageError
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.run import Run, load_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory
from cnncli.views.effective_receptive_field import SHARES, effective, gradients, measured
from cnncli.views.view import Gallery


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The quickstart after one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    config = read_config("quickstart", data_dir=folder, assignments=["train.epochs=1", "log.graph=false"])
    experiment = prepare(config, data_dir=folder, device=torch.device("cpu"))
    directory = RunDirectory.create(folder, "quickstart", datetime(2026, 1, 2))
    for _ in train_run(
        experiment,
        directory,
        command=[],
        resumed=False,
        progress=Progress(),
        stop=lambda: False,
    ):
        pass
    with show_log(pytest.fail):
        return load_run(directory.path, data_dir=folder)


def test_a_run(run: Run) -> None:
    found = measured(run, None, images=70)
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


def test_untrained_is_what_the_training_began_with(run: Run) -> None:
    """The network as `prepare` makes it for the same config, over the images that it would be tested with."""
    config = read_config(str(run.path / "resolved.yaml"), data_dir=run.path)
    begun = prepare(config, data_dir=run.path, device=torch.device("cpu"))
    images, _ = next(begun.test.epoch(1))
    expected = gradients(begun.model, "conv2", (4, 4), images[:9])
    found = measured(run, "conv2", images=9)
    assert found.unit == (4, 4)
    assert np.allclose(found.untrained.weights, expected / expected.sum(), atol=1e-6)
    assert not np.allclose(found.trained.weights, expected / expected.sum(), atol=1e-3)


def test_the_sub_run(run: Run) -> None:
    """Beside a training's event file, and never in it."""
    before = {path: path.read_bytes() for path in run.path.glob("events.*")}
    ((exhibit, picture),) = Gallery(run).hang(effective(run, layers=["conv2"], images=5))
    assert picture == run.path / "show" / "effective" / "03_conv2.png"
    events = EventAccumulator(str(run.path / "show"), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["effective/03_conv2"]
    sides = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    found = measured(run, "conv2", images=5)
    assert sides["effective/03_conv2/trained_50"] == found.trained.sides[50]
    assert len(sides) == 2 * len(SHARES)
    assert before == {path: path.read_bytes() for path in run.path.glob("events.*")}
    assert exhibit.lines[-1] == "the whole field: rows 5 to 12, columns 5 to 12"


@pytest.mark.parametrize(
    ("layer", "message"), [("conv9", "has no layer conv9"), ("logits1", "logits1 has no positions")]
)
def test_layers_without_a_center(run: Run, layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(effective(run, layers=[layer], images=1))
