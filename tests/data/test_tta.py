"""Test-time augmentation: which variants there are, and what they do to pixels."""

import numpy as np
import pytest
import torch

from cnncli.config.augment import AugmentSpec
from cnncli.data.tta import Variant, shifted, variants

IMAGE = torch.arange(1, 7).view(1, 1, 2, 3)  # [[1, 2, 3], [4, 5, 6]]


def applied(variant: Variant) -> list[list[int]]:
    rows: list[list[int]] = variant(IMAGE, torch.Generator())[0, 0].tolist()
    return rows


def test_variants_of_an_image() -> None:
    assert applied(Variant()) == [[1, 2, 3], [4, 5, 6]]
    assert applied(Variant(flip_horizontal=True)) == [[3, 2, 1], [6, 5, 4]]
    assert applied(Variant(flip_vertical=True)) == [[4, 5, 6], [1, 2, 3]]
    assert applied(Variant(right=1)) == [[0, 1, 2], [0, 4, 5]]
    assert applied(Variant(down=-1)) == [[4, 5, 6], [0, 0, 0]]
    assert applied(Variant(flip_horizontal=True, right=-2)) == [[1, 0, 0], [4, 0, 0]], "first flipped, then shifted"


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 1), (-2, 3), (4, -5), (-9, 0), (0, 20)])
def test_a_shift_by_whole_pixels(right: int, down: int) -> None:
    """NumPy rolls the image; what has come around is 0."""
    images = np.random.default_rng(0).integers(1, 255, (2, 3, 6, 5))
    expected = np.roll(images, (down, right), axis=(2, 3))
    rows, columns = np.arange(6) - down, np.arange(5) - right
    expected[:, :, (rows < 0) | (rows >= 6)] = 0
    expected[:, :, :, (columns < 0) | (columns >= 5)] = 0
    assert np.array_equal(shifted(torch.from_numpy(images), right=right, down=down).numpy(), expected)


@pytest.mark.parametrize(
    ("fields", "count", "pixels"),
    [
        ({}, 1, set()),
        ({"rotate": 10, "noise": 0.1}, 1, set()),
        ({"flip": "horizontal"}, 2, set()),
        ({"flip": "both"}, 4, set()),
        ({"shift": 0.5}, 5, {1}),
        ({"shift": 4}, 5, {2}),
        ({"shift": 2, "flip": "vertical"}, 10, {1}),
    ],
)
def test_only_what_the_training_used(fields: dict[str, object], count: int, pixels: set[int]) -> None:
    found = variants(AugmentSpec.model_validate(fields))
    assert found[0].is_identity
    assert len(set(found)) == len(found) == count
    assert {abs(each.right) + abs(each.down) for each in found} - {0} == pixels
    flips = {(each.flip_horizontal, each.flip_vertical) for each in found}
    horizontal, vertical = (fields.get("flip") in (name, "both") for name in ("horizontal", "vertical"))
    assert flips == {(a, b) for a in {False, horizontal} for b in {False, vertical}}


def test_a_variant_in_words() -> None:
    assert str(Variant()) == "unchanged"
    assert str(Variant(flip_horizontal=True, down=-2)) == "flipped left to right, shifted up by 2"
