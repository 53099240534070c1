"""Image sets and their stratified splits, and resizing and color conversion against Pillow."""

from time import process_time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnncli.data.images import ImageSet, convert_channels, resize, stratified_split
from cnncli.errors import DataError


def labeled(labels: torch.Tensor) -> ImageSet:
    return ImageSet(images=torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels=labels)


def test_the_first_image_of_each_class_that_has_one() -> None:
    images = labeled(torch.tensor([5, 2, 5, 0, 2, 7]))
    assert images.first_of_each_class(10) == [3, 1, 0, 5]
    assert images.first_of_each_class(2) == [3, 1]
    assert images.first_of_each_class(0) == []


def test_many_classes_are_as_fast_as_few() -> None:
    """One pass over the labels per class would take more than ten seconds."""
    count = 20_000
    images = labeled(torch.arange(count).flip(0))
    started = process_time()
    assert images.first_of_each_class(count) == list(reversed(range(count)))
    assert process_time() - started < 1


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(5, 9), (28, 28), (16, 7)])
def test_resize_equals_pillow(size: tuple[int, int]) -> None:
    images = noise(3, 1, 12, 16)
    for image, ours in zip(images, resize(images, size), strict=True):
        height, width = size
        theirs = Image.fromarray(image[0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        # Pillow computes in fixed point and rounds after each axis.
        np.testing.assert_allclose(ours[0].numpy().astype(int), np.asarray(theirs).astype(int), atol=1)


def test_chunks_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(7, 3, 6, 6)
    whole = resize(images, (4, 4)), convert_channels(images, 1)
    monkeypatch.setattr("cnncli.data.images._CHUNK", 300)
    assert torch.equal(resize(images, (4, 4)), whole[0])
    assert torch.equal(convert_channels(images, 1), whole[1])


def test_no_copy_without_need() -> None:
    images = noise(2, 1, 4, 4)
    assert resize(images, (4, 4)) is images
    assert convert_channels(images, 1) is images
    assert convert_channels(images, 3).data_ptr() == images.data_ptr()


def test_gray_equals_pillow() -> None:
    images = noise(2, 3, 5, 5)
    theirs = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L") for image in images]
    np.testing.assert_array_equal(
        convert_channels(images, 1)[:, 0].numpy(), np.stack([np.asarray(each) for each in theirs])
    )


def test_gray_to_color_repeats() -> None:
    images = noise(2, 1, 3, 3)
    color = convert_channels(images, 3)
    assert color.shape == (2, 3, 3, 3)
    assert all(torch.equal(color[:, channel], images[:, 0]) for channel in range(3))


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=6)


def labels_of(sizes: list[int]) -> torch.Tensor:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


def test_quotas_by_hand() -> None:
    """A tenth of 50, 30 and 25 images is 10 of 105: 4.76, 2.86 and 2.38 images, so 5, 3 and 2."""
    labels = labels_of([50, 30, 25])
    train, validation = stratified_split(labels, 10, seed=0)
    assert labels[validation].bincount().tolist() == [5, 3, 2]
    assert labels[train].bincount().tolist() == [45, 27, 23]


@given(sizes=SIZES, data=st.data(), seed=st.integers(0, 5))
def test_splits_are_proportional_partitions(sizes: list[int], data: st.DataObject, seed: int) -> None:
    labels = labels_of(sizes)
    count = data.draw(st.integers(0, len(labels) - 1))
    train, validation = stratified_split(labels, count, seed=seed)
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    assert len(validation) == count
    share = count / len(labels)
    if all(size * share + 1 < size for size in sizes):  # no class comes near its last image
        taken = labels[validation].bincount(minlength=len(sizes)).tolist()
        assert all(abs(each - size * share) < 1 for each, size in zip(taken, sizes, strict=True))


def test_a_class_keeps_its_last_image_while_others_have_more() -> None:
    labels = labels_of([1, 1, 1, 10])
    train, _ = stratified_split(labels, 6, seed=0)
    assert labels[train].bincount(minlength=4).min() >= 1


def test_a_fraction_is_at_least_one_image() -> None:
    labels = labels_of([10, 10])
    assert len(stratified_split(labels, 0.25, seed=0)[1]) == 5
    assert len(stratified_split(labels, 0.001, seed=0)[1]) == 1
    assert len(stratified_split(labels, 0.0, seed=0)[1]) == 0
    assert len(stratified_split(labels, 0, seed=0)[1]) == 0


def test_the_seed_determines_the_split() -> None:
    labels = labels_of([100, 100])
    first, again, other = (stratified_split(labels, 0.1, seed=seed)[1] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [20, 5000])
def test_holding_out_everything_is_an_error(count: int) -> None:
    with pytest.raises(DataError, match=rf"data.validation: holding out {count:,} of 20 images leaves none") as caught:
        stratified_split(labels_of([10, 10]), count, seed=0)
    assert caught.value.remedy == "set data.validation to less than 20, or to a fraction such as 0.1"


def test_a_subset_keeps_the_files_of_its_images() -> None:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    named = ImageSet(images=images, labels=torch.arange(3), paths=("a.png", "b.png", "c.png"))
    subset = named.subset(torch.tensor([2, 0]))
    assert (subset.labels.tolist(), subset.paths) == ([2, 0], ("c.png", "a.png"))
    assert ImageSet(images=images, labels=torch.arange(3)).subset(torch.tensor([1])).paths is None
