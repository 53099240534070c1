"""What the network learned, as data of the page: compared with torch, with crops by hand and with loops."""

import base64
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch.nn.functional import pad

from cnncli.report import views
from cnncli.report.views import (
    calibration_data,
    effective_data,
    embedding_data,
    maximization_data,
    patch_tops,
    patches_data,
    saliency_data,
)
from cnncli.run import Run
from cnncli.views.units import TopActivations

Tops = dict[str, tuple[TopActivations, ...]]


@pytest.fixture(scope="module")
def tops(lenet_run: Run) -> Tops:
    return patch_tops(lenet_run)


@pytest.fixture(scope="module")
def inputs(lenet_run: Run) -> torch.Tensor:
    """All test images as the network gets them."""
    return torch.cat([images for images, _ in lenet_run.batches().epoch(1)])


def tile(sprite: dict[str, Any], position: int, size: list[int]) -> npt.NDArray[np.uint8]:
    """An image of a sprite: (h, w, 3 or 4)."""
    sheet = np.array(Image.open(BytesIO(base64.b64decode(sprite["webp"]))))
    y, x = position // sprite["columns"] * sprite["height"], position % sprite["columns"] * sprite["width"]
    return sheet[y : y + size[0], x : x + size[1]]


def test_patches_are_crops_at_the_largest_outputs(lenet_run: Run, tops: Tops, inputs: torch.Tensor) -> None:
    data = patches_data(lenet_run, {name: tops[name] for name in ("conv1", "conv2")})
    assert (data["images"], data["count"], data["omitted"]) == (len(inputs), 9, [])
    (layer, deeper) = data["layers"]
    assert (layer["name"], layer["size"], len(layer["filters"])) == ("conv1", "5x5", 6)
    assert (deeper["name"], deeper["size"], len(deeper["filters"])) == ("conv2", "14x14", 16)
    with torch.no_grad():
        maps = lenet_run.model.outputs(inputs, ["conv1"])["conv1"]  # (N, 6, 28, 28)
    padded = pad(lenet_run.test.images, (2, 2, 2, 2))  # unit (r, c) of conv1 sees rows r to r + 4 of this
    inside = pad(torch.full((28, 28), 255), (2, 2, 2, 2))
    for number, entry in enumerate(layer["filters"]):
        best = maps[:, number].flatten(1).amax(1)
        assert [each["value"] for each in entry["patches"]] == pytest.approx(best.topk(9).values.tolist(), abs=1e-6)
        assert entry["highest"] == pytest.approx(float(best.max()), abs=1e-6)
        for patch in entry["patches"]:
            index, (row, column) = patch["index"], patch["unit"]
            assert float(maps[index, number, row, column]) == pytest.approx(patch["value"], abs=1e-6)
            assert patch["label"] == int(lenet_run.test.labels[index])
            shown = tile(layer["sprite"], patch["position"], patch["size"])
            window = (slice(row, row + 5), slice(column, column + 5))
            alpha = shown[..., 3] if shown.shape[-1] == 4 else np.full(shown.shape[:2], 255)
            assert np.array_equal(alpha, inside[window].numpy())
            pixels = padded[index, 0][window].numpy()
            assert np.array_equal(shown[..., 0][alpha > 0], pixels[alpha > 0])


def test_with_too_many_bytes_there_are_fewer_patches_but_every_filter(
    lenet_run: Run, tops: Tops, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolutions = {name: tops[name] for name in ("conv1", "conv2")}
    whole = patches_data(lenet_run, convolutions)
    size = sum(len(base64.b64decode(layer["sprite"]["webp"])) for layer in whole["layers"])
    monkeypatch.setattr(views, "PATCH_BYTES", size // 3)
    fewer = patches_data(lenet_run, convolutions)
    assert [len(layer["filters"]) for layer in fewer["layers"]] == [6, 16]
    assert {len(entry["patches"]) for layer in fewer["layers"] for entry in layer["filters"]} == {fewer["count"]}
    assert 1 <= fewer["count"] <= 3
    monkeypatch.setattr(views, "PATCH_BYTES", 1)
    least = patches_data(lenet_run, convolutions)
    assert ([layer["name"] for layer in least["layers"]], least["omitted"]) == (["conv1"], ["conv2"])


def test_saliency_equals_the_gradient_of_torch(lenet_run: Run, inputs: torch.Tensor) -> None:
    data = saliency_data(lenet_run)
    assert [int(lenet_run.test.labels[each["index"]]) for each in data["images"]] == list(range(10))
    for each in data["images"][:3]:
        image = inputs[each["index"]][None].clone().requires_grad_()
        logits = lenet_run.model(image)[0]
        assert each["lines"][0].startswith(f"predicted {int(logits.argmax())}, ")
        logits.max().backward()
        assert image.grad is not None
        expected = image.grad[0].sum(0).numpy()
        shown = next(m for m in each["maps"] if m["name"] == "gradient")
        values = np.frombuffer(base64.b64decode(shown["values"]), dtype=np.int8).reshape(28, 28) / 127 * shown["high"]
        np.testing.assert_allclose(values, expected, atol=np.abs(expected).max() / 250)
        picture = np.frombuffer(base64.b64decode(each["picture"]), dtype=np.uint8).reshape(1, 28, 28)
        assert np.array_equal(picture, lenet_run.test.images[each["index"]].numpy())


def test_large_networks_get_fewer_images_steps_and_classes(
    lenet_run: Run, tops: Tops, monkeypatch: pytest.MonkeyPatch
) -> None:
    macs = lenet_run.table.macs
    monkeypatch.setattr(views, "MACS", 2 * views.SALIENCY_PASSES * macs)
    assert len(saliency_data(lenet_run)["images"]) == 2
    monkeypatch.setattr(views, "MACS", 3 * 9 * 40 * macs)
    made = maximization_data(lenet_run, tops["logits1"])
    assert (len(made["classes"]), made["steps"], made["of"]) == (3, 40, 10)
    monkeypatch.setattr(views, "MACS", 1)
    made = maximization_data(lenet_run, tops["logits1"])
    assert (len(made["classes"]), made["steps"]) == (1, views.LEAST_STEPS)
    monkeypatch.setattr(views, "EFFECTIVE_IMAGES", 2)
    effective = effective_data(lenet_run)
    assert effective is not None
    assert ([each["layer"] for each in effective["layers"]], effective["of"]) == (["conv2"], 2)


def test_calibration_by_loops(lenet_run: Run, inputs: torch.Tensor) -> None:
    with torch.no_grad():
        confidence, predicted = lenet_run.model(inputs).double().softmax(1).max(1)
    right = predicted == lenet_run.test.labels
    data = calibration_data(lenet_run)
    bins = len(data["counts"])
    error = 0.0
    for number in range(bins):
        inside = [i for i, each in enumerate(confidence.tolist()) if number / bins < each <= (number + 1) / bins]
        assert data["counts"][number] == len(inside)
        if not inside:
            assert data["accuracy"][number] is data["confidence"][number] is None
            continue
        accuracy = sum(bool(right[i]) for i in inside) / len(inside)
        mean = sum(float(confidence[i]) for i in inside) / len(inside)
        assert data["accuracy"][number] == pytest.approx(accuracy)
        assert data["confidence"][number] == pytest.approx(mean, abs=1e-6)
        error += len(inside) / len(confidence) * abs(accuracy - mean)
    assert data["expected_error"] == pytest.approx(error, abs=1e-6)


def test_the_embedding_keeps_the_distances_of_the_principal_components(lenet_run: Run, inputs: torch.Tensor) -> None:
    data = embedding_data(lenet_run)
    points = np.array(data["points"])
    indices = points[:, 2]
    with torch.no_grad():
        features = lenet_run.model.outputs(inputs, ["linear2"])["linear2"][indices].double().numpy()
        predicted = lenet_run.model(inputs).argmax(1).numpy()
    assert np.array_equal(points[:, 3], lenet_run.test.labels.numpy()[indices])
    assert np.array_equal(points[:, 4], predicted[indices])
    assert (data["count"], data["of"], data["features"]) == (len(points), len(inputs), features.shape[1])
    assert points[:, :2].min() == 0
    assert points[:, :2].max() == 1000
    covariance = np.cov(features.T)
    values, vectors = np.linalg.eigh(covariance)
    expected = (features - features.mean(0)) @ vectors[:, -2:]
    assert data["shares"] == pytest.approx((values[::-1][:2] / values.sum()).tolist(), abs=1e-6)
    pairs = np.random.default_rng(0).integers(0, len(points), (200, 2))
    shown, actual = (
        np.linalg.norm(each[pairs[:, 0]] - each[pairs[:, 1]], axis=1) for each in (points[:, :2], expected)
    )
    scale = (shown @ actual) / (actual @ actual)
    np.testing.assert_allclose(shown, scale * actual, atol=2)


def test_points_of_the_embedding_are_spread_evenly_over_the_test_images(
    lenet_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of a folder are sorted by class: the first ones would be those of one class."""
    monkeypatch.setattr(views, "POINTS", 50)
    data = embedding_data(lenet_run)
    total = len(lenet_run.test)
    assert total > 300
    assert (data["count"], data["of"], len(data["points"])) == (50, total, 50)
    indices = [point[2] for point in data["points"]]
    gaps = {after - before for before, after in pairwise([*indices, total])}
    assert indices[0] == 0
    assert gaps == {total // 50, total // 50 + 1}
    labels = lenet_run.test.labels.tolist()
    assert [point[3] for point in data["points"]] == [labels[index] for index in indices]


def test_optimized_images_have_the_logits_that_are_given(lenet_run: Run, tops: Tops, inputs: torch.Tensor) -> None:
    data = maximization_data(lenet_run, tops["logits1"])
    with torch.no_grad():
        logits = lenet_run.model(inputs)
        for label, each in enumerate(data["classes"]):
            shown = tile(data["sprite"], label, [28, 28])
            image = torch.from_numpy(shown[..., 0].copy())[None]
            assert float(lenet_run.model(lenet_run.as_input(image)[None])[0, label]) == pytest.approx(
                each["value"], abs=0.1
            )
            real = each["real"]
            assert real["index"] == int(logits[:, label].argmax())
            assert real["value"] == pytest.approx(float(logits[:, label].max()), abs=1e-4)
            assert real["label"] == int(lenet_run.test.labels[real["index"]])
            pixels = tile(data["sprite"], real["position"], [28, 28])[..., 0]
            assert np.array_equal(pixels, lenet_run.test.images[real["index"], 0].numpy())


def test_effective_receptive_fields_against_autograd(
    lenet_run: Run, inputs: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "EFFECTIVE_IMAGES", 3)
    data = effective_data(lenet_run)
    assert data is not None
    assert [each["layer"] for each in data["layers"]] == ["conv1", "conv2"]
    for each in data["layers"]:
        row, column = each["unit"]

        slopes = []
        for image in inputs[:3]:
            leaf = image[None].clone().requires_grad_()
            output = lenet_run.model.outputs(leaf, [each["layer"]])[each["layer"]]
            (slope,) = torch.autograd.grad(output[0, :, row, column].sum(), leaf)
            slopes.append(slope[0, 0].abs().numpy())
        mean = np.mean(slopes, axis=0)
        expected = np.sqrt(mean / mean.max())
        shown = np.frombuffer(base64.b64decode(each["trained"]["values"]), dtype=np.uint8).reshape(28, 28) / 255
        np.testing.assert_allclose(shown, expected, atol=1 / 250)
        (top, bottom), (left, right) = each["rows"], each["columns"]
        outside = np.ones((28, 28), dtype=bool)
        outside[top : bottom + 1, left : right + 1] = False
        assert not shown[outside].any()
