"""Duplicates, planted into random images, and compared with all pairs by numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cnncli.audit import duplicates
from cnncli.audit.duplicates import SIMILARITY, find_duplicates
from cnncli.data.images import ImageSet


def image_set(images: Tensor) -> ImageSet:
    return ImageSet(images=images, labels=torch.zeros(len(images), dtype=torch.int64))


def smooth(count: int, *, channels: int = 1, size: int = 16, seed: int = 0) -> Tensor:
    """Random images with large structures, uint8 (count, C, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    large = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (large * 255).to(torch.uint8)


def test_identical_images_across_parts() -> None:
    images = smooth(40)
    train, test = images[:30], torch.cat([images[30:], images[[3, 7, 3]]])
    found = find_duplicates([image_set(train), image_set(test)])
    assert [(group.images, group.identical, group.similarity) for group in found] == [
        ((3, 40, 42), True, 1.0),
        ((7, 41), True, 1.0),
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_of_brightness_contrast_and_noise_are_near_duplicates(channels: int) -> None:
    images = smooth(20, channels=channels, size=40)
    noise = torch.randint(-4, 5, images.shape, generator=torch.Generator().manual_seed(1))
    darker = images[:1].float() * 0.7 + 10
    noisy = (images[1:2].int() + noise[1:2]).clamp(0, 255)
    turned = images[2:3].rot90(dims=(2, 3))
    changed = torch.cat([darker.to(torch.uint8), noisy.to(torch.uint8), turned])
    found = find_duplicates([image_set(images), image_set(changed)])
    assert [group.images for group in found] == [(0, 20), (1, 21)]
    assert all(not group.identical and SIMILARITY <= group.similarity < 1 for group in found)


def test_all_pairs_above_the_threshold_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_AT_ONCE", 7)
    images = smooth(60, seed=3)
    flat = images.flatten(1).double().numpy()
    correlation = np.corrcoef(flat)
    np.fill_diagonal(correlation, 0)
    threshold = float(np.sort(correlation[np.triu_indices(60, 1)])[-12])  # the twelve most similar pairs
    linked = [set(pair) for pair in np.argwhere(np.triu(correlation >= threshold - 1e-6)).tolist()]
    expected: list[set[int]] = []
    for pair in linked:  # connected groups
        touching = [group for group in expected if group & pair]
        expected = [group for group in expected if group not in touching] + [pair.union(*touching)]
    found = find_duplicates([image_set(images)], similarity=threshold - 1e-6)
    assert sorted(map(sorted, expected)) == sorted(list(group.images) for group in found)
    for group in found:
        links = [correlation[one, other] for one in group.images for other in group.images if one != other]
        assert group.similarity == pytest.approx(min(x for x in links if x >= threshold - 1e-6), abs=1e-5)


def test_pairs_close_to_the_threshold_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images mixed with a little of others, and with fine noise that the principal components do not see."""
    monkeypatch.setattr(duplicates, "_AT_ONCE", 5)
    images, others = smooth(80, seed=6), smooth(80, seed=7)
    share = torch.linspace(0.02, 0.3, 80).view(-1, 1, 1, 1)
    mixed = ((1 - share) * images + share * others).to(torch.uint8)
    noise = torch.randint(-40, 41, images.shape, generator=torch.Generator().manual_seed(8))
    noisy = (images + share * noise).round().clamp(0, 255).to(torch.uint8)
    correlations = np.corrcoef(torch.cat([images, mixed, noisy]).flatten(1).double().numpy())
    pairs = np.argwhere(np.triu(correlations >= SIMILARITY, 1))
    alone = correlations < SIMILARITY
    found = find_duplicates([image_set(images), image_set(mixed), image_set(noisy)])
    members = {index for group in found for index in group.images}
    assert members == set(pairs.flatten().tolist())
    assert 40 < len(members) < 220
    for group in found:
        for index in group.images:
            assert not alone[index, [other for other in group.images if other != index]].all()


def test_a_copy_of_a_near_duplicate_is_in_the_same_group() -> None:
    images = smooth(10)
    brighter = (images[4:5].float() * 0.8 + 30).to(torch.uint8)
    found = find_duplicates([image_set(torch.cat([images, brighter, images[4:5]]))])
    assert [(group.images, group.identical) for group in found] == [((4, 10, 11), False)]


def test_images_of_one_color_are_duplicates_only_if_they_are_identical() -> None:
    black, gray = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.full((1, 1, 8, 8), 90, dtype=torch.uint8)
    images = smooth(5, size=8)
    brighter = (images[3:4].float() * 0.8 + 30).to(torch.uint8)
    found = find_duplicates([image_set(torch.cat([images, black, gray, brighter]))])
    assert [(group.images, group.identical) for group in found] == [((5, 6), True), ((3, 8), False)]


def test_other_images_are_not_duplicates() -> None:
    assert find_duplicates([image_set(smooth(200, seed=5))]) == []
