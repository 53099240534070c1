"""What the page is told of a trained network, against the network itself."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.report import network as maps
from cnncli.report import pictures as confusion
from cnncli.report import pictures as exhibits
from cnncli.report.network import maps_data
from cnncli.report.pictures import Kind, confusion_data, exhibits_data
from cnncli.run import Run, load_run, predict
from cnncli.views.view import Picture


@pytest.fixture(scope="module")
def run(lenet: Path) -> Run:
    return load_run(lenet, data_dir=Path("nowhere"))


def test_maps_are_what_the_layers_give(run: Run) -> None:
    data = maps_data(run)
    numbers = [probe["number"] for probe in data["probes"]]
    assert [int(run.test.labels[number]) for number in numbers] == list(range(10))
    images = np.frombuffer(base64.b64decode(data["images"]), dtype=np.uint8).reshape(10, 1, 28, 28)
    assert np.array_equal(images, run.test.images[numbers].numpy())
    caught: dict[str, torch.Tensor] = {}
    for node in run.network.nodes:
        run.model.layer(node).register_forward_hook(
            lambda _module, _inputs, output, name=node.name: caught.update({name: output.detach()})
        )
    with torch.no_grad():
        logits = run.model(torch.stack([run.seen(str(number)).image for number in numbers]))
    for name, layer in data["layers"].items():
        values = np.frombuffer(base64.b64decode(layer["values"]), dtype="<f2").reshape(caught[name].shape)
        assert layer["channels"] == layer["of"] == caught[name].shape[1]
        np.testing.assert_allclose(values.astype(float), caught[name].double().numpy(), rtol=1e-3, atol=1e-4)
    shares = torch.softmax(logits, 1).tolist()
    assert [probe["probabilities"] for probe in data["probes"]] == [pytest.approx(row, abs=1e-5) for row in shares]


def test_where_there_is_no_room_images_go_first_then_channels(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = sum(np.prod(node.shape) for node in run.network.nodes)
    monkeypatch.setattr(maps, "VALUES", 3 * numbers)
    assert len(maps_data(run)["probes"]) == 3
    monkeypatch.setattr(maps, "VALUES", numbers // 2)
    data = maps_data(run)
    assert len(data["probes"]) == 1
    conv2 = data["layers"]["conv2"]
    assert (conv2["channels"], conv2["of"]) == (8, 16)
    assert len(base64.b64decode(conv2["values"])) == 8 * 10 * 10 * 2
    assert data["layers"]["logits1"]["channels"] == 10


def test_the_images_behind_the_confusion(run: Run) -> None:
    data = confusion_data(run, predict(run.model, run.batches()))
    with torch.no_grad():
        logits = torch.cat([run.model(images) for images, _ in run.batches().epoch(1)])
    predicted, shares = logits.argmax(1), logits.double().softmax(1)
    sprite = data["sprite"]
    sheet = np.array(Image.open(io.BytesIO(base64.b64decode(sprite["png"]))))
    for cell in data["cells"]:
        label, taken_for, images = cell["label"], cell["predicted"], cell["images"]
        there = int(((run.test.labels == label) & (predicted == taken_for)).sum())
        assert data["counts"][label][taken_for] == there
        assert len(images) == min(there, confusion.PER_CELL)
        confidences = [image["confidence"] for image in images]
        assert confidences == sorted(confidences, reverse=label != taken_for)
        for image in images:
            number = image["number"]
            assert (int(run.test.labels[number]), int(predicted[number])) == (label, taken_for)
            assert image["confidence"] == pytest.approx(float(shares[number, taken_for]), abs=1e-5)
            y, x = image["place"] // sprite["across"] * 28, image["place"] % sprite["across"] * 28
            assert np.array_equal(sheet[y : y + 28, x : x + 28], run.test.images[number, 0].numpy())
    assert sum(map(sum, data["counts"])) == len(run.test)
    assert {(c["label"], c["predicted"]) for c in data["cells"]} == {tuple(x) for x in np.argwhere(data["counts"])}


def test_what_is_wrong_comes_first_where_there_is_no_room(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = predict(run.model, run.batches())
    wrong = int((~predictions.right).sum())
    assert wrong, "the run is too good for this test"
    monkeypatch.setattr(confusion, "IMAGES", 5)
    data = confusion_data(run, predictions)
    shown = [cell for cell in data["cells"] if cell["images"]]
    assert sum(len(cell["images"]) for cell in shown) == 5
    assert sum(len(cell["images"]) for cell in shown if cell["label"] != cell["predicted"]) == min(5, wrong)


def test_large_images_become_small_ones() -> None:
    image = torch.zeros(3, 64, 128, dtype=torch.uint8)
    image[:, :, 64:] = 200
    thumbnail = confusion._thumbnail(image)
    assert thumbnail.shape == (16, 32, 3)
    assert (thumbnail[:, :16] == 0).all()
    assert (thumbnail[:, 16:] == 200).all()


def test_exhibits_of_any_kind_without_loss(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    shown = [
        Picture(tag=f"x/{i}", title=f"no. {i}", pixels=noise.integers(0, 256, (9, 7, 3), dtype=np.uint8), lines=["a"])
        for i in range(3)
    ]
    kinds = [Kind("x", "Some", lambda _: shown), Kind("none", "None", lambda _: [])]
    (section,) = exhibits_data(run, kinds)
    assert (section["kind"], section["heading"], section["left_out"]) == ("x", "Some", 0)
    for exhibit, picture in zip(shown, section["pictures"], strict=True):
        assert (picture["title"], picture["lines"]) == (exhibit.title, ["a"])
        assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(picture["webp"])))), exhibit.pixels)
    monkeypatch.setattr(exhibits, "SIZE", 1)
    (section,) = exhibits_data(run, kinds)
    assert [each["title"] for each in section["pictures"]] == ["no. 0"]
    assert section["left_out"] == 2
