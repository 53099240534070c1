"""Confusion, mistakes and calibration of a network that says what its images tell it to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.config.config import Config
from cnncli.config.data import DataSpec
from cnncli.config.document import Problem, parse_document
from cnncli.config.log import LogSpec
from cnncli.config.model import read_blueprint
from cnncli.config.network import lay_out
from cnncli.config.train import TrainSpec
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.drawing.canvas import Canvas
from cnncli.drawing.image import Tile
from cnncli.module import CnnModule
from cnncli.run import Run, RunData
from cnncli.views.calibration import calibration_view as calibration
from cnncli.views.confusion import confusion
from cnncli.views.mistakes import misclassified

CLASSES = ("cat", "dog", "owl")
# Eight images of three pixels, and what they show: five are right.
PIXELS = [[200, 0, 0], [90, 80, 0], [0, 210, 0], [0, 0, 220], [0, 150, 0], [0, 0, 230], [0, 0, 60], [255, 0, 0]]
LABELS = [0, 0, 1, 2, 0, 0, 2, 1]
WRONG = [7, 5, 4]
"""Surest first: the brighter the pixel, the surer."""


def run_of(pixels: list[list[int]], labels: list[int]) -> Run:
    """A network whose logits are ten times the three pixels of its image, from 0 to 10."""
    problems: list[Problem] = []
    section = parse_document("model: {layers: [flatten, logits]}", name="test")
    network = lay_out(read_blueprint(section, problems), (1, 1, 3), 3, problems)
    assert not problems, problems
    model = CnnModule(network).eval()
    model.load_state_dict({"logits1.weight": 10 * torch.eye(3), "logits1.bias": torch.zeros(3)})
    images = torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 3)
    config = Config(
        name="test",
        document=section,
        data=DataSpec(name="digits"),
        train=TrainSpec(),
        log=LogSpec(),
        network=network,
        classes=CLASSES,
    )
    data = RunData(
        splits={"test": (ImageSet(images=images, labels=torch.tensor(labels)), None)},
        normalization=Normalization.none(1),
    )
    return Run(path=Path("runs/planted"), config=config, model=model, epoch=1, step=1, load_data=lambda: data)


@pytest.fixture
def run() -> Run:
    return run_of(PIXELS, LABELS)


def test_confusion(run: Run) -> None:
    (found,) = confusion(run)
    assert found.tag == "eval/confusion"
    assert found.numbers == {"accuracy": 5 / 8}
    assert list(found.lines) == [
        "62.50% of 8 test images are right",
        "cat taken for dog: 1 of 4 (25.0%)",
        "cat taken for owl: 1 of 4 (25.0%)",
        "dog taken for cat: 1 of 2 (50.0%)",
    ]
    (tile,) = found.tiles
    assert tile.values.tolist() == [[2, 1, 1], [1, 1, 0], [0, 0, 2]]


def test_mistakes_come_surest_first(run: Run) -> None:
    (found,) = misclassified(run)
    assert found.tag == "eval/misclassified"
    assert found.numbers == {"wrong": 3}
    labels = [tile.label.rpartition(",")[0] for tile in found.tiles]
    assert labels == ["test image 7: dog -> cat", "test image 5: cat -> owl", "test image 4: cat -> dog"]
    for tile, number in zip(found.tiles, WRONG, strict=True):
        assert tile.values.tolist() == [PIXELS[number]]
    sure = [float(tile.label.rpartition(" ")[2].rstrip("%")) / 100 for tile in found.tiles]
    expected = [np.exp(10) / (np.exp(10) + 2), np.exp(2300 / 255) / (np.exp(2300 / 255) + 2)]
    assert sure[:2] == pytest.approx(expected, abs=5e-4)


def test_mistakes_are_on_the_sheet_and_counted(run: Run) -> None:
    (found,) = misclassified(run, count=2)
    assert found.lines[0] == "3 of 8 test images are wrong, and the 2 surest of them are shown"
    assert len(found.tiles) == 2
    for tile in found.tiles:
        assert isinstance(tile, Tile)
        enlarged = tile.pixels.repeat(28, axis=0).repeat(28, axis=1)  # 84 px for the longer side of 3
        windows = np.lib.stride_tricks.sliding_window_view(found.pixels, enlarged.shape)
        assert (windows == enlarged).all(axis=(-3, -2, -1)).any()


def test_below_each_mistake_stands_what_it_is_and_was_taken_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long names stand in two lines, and of a card the number of the image is left out."""
    written: list[str] = []
    write = Canvas.text

    def noted(canvas: Canvas, x: int, y: int, text: str, **named: int) -> None:
        written.append(text)
        write(canvas, x, y, text, **named)

    monkeypatch.setattr(Canvas, "text", noted)
    list(
        misclassified(
            replace(run, config=replace(run.config, classes=("cat", "dog", "a very long-eared owl"))), count=2
        )
    )
    page = written[2:10]
    assert [text for text in page if not text.endswith("%")] == [
        "dog", "-> cat", "#7", "cat", "-> a very long-eared owl", "#5",
    ]  # fmt: skip
    written.clear()
    list(misclassified(run, count=1))
    assert [text for text in written if "->" in text and "taken" not in text] == ["dog -> cat"] * 2


def test_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    run = run_of(PIXELS[:4], [0, 0, 1, 2])
    assert list(misclassified(run)) == []
    assert caplog.messages == ["none of the 4 test images is wrong: there is nothing to show"]
    (found,) = confusion(run)
    assert list(found.lines) == ["100.00% of 4 test images are right"]


def test_calibration(run: Run) -> None:
    (found,) = calibration(run)
    assert found.tag == "eval/calibration"
    confidence = torch.tensor(PIXELS).div(255).mul(10).double().softmax(1).amax(1)
    assert found.numbers["mean_confidence"] == pytest.approx(confidence.mean().item(), abs=1e-6)
    assert found.numbers["accuracy"] == 5 / 8
    # Two images are less sure than 14 of 15, with bins of their own; both are right.
    unsure = sorted(confidence.tolist())[:2]
    sure = sorted(confidence.tolist())[2:]
    gaps = [1 - unsure[0], 1 - unsure[1], sum(sure) / 6 - 3 / 6]
    assert found.numbers["maximum_error"] == pytest.approx(max(gaps), abs=1e-6)
    assert found.numbers["expected_error"] == pytest.approx((gaps[0] + gaps[1] + 6 * gaps[2]) / 8, abs=1e-6)


def test_predictions_are_computed_once(run: Run) -> None:
    assert run.predictions is run.predictions
