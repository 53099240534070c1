"""The patches of a page against all outputs, sorted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cnncli.module import CnnModule
from cnncli.report import patches
from cnncli.report.patches import PatchData, patch_data
from cnncli.run import Run
from tests.networks import network_of, randomize, run_of_model

IMAGES = 60


def run_with(layers: str, tmp_path: Path, *, seed: int = 0) -> Run:
    generator = torch.Generator().manual_seed(seed)
    model = randomize(CnnModule(network_of(layers, (2, 9, 8), 3)), generator)
    images = torch.randint(256, (IMAGES, 2, 9, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(3, (IMAGES,), generator=generator)
    return run_of_model(model, images, labels, path=tmp_path)


def units_of(found: PatchData, page_images: list[int]) -> dict[tuple[str, int], list[tuple[int, int, float]]]:
    """Layer and filter -> (number of the test image, index of the unit, value) of each patch."""
    numbers = [*page_images, *found.data["extra"]]
    units, values = found.arrays["patches/units"], found.arrays["patches/values"]
    filters = [(layer["name"], number) for layer in found.data["layers"] for number in range(layer["filters"])]
    return {
        key: [
            (numbers[int(image)], int(at), float(value))
            for (image, at), value in zip(units[row], values[row], strict=True)
            if image >= 0
        ]
        for row, key in enumerate(filters)
    }


def largest(run: Run, layer: str, number: int, images: list[int], count: int) -> list[tuple[int, int, float]]:
    """The same, from the outputs for every image."""
    inputs = torch.stack([run.as_input(run.test.images[image]) for image in images])
    with torch.inference_mode():
        maps = run.model.outputs(inputs, [layer])[layer][:, number].reshape(len(images), -1)  # (images, positions)
    best = [(image, int(row.argmax()), float(row.max())) for image, row in zip(images, maps, strict=True)]
    return sorted(best, key=lambda each: (-each[2], each[0]))[:count]


CONVOLUTIONS = (
    "[{conv: {out_channels: 3, kernel_size: 3}}, tanh, "
    "{conv: {out_channels: 4, kernel_size: 2, stride: 2}}, flatten, logits]"
)


def test_the_nine_largest_of_all_test_images(tmp_path: Path) -> None:
    run = run_with(CONVOLUTIONS, tmp_path)
    page_images = [7, 3, 50]
    found = patch_data(run, page_images)
    assert [each["name"] for each in found.data["layers"]] == ["conv1", "conv2"]
    assert (found.data["images"], found.data["source"]) == (IMAGES, "test")
    assert not set(page_images) & set(found.data["extra"])
    by_filter = units_of(found, page_images)
    assert len(by_filter) == 3 + 4
    for (layer, number), shown in by_filter.items():
        expected = largest(run, layer, number, list(range(IMAGES)), 9)
        assert [each[:2] for each in shown] == [each[:2] for each in expected], (layer, number)
        np.testing.assert_allclose([each[2] for each in shown], [each[2] for each in expected], rtol=1e-5)
    added = found.arrays["patches/images"]
    assert added.dtype == np.uint8
    np.testing.assert_array_equal(added, run.test.images[found.data["extra"]].numpy())
    assert found.data["labels"] == run.test.labels[found.data["extra"]].tolist()


def test_where_not_all_images_fit_the_patches_are_those_of_the_images_in_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(CONVOLUTIONS, tmp_path)
    monkeypatch.setattr(patches, "MOST_BYTES", 12 * 2 * 9 * 8 + 5)
    page_images = [40, 2, 3]
    found = patch_data(run, page_images)
    extra = found.data["extra"]
    assert len(extra) == 12
    assert (found.data["images"], found.data["source"]) == (15, "page")
    embedded = sorted([*page_images, *extra])
    for (layer, number), shown in units_of(found, page_images).items():
        expected = largest(run, layer, number, embedded, 9)
        assert [each[:2] for each in shown] == [each[:2] for each in expected], (layer, number)
        assert shown[0][:2] == largest(run, layer, number, list(range(IMAGES)), 1)[0][:2], "the largest of all is kept"


def test_only_the_first_test_images_are_searched(tmp_path: Path) -> None:
    run = run_with(CONVOLUTIONS, tmp_path)
    found = patch_data(run, [50], searched=20)
    assert (found.data["images"], found.data["source"]) == (20, "first")
    for (layer, number), shown in units_of(found, [50]).items():
        assert [each[:2] for each in shown] == [each[:2] for each in largest(run, layer, number, list(range(20)), 9)]


def test_filters_that_are_constant_have_no_patches(tmp_path: Path) -> None:
    run = run_with("[{conv: {out_channels: 2, kernel_size: 3, activation: relu}}, flatten, logits]", tmp_path)
    state = run.model.state_dict()
    state["conv1.conv.weight"][1] = 0
    state["conv1.conv.bias"][:] = torch.tensor([0.5, -1.0])
    found = patch_data(run, [])
    assert found.data["layers"] == [{"name": "conv1", "filters": 2, "constant": [[1, 0.0]]}]
    by_filter = units_of(found, [])
    assert len(by_filter["conv1", 0]) == 9
    assert by_filter["conv1", 1] == []


def test_without_convolutions_they_are_those_of_the_logits(tmp_path: Path) -> None:
    run = run_with("[flatten, {linear: 5}, logits]", tmp_path)
    found = patch_data(run, list(range(IMAGES)))
    assert [(each["name"], each["filters"]) for each in found.data["layers"]] == [("logits1", 3)]
    assert found.data["extra"] == []
    assert found.arrays["patches/images"].shape == (0, 2, 9, 8)
    for (layer, number), shown in units_of(found, list(range(IMAGES))).items():
        assert [each[:2] for each in shown] == [
            each[:2] for each in largest(run, layer, number, list(range(IMAGES)), 9)
        ]


def test_fewer_images_than_patches(tmp_path: Path) -> None:
    run = run_with(CONVOLUTIONS, tmp_path)
    few = run.test.subset(torch.arange(4))
    small = run_of_model(run.model, few.images, few.labels, path=tmp_path)
    found = patch_data(small, [1])
    assert sorted(found.data["extra"]) == [0, 2, 3]
    for (layer, number), shown in units_of(found, [1]).items():
        assert [each[:2] for each in shown] == [each[:2] for each in largest(small, layer, number, [0, 1, 2, 3], 4)]
