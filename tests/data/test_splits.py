"""Stratified splits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnncli.data.splits import stratified_split
from cnncli.errors import DataError

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
