"""Logged pictures against the event file, the images behind the confusion matrix against the network."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from cnncli.report import pictures
from cnncli.report.pictures import confusion_data, images_data, logged_data
from cnncli.run import Run
from cnncli.tensorboard.event_file import EventFile, read_pictures

TAGS = ("kernels/01_conv1", "feature_maps/01_conv1/3", "feature_maps/01_conv1/7", "snapshots/01_conv1", "effective/x")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    with EventFile(tmp_path) as events:
        for step in (0, 4, 8, 12, 16):
            events.pictures(step, {tag: noise.integers(0, 256, (20, 20, 3), dtype=np.uint8) for tag in TAGS})
    return tmp_path


def test_every_logged_picture_is_unchanged(run: Path) -> None:
    data = logged_data(run)
    logged = read_pictures(run)
    assert data["steps"] == [0, 4, 8, 12, 16]
    assert data["omitted"] == []
    names = [f"kernels/{each['layer']}" for each in data["kernels"]]
    names += [f"feature_maps/{each['layer']}/{each['probe']}" for each in data["feature_maps"]]
    assert names == list(TAGS[:3])
    for name, tag in zip(names, [*data["kernels"], *data["feature_maps"]], strict=True):
        assert list(tag["frames"]) == [each.step for each in logged[name]]
        for one, index in zip(logged[name], tag["frames"].values(), strict=True):
            assert np.array_equal(pixels(base64.b64decode(data["pictures"][index])), pixels(one.content))


def pixels(content: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as picture:
        return np.array(picture)


def test_with_too_many_bytes_probes_are_omitted_then_steps_but_never_the_first_and_last(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = logged_data(run)
    two = [*data["kernels"], data["feature_maps"][0]]
    size = sum(len(base64.b64decode(data["pictures"][index])) for tag in two for index in tag["frames"].values())
    monkeypatch.setattr(pictures, "LOGGED_BYTES", size)
    data = logged_data(run)
    assert [each["probe"] for each in data["feature_maps"]] == ["3"]
    assert data["omitted"] == ["feature maps of 1 of 2 test images"]
    assert len(data["steps"]) == 5
    monkeypatch.setattr(pictures, "LOGGED_BYTES", 1)
    data = logged_data(run)
    assert data["steps"] == [0, 16]
    assert data["omitted"] == ["feature maps of 1 of 2 test images", "3 of 5 steps"]


def test_a_run_without_pictures(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.scalars(0, {"loss/train": 1.0})
    data = logged_data(tmp_path)
    assert data["steps"] == data["kernels"] == data["feature_maps"] == data["pictures"] == []


def test_the_images_behind_the_confusion(lenet_run: Run) -> None:
    data = confusion_data(lenet_run)
    with torch.no_grad():
        logits = torch.cat([lenet_run.model(images) for images, _ in lenet_run.batches().epoch(1)])
    predicted, shares = logits.argmax(1), logits.double().softmax(1)
    assert data["sprite"] is None, "images of this size are in the page as they are"
    sprite = images_data(lenet_run)["sprite"]
    sheet = np.array(Image.open(BytesIO(base64.b64decode(sprite["webp"]))))
    for cell in data["cells"]:
        label, predicted_as, images = cell["label"], cell["predicted"], cell["images"]
        there = int(((lenet_run.test.labels == label) & (predicted == predicted_as)).sum())
        assert data["counts"][label][predicted_as] == there
        assert len(images) == min(there, pictures.IMAGES_PER_CELL)
        confidences = [image["confidence"] for image in images]
        assert confidences == sorted(confidences, reverse=label != predicted_as)
        for image in images:
            index = image["index"]
            assert (int(lenet_run.test.labels[index]), int(predicted[index])) == (label, predicted_as)
            assert image["confidence"] == pytest.approx(float(shares[index, predicted_as]), abs=1e-5)
            y, x = image["position"] // sprite["columns"] * 28, image["position"] % sprite["columns"] * 28
            assert np.array_equal(sheet[y : y + 28, x : x + 28, 0], lenet_run.test.images[index, 0].numpy())
    assert sum(map(sum, data["counts"])) == len(lenet_run.test)
    assert {(c["label"], c["predicted"]) for c in data["cells"]} == {tuple(x) for x in np.argwhere(data["counts"])}


def test_with_too_many_images_mistakes_come_first(lenet_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = lenet_run.predictions
    wrong = int((~predictions.correct).sum())
    assert wrong, "the run is too good for this test"
    monkeypatch.setattr(pictures, "MAX_IMAGES", 5)
    data = confusion_data(lenet_run)
    shown = [cell for cell in data["cells"] if cell["images"]]
    assert sum(len(cell["images"]) for cell in shown) == 5
    assert sum(len(cell["images"]) for cell in shown if cell["label"] != cell["predicted"]) == min(5, wrong)


def test_the_images_of_the_network_are_exact(lenet_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images_data(lenet_run)
    test = lenet_run.test
    assert data["labels"] == [int(test.labels[number]) for number in data["numbers"]]
    assert set(data["labels"]) == set(range(10))
    assert (data["count"], data["of"]) == (len(data["numbers"]), len(test))
    predictions = lenet_run.predictions
    (mistakes,) = data["mistakes"]
    numbers = [data["numbers"][position] for position in mistakes]
    assert set(numbers) == set(np.flatnonzero(~predictions.correct).tolist()) & set(data["numbers"])
    confidences = [float(predictions.confidence[number]) for number in numbers]
    assert confidences == sorted(confidences, reverse=True)
    sheet = np.array(Image.open(BytesIO(base64.b64decode(data["sprite"]["webp"]))))
    for position, number in enumerate(data["numbers"]):
        y, x = position // data["sprite"]["columns"] * 28, position % data["sprite"]["columns"] * 28
        assert np.array_equal(sheet[y : y + 28, x : x + 28, 0], test.images[number, 0].numpy())
    monkeypatch.setattr(pictures, "IMAGE_SIDE", 14)
    monkeypatch.setattr(pictures, "EXACT_BYTES", 30 * 28 * 28)
    data = images_data(lenet_run)
    assert data["count"] == 30
    assert (data["sprite"]["height"], data["sprite"]["width"]) == (28, 28)
    sprite = confusion_data(lenet_run)["sprite"]
    assert (sprite["height"], sprite["width"]) == (14, 14)


def test_large_images_are_reduced() -> None:
    image = torch.zeros(3, 64, 128, dtype=torch.uint8)
    image[:, :, 64:] = 200
    (reduced,) = pictures._reduced(image[None])
    assert reduced.shape == (3, 16, 32)
    assert (reduced[:, :, :16] == 0).all()
    assert (reduced[:, :, 16:] == 200).all()
