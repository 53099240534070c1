"""Effective receptive fields against numbers worked by hand, of a run, and as a picture."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from torch import nn

from cnncli.cli.messages import show_log
from cnncli.config.config import read_config
from cnncli.drawing.canvas import FRAME
from cnncli.errors import UsageError
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.module import CnnModule
from cnncli.run import Run, load_run
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory
from cnncli.views.effective_receptive_field import (
    SHARES,
    EffectiveField,
    EffectiveReceptiveField,
    draw_effective,
    mean_gradient,
    measure,
    square_sides,
)
from cnncli.views.view import save

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


def test_two_convolutions_of_ones(tmp_path: Path) -> None:
    """Rows of weights 1 2 3 2 1, and as many columns: the center has 9 of 81, the 3x3 around it 49."""
    path = tmp_path / "ones.yaml"
    path.write_text(TWO_OF_ONES)
    model = CnnModule(read_config(str(path), data_dir=tmp_path).network)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    found = mean_gradient(model, "conv2", (5, 5), torch.zeros(3, 1, 11, 11))
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])
    assert np.array_equal(found, expected)
    assert square_sides(found, (5.0, 5.0)) == {20: 3, 50: 3, 90: 5, 99: 5}


def test_squares_around_a_center_between_pixels() -> None:
    """A kernel of two has its center between them: its squares have even sides."""
    weights = np.zeros((6, 6))
    weights[2:4, 2:4] = 0.25
    assert square_sides(weights, (2.5, 2.5)) == dict.fromkeys(SHARES, 2)


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
    found = measure(run, None, images=70)
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


def test_untrained_is_the_network_before_training(run: Run) -> None:
    """The network as `prepare` makes it for the same config, over the images that it would be tested with."""
    config = read_config(str(run.path / "resolved.yaml"), data_dir=run.path)
    begun = prepare(config, data_dir=run.path, device=torch.device("cpu"))
    images, _ = next(begun.test.epoch(1))
    expected = mean_gradient(begun.model, "conv2", (4, 4), images[:9])
    found = measure(run, "conv2", images=9)
    assert found.unit == (4, 4)
    assert np.allclose(found.untrained.weights, expected / expected.sum(), atol=1e-6)
    assert not np.allclose(found.trained.weights, expected / expected.sum(), atol=1e-3)


def test_it_is_saved_beside_the_event_file_of_the_training(run: Run) -> None:
    """Beside a training's event file, and never in it."""
    before = {path: path.read_bytes() for path in run.path.glob("events.*")}
    ((picture, path),) = save(run, EffectiveReceptiveField(layers=["conv2"], images=5).pictures(run))
    assert path == run.path / "show" / "effective_receptive_field" / "03_conv2.png"
    events = EventAccumulator(str(run.path / "show"), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["effective_receptive_field/03_conv2"]
    assert not events.Tags()["scalars"], "charts of one point"
    found = measure(run, "conv2", images=5)
    assert picture.numbers["trained_50"] == found.trained.sides[50]
    assert len(picture.numbers) == 2 * len(SHARES)
    assert before == {path: path.read_bytes() for path in run.path.glob("events.*")}
    assert picture.lines[-1] == "the whole receptive field: rows 5 to 12, columns 5 to 12"


@pytest.mark.parametrize(
    ("layer", "message"), [("conv9", "has no layer conv9"), ("logits1", "logits1 has no positions")]
)
def test_layers_without_positions(run: Run, layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(EffectiveReceptiveField(layers=[layer], images=1).pictures(run))


def test_squares_lie_around_the_center() -> None:
    """11 x 11 pixels, enlarged 12 times; the square of 3 around (6, 4) holds rows 5 to 7 and columns 3 to 5."""
    nothing = np.zeros((11, 11))
    pixels = draw_effective(
        {"trained": EffectiveField(nothing, {50: 3})},
        receptive_field=((1, 10), (0, 9)),
        center=(6.0, 4.0),
        title="",
        side=140,
    ).pixels
    framed = (pixels == FRAME).all(axis=2)
    top, left = np.argwhere(framed).min(axis=0) + 1  # of the tile, inside its own frame
    across, down = (np.flatnonzero(line) for line in (framed[top + 6 * 12 + 6], framed[:, left + 4 * 12 + 6]))
    assert (across - left).tolist() == [-1, 0, 3 * 12, 6 * 12 - 1, 10 * 12 - 1, 11 * 12]
    assert (down - top).tolist() == [-1, 12, 5 * 12, 8 * 12 - 1, 11 * 12 - 1, 11 * 12]


def test_json_has_the_unit_and_its_receptive_field(run_of: Callable[..., Run]) -> None:
    """A 3x3 convolution without padding on 7x7: 5x5 units, and the center one reads rows and columns 2 to 4."""
    images = torch.arange(2 * 49, dtype=torch.uint8).view(2, 1, 7, 7)
    run = run_of("[{conv: {out_channels: 2, kernel_size: 3}}, flatten, logits]", images)
    (picture,) = EffectiveReceptiveField(layers=["conv1"], images=2).pictures(run)
    assert picture.data == {"layer": "conv1", "unit": [2, 2], "images": 2, "rows": [2, 4], "columns": [2, 4]}
