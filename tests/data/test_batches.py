"""ImageBatches: order, normalization, resuming."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from cnncli.data.augment import Augmentation
from cnncli.data.batches import ImageBatches, Normalization, Shard, _transfer, balanced_order
from cnncli.data.images import ImageSet
from cnncli.data.mixing import Mixing


def numbered(count: int, channels: int = 1) -> ImageSet:
    """Images whose label is their position, and the value of all their pixels."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, channels, 4, 6)
    return ImageSet(images=images, labels=torch.arange(count))


def noise(count: int, channels: int = 1) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, 5, 7), dtype=torch.uint8, generator=generator)
    return ImageSet(images=images, labels=torch.arange(count))


def batches(
    image_set: ImageSet,
    *,
    shuffle: bool = True,
    seed: int = 0,
    augment: Augmentation | None = None,
    normalization: Normalization | None = None,
    channels_last: bool = False,
    indices: torch.Tensor | None = None,
    mixing: Mixing | None = None,
    balanced: bool = False,
) -> ImageBatches:
    return ImageBatches(
        image_set,
        batch_size=4,
        normalization=normalization or Normalization.none(image_set.images.shape[1]),
        augment=augment,
        shuffle=shuffle,
        channels_last=channels_last,
        seed=seed,
        indices=indices,
        mixing=mixing,
        balanced=balanced,
    )


def order(loader: ImageBatches, epoch: int, start_step: int = 0) -> list[int]:
    return list(chain.from_iterable(labels.tolist() for _, labels in loader.epoch(epoch, start_step)))


def with_sums(image_set: ImageSet) -> ImageSet:
    """With sums computed in Python integers."""
    sums = [
        [[sum(values), sum(value**2 for value in values)] for values in image]
        for image in image_set.images.flatten(2).tolist()
    ]
    return replace(image_set, sums=torch.tensor(sums))


@pytest.mark.parametrize("at_once", [2**22, 7 * 1000, 1])
def test_mean_and_deviation_equal_torch(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the images are summed all at once, in chunks, or one by one."""
    monkeypatch.setattr("cnncli.data.batches._CHUNK_BYTES", at_once)
    image_set = noise(50, channels=3)
    exact = image_set.images.to(torch.float64) / 255
    found = Normalization.of(image_set)
    assert found.mean == pytest.approx(exact.mean(dim=(0, 2, 3)).tolist(), rel=1e-14)
    assert found.std == pytest.approx(exact.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-14)
    assert Normalization.of(with_sums(image_set)) == found


def test_mean_and_deviation_of_a_part() -> None:
    image_set = noise(50, channels=2)
    part = torch.tensor([3, 40, 7])
    found = Normalization.of(image_set, part)
    assert found == Normalization.of(image_set.subset(part))
    assert found == Normalization.of(with_sums(image_set), part)
    assert found != Normalization.of(image_set)


def test_sums_replace_the_images() -> None:
    """Mapped images are not read."""
    image_set = with_sums(noise(50))
    assert Normalization.of(replace(image_set, images=image_set.images.to("meta"))) == Normalization.of(image_set)


def test_a_constant_channel_divides_by_one() -> None:
    constant = ImageSet(
        images=torch.full((2, 1, 3, 3), 51, dtype=torch.uint8), labels=torch.zeros(2, dtype=torch.int64)
    )
    assert Normalization.of(constant) == Normalization(mean=(0.2,), std=(1.0,))


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalized_images_have_mean_zero_and_deviation_one(channels_last: bool) -> None:
    image_set = noise(20, channels=3)
    loader = batches(image_set, normalization=Normalization.of(image_set), channels_last=channels_last)
    images = torch.cat([images for images, _ in loader.epoch(0)])
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3), correction=0), torch.ones(3))


def test_pixels_by_hand() -> None:
    image_set = ImageSet(images=torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8), labels=torch.tensor([0]))
    loader = batches(image_set, normalization=Normalization(mean=(0.2,), std=(0.4,)))
    ((images, _),) = loader.epoch(0)
    torch.testing.assert_close(images, torch.tensor([[[[-0.5, 0.0, 2.0]]]]))


def test_channels_last_is_the_memory_format() -> None:
    images, _ = next(batches(noise(4, channels=3), channels_last=True).epoch(0))
    assert images.is_contiguous(memory_format=torch.channels_last)
    varied = batches(noise(4, channels=3), channels_last=True, augment=Augmentation(noise=0.1))
    assert next(varied.epoch(0))[0].is_contiguous(memory_format=torch.channels_last)


def test_every_image_once_with_its_own_label() -> None:
    loader = batches(numbered(10))
    assert len(loader) == 3
    assert [len(labels) for _, labels in loader.epoch(0)] == [4, 4, 2]
    assert sorted(order(loader, 0)) == list(range(10))
    for images, labels in loader.epoch(0):
        torch.testing.assert_close(images[:, 0, 0, 0], labels / 255)


def test_order_is_new_every_epoch_and_the_same_for_a_seed() -> None:
    loader, again, other = batches(numbered(40)), batches(numbered(40)), batches(numbered(40), seed=1)
    assert order(loader, 1) == order(again, 1)
    assert order(loader, 1) != order(loader, 2)
    assert order(loader, 1) != order(other, 1)
    assert order(batches(numbered(40), shuffle=False), 1) == list(range(40))


def test_resuming_gives_the_same_batches() -> None:
    varied = Augmentation(shift=1, rotate=10, noise=0.1, erase_probability=0.5, elastic_alpha=1)
    whole = list(batches(noise(18), augment=varied).epoch(3))
    rest = list(batches(noise(18), augment=varied).epoch(3, start_step=2))
    for (images, labels), (images_again, labels_again) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)


def test_each_step_is_augmented_differently() -> None:
    same = ImageSet(images=noise(1).images.repeat(8, 1, 1, 1), labels=torch.arange(8))
    (first, _), (second, _) = batches(same, augment=Augmentation(noise=0.1)).epoch(0)
    assert not torch.equal(first, second)


def test_indices_select_images() -> None:
    chosen = torch.tensor([1, 3, 5, 7, 9])
    assert sorted(order(batches(numbered(10), indices=chosen), 0)) == chosen.tolist()
    assert order(batches(numbered(10), indices=chosen, shuffle=False), 0) == chosen.tolist()
    assert len(batches(numbered(10), indices=chosen)) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_normalized_like_others(channels: int) -> None:
    image_set = noise(12, channels=channels)
    normalization = Normalization.of(image_set)
    plain = batches(image_set, normalization=normalization)
    varied = batches(image_set, normalization=normalization, augment=Augmentation(noise=1e-9))
    for (images, _), (expected, _) in zip(varied.epoch(0), plain.epoch(0), strict=True):
        torch.testing.assert_close(images, expected)


META = torch.device("meta")
"""Stands for a GPU: tensors there have a shape, and cannot be mixed with others."""


def test_batches_for_another_device_leave_the_images_where_they_are() -> None:
    image_set = noise(10, channels=3)
    for shuffle, indices in ((True, None), (False, None), (True, torch.arange(6)), (False, torch.arange(6))):
        loader = ImageBatches(
            image_set,
            batch_size=4,
            normalization=Normalization.of(image_set),
            augment=Augmentation(noise=0.1),
            shuffle=shuffle,
            channels_last=False,
            seed=0,
            indices=indices,
            device=META,
        )
        found = [(images.device, images.dtype, images.shape[1:], labels.device) for images, labels in loader.epoch(1)]
        assert found == [(META, torch.float32, (3, 5, 7), META)] * len(loader)
    assert image_set.images.device.type == "cpu"


def test_pixels_are_transferred_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as floats, which have four times as many bytes."""
    sent: list[torch.dtype] = []
    real = torch.Tensor.to

    def to(tensor: torch.Tensor, *where: Any, **how: Any) -> torch.Tensor:
        if where == (META,):
            sent.append(tensor.dtype)
        return real(tensor, *where, **how)

    image_set = noise(4)
    loader = ImageBatches(
        image_set,
        batch_size=4,
        normalization=Normalization.none(1),
        shuffle=True,
        channels_last=True,
        seed=0,
        device=META,
    )
    monkeypatch.setattr(torch.Tensor, "to", to)
    list(loader.epoch(1))
    assert sent == [torch.uint8, torch.int64]


@pytest.mark.parametrize(("where", "pinned"), [("cuda:0", False), ("cpu", True)])
def test_only_memory_of_the_cpu_is_pinned(where: str, pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images on `cuda:0` with the device `cuda`, which is not equal."""
    tensor = Mock(device=torch.device(where))
    sent = _transfer(tensor, torch.device("cuda"))
    assert tensor.pin_memory.called is pinned
    moved = tensor.pin_memory() if pinned else tensor
    moved.to.assert_called_once_with(torch.device("cuda"), non_blocking=pinned)
    assert sent is moved.to()


@pytest.mark.parametrize(("room", "moved"), [(None, True), (350, True), (349, False)])
def test_images_move_if_there_is_room(room: int | None, moved: bool) -> None:
    image_set = noise(10)  # 10 x 5 x 7 bytes
    placed = image_set.to(META, room=room)
    assert (placed.images.device == placed.labels.device == META) is moved
    assert (placed is image_set) is not moved
    if not moved:
        assert len(placed.subset(torch.tensor([1]))) == 1


# Shards


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shards_cover_a_batch_evenly(count: int, size: int) -> None:
    parts = [list(range(count))[Shard(rank, size).of(count)] for rank in range(size)]
    assert list(chain.from_iterable(parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


EVERYTHING = Augmentation(
    shift=2,
    rotate=20,
    scale=0.2,
    elastic_alpha=1.0,
    erase_probability=0.5,
    noise=0.1,
    flip_vertical=True,
    crop_area=0.5,
    rand_magnitude=10,
    brightness=0.2,
    hue=0.1,
    blur_sigma=1,
    cutout_size=3,
    fill=(1.0, 0.5, 0.0),
)


@pytest.mark.parametrize("augment", [None, EVERYTHING, Augmentation(flip_horizontal=True, erase_probability=0.5)])
@pytest.mark.parametrize("mixing", [None, Mixing(classes=9, mixup_alpha=1.0, cutmix_alpha=1.0)])
@pytest.mark.parametrize("size", [2, 3])
def test_shards_are_parts_of_the_batch(augment: Augmentation | None, mixing: Mixing | None, size: int) -> None:
    """ImageBatches of 4, 4 and 1 images; the last one leaves a shard empty."""
    loader = batches(noise(9, channels=3), augment=augment, mixing=mixing)
    assert [loader.images_in(step) for step in range(3)] == [4, 4, 1]
    shares = [list(loader.epoch(3, shard=Shard(rank, size))) for rank in range(size)]
    for step, (whole, labels) in enumerate(loader.epoch(3)):
        assert torch.equal(torch.cat([share[step][1] for share in shares]), labels)
        torch.testing.assert_close(torch.cat([share[step][0] for share in shares]), whole)


def test_images_are_mixed_with_their_neighbors() -> None:
    """Images of class k have the value k: the mean of a mixed image shows how it was mixed, as does its target."""
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 6, 6) * 50
    image_set = ImageSet(images=images.contiguous(), labels=torch.arange(4))
    loader = batches(image_set, mixing=Mixing(classes=4, mixup_alpha=1.0, cutmix_alpha=1.0))
    seen = []
    for epoch in range(1, 6):
        ((mixed, targets),) = loader.epoch(epoch)
        assert targets.sum(dim=1).tolist() == pytest.approx([1] * 4)
        values = torch.arange(4) * 50 / 255
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), targets @ values)
        labels = order(batches(image_set), epoch)
        for i, target in enumerate(targets):
            assert {*target.nonzero()[:, 0].tolist()} <= {labels[i], labels[i - 1]}
        seen.append(targets)
    assert len({each.amax().item() for each in seen}) == 5


def test_balanced_epochs() -> None:
    """Of 8, 3 and 1 images, 4 of each class: every image of a small class is used, equally often."""
    labels = torch.tensor([0] * 8 + [2] * 3 + [3])
    image_set = ImageSet(images=noise(12).images, labels=labels)
    loader = batches(image_set, balanced=True)
    epochs = []
    for epoch in range(1, 5):
        positions = loader._order(epoch)
        assert positions is not None
        epochs.append(tuple(positions.tolist()))
        counts = Counter(epochs[-1])
        assert Counter(labels[positions].tolist()) == {0: 4, 2: 4, 3: 4}
        assert all(counts[image] <= 1 for image in range(8))
        assert sorted(counts[image] for image in range(8, 11)) == [1, 1, 2]
        assert order(loader, epoch) == labels[positions].tolist()
    assert len(set(epochs)) == 4
    assert {image for epoch in epochs for image in epoch} >= {*range(8, 12)}


def test_the_rest_of_a_balanced_epoch_goes_to_different_classes() -> None:
    labels = torch.tensor([0] * 9 + [1] * 2)
    found = [
        Counter(labels[balanced_order(labels, torch.Generator().manual_seed(seed))].tolist()) for seed in range(20)
    ]
    assert {tuple(sorted(each.values())) for each in found} == {(5, 6)}
    assert len({each[0] for each in found}) == 2
