"""Images with labels, data sets, conversions of size and color, and stratified splits.

N: images, C: channels, H, W: height and width.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.errors import DataError, shorten

_log = logging.getLogger(__name__)

_CHUNK = 2**22
"""Pixels converted at once, which bounds the memory for floating-point copies."""

PixelRange: TypeAlias = tuple[float, float]
"""The values that become black (0) and white (255), of pixels that are not stored in 8 bits."""

_LABEL_NOISE = (3,)
"""Stream of random numbers, besides those of `cnncli.data.batches`."""

# ITU-R 601-2 luma in units of 1/65536, rounded so that the weights add up to one.
_RED, _GREEN, _BLUE = 19595, 38470, 7471


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images and their labels.

    Attributes:
        images: uint8 (N, C, H, W); 0 is black.
        labels: int64 (N,), indices into the data set's `classes`.
        sums: int64 (N, C, 2), on the CPU: sum of the pixels and of their squares per channel, if known.
        paths: of an image folder: the file of each image, relative to the folder, with `/`; else None.
    """

    images: Tensor
    labels: Tensor
    sums: Tensor | None = None
    paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.dtype == torch.int64, self.labels.dtype
        assert self.labels.shape == self.images.shape[:1], (self.labels.shape, self.images.shape)
        assert self.paths is None or len(self.paths) == len(self.labels), len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "ImageSet":
        """A copy of the images at `indices`, int64 (M,), in that order."""
        indices = indices.to(self.labels.device)
        paths = None if self.paths is None else tuple(self.paths[index] for index in indices.tolist())
        images, labels = self.images.index_select(0, indices), self.labels.index_select(0, indices)
        return ImageSet(images=images, labels=labels, paths=paths)

    def first_of_each_class(self, most: int) -> list[int]:
        """Indices of the first image of each class, for the first `most` classes that have any."""
        _, firsts = np.unique(self.labels.cpu().numpy(), return_index=True)
        indices: list[int] = firsts[:most].tolist()
        return indices

    def to(self, device: torch.device | str, *, room: int | None = None) -> "ImageSet":
        """The images on a device.

        Args:
            device: where to move them.
            room: bytes available there; larger image sets are not moved. None for no limit.
        """
        if room is not None and self.images.nbytes > room:
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set.

    Attributes:
        name: as in the config, with the split if there are several.
        classes: the names of the classes, in the order of the labels.
        train: images for training and validation.
        test: images for testing.
        files: checksum (`md5:...` or `sha256:...`) of each file, or of all images of a folder.
        validation: how many of the last images of `train` the data set itself has for validation.
        range: with which pixels of more than 8 bits were scaled; None if there are none.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    files: dict[str, str]
    validation: int = 0
    range: PixelRange | None = None

    def with_classes(self, classes: tuple[str, ...]) -> "Dataset":
        """The images of some of the classes, whose labels follow the order of `classes`."""
        positions = torch.full((len(self.classes),), -1)
        positions[[self.classes.index(name) for name in classes]] = torch.arange(len(classes))

        def of(part: ImageSet) -> ImageSet:
            labels = positions[part.labels]
            chosen = (labels >= 0).nonzero().flatten()
            return replace(part.subset(chosen), labels=labels[chosen])

        assert not self.validation, "known data sets have no validation images of their own"
        return replace(self, classes=classes, train=of(self.train), test=of(self.test))

    def hold_out(self, held_out: int | float, *, seed: int) -> tuple[Tensor, Tensor]:
        """Indices of the images of `train` to train on, and of those for validation.

        The latter are those that the data set has for validation, else a sample; see `stratified_split`.
        """
        if self.validation:
            indices = torch.arange(len(self.train))
            return indices[: -self.validation], indices[-self.validation :]
        return stratified_split(self.train.labels, held_out, seed=seed)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images, bilinear and antialiased.

    Args:
        images: uint8 (N, C, H, W).
        size: (height, width).

    Returns:
        uint8 (N, C, height, width); `images` itself if it has that size.
    """
    count, channels, *old = images.shape
    if tuple(old) == size:
        return images
    result = images.new_empty(count, channels, *size)
    step = max(1, _CHUNK // (channels * max(old[0] * old[1], size[0] * size[1])))
    for start in range(0, count, step):
        chunk = images[start : start + step].to(torch.float32)
        scaled = functional.interpolate(chunk, size=size, mode="bilinear", antialias=True, align_corners=False)
        result[start : start + step] = scaled.round_().clamp_(0, 255)
    return result


def convert_channels(images: Tensor, channels: int) -> Tensor:
    """Convert between gray and RGB; gray is the luma of ITU-R 601-2.

    Args:
        images: uint8 (N, 1 | 3, H, W).
        channels: 1 or 3.

    Returns:
        uint8 (N, channels, H, W): a view if nothing has to be computed.
    """
    assert {images.shape[1], channels} <= {1, 3}, (images.shape, channels)
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    result = images.new_empty(len(images), 1, *images.shape[2:])
    step = max(1, _CHUNK // (images.shape[2] * images.shape[3]))
    for start in range(0, len(images), step):
        red, green, blue = images[start : start + step].to(torch.int32).unbind(dim=1)  # (N, H, W) each
        luma = (_RED * red + _GREEN * green + _BLUE * blue + 2**15) >> 16
        result[start : start + step, 0] = luma.to(torch.uint8)
    return result


def stratified_split(
    labels: Tensor, held_out: int | float, *, seed: int, field: str = "data.validation"
) -> tuple[Tensor, Tensor]:
    """Indices of the images to keep and of those to hold out, chosen at random.

    Each class contributes in proportion to its size, rounded by the largest remainder method. A class contributes its
    last image only if every other class has done so.

    Args:
        labels: int64 (N,).
        held_out: the number of images (int), or the fraction (float; at least one image unless 0).
        seed: the same seed gives the same split.
        field: the field of the config, for messages.

    Returns:
        Two int64 tensors, each ascending; the second one is empty for `held_out=0`.

    Raises:
        DataError: no image would be left.
    """
    count = held_out if isinstance(held_out, int) else max(1, round(held_out * len(labels))) if held_out else 0
    if count >= len(labels):
        raise DataError(
            f"{field}: holding out {count:,} of {len(labels):,} images leaves none for training",
            remedy=f"set {field} to less than {len(labels)}, or to a fraction such as 0.1",
        )
    generator = torch.Generator().manual_seed(seed)
    # NumPy from here on: torch would split these small loops among its threads and wait for all of them.
    shuffled = torch.randperm(len(labels), generator=generator).numpy()
    shuffled_labels = labels.cpu().numpy()[shuffled]
    is_held_out = np.zeros(len(labels), dtype=np.bool_)
    for label, quota in enumerate(_quotas(np.bincount(shuffled_labels).tolist(), count)):
        is_held_out[shuffled[shuffled_labels == label][:quota]] = True
    return torch.from_numpy(np.flatnonzero(~is_held_out)), torch.from_numpy(np.flatnonzero(is_held_out))


_TEST_FRACTION = 0.2
_TEST_SEED = 0
"""Constant, so that the test images do not depend on the seed of the training."""


def hold_out_test(
    labels: Tensor, held_out: int | float | None, classes: Sequence[str], *, name: str
) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those to test on, of a data set without test images; says so.

    Args:
        labels: int64 (N,).
        held_out: a number or a fraction; None for a fifth.
        classes: the names of the classes.
        name: of the data set, for messages.

    Raises:
        DataError: see `stratified_split`.
    """
    share = _TEST_FRACTION if held_out is None else held_out
    kept, tested = stratified_split(labels, share, seed=_TEST_SEED, field="data.test")
    _log.info(f"{name}: no test images of its own; {len(tested):,} images are held out for testing")
    if absent := classes_without(labels[tested], labels, classes):
        _log.warning(f"{name}: no test images of {shorten(absent)}: too few images to hold one out")
    return kept, tested


def limit_per_class(dataset: Dataset, most: int) -> Dataset:
    """The data set with at most so many training images of each class.

    Test images, and validation images of its own, stay. The training images are chosen at random, the same every time;
    those of a smaller limit are among those of a larger one.
    """
    count = len(dataset.train) - dataset.validation
    labels = dataset.train.labels[:count].cpu().numpy()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_TEST_SEED)).numpy()
    kept = np.concatenate([order[labels[order] == label][:most] for label in range(len(dataset.classes))])
    indices = np.concatenate([np.sort(kept), np.arange(count, len(dataset.train))])
    if len(indices) < len(dataset.train):
        _log.info(f"data.limit: {len(kept):,} of {count:,} training images are used")
    return replace(dataset, train=dataset.train.subset(torch.from_numpy(indices)))


def classes_without(labels: Tensor, among: Tensor, classes: Sequence[str]) -> list[str]:
    """The names of the classes that are among the labels `among`, int64 (N,), but not among `labels`, int64 (M,)."""
    present = set(labels.tolist())
    return [classes[label] for label in sorted(set(among.tolist()) - present)]


def noisy_labels(labels: Tensor, indices: Tensor, share: float, classes: int, *, seed: int) -> Tensor:
    """Labels of which some are wrong, each of the other classes with the same probability.

    Args:
        labels: int64 (N,).
        indices: int64 (M,), of the images of which some get a wrong label.
        share: how many of them, a fraction.
        classes: number of classes.
        seed: the same seed gives the same labels.

    Returns:
        int64 (N,); `labels` itself for a share of 0.
    """
    count = round(share * len(indices))
    if not count:
        return labels
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_LABEL_NOISE))
    chosen = indices[torch.from_numpy(generator.permutation(len(indices))[:count])].to(labels.device)
    offsets = torch.from_numpy(generator.integers(1, classes, count)).to(labels.device)
    return labels.index_copy(0, chosen, (labels[chosen] + offsets) % classes)


def _quotas(sizes: list[int], count: int) -> list[int]:
    """How many of `count` images each class contributes, in proportion to its size."""
    total = sum(sizes)
    quotas = [size * count // total for size in sizes]

    def priority(label: int) -> tuple[bool, int]:
        """Classes that would keep no image come last; among the others, the largest remainder comes first."""
        return quotas[label] + 1 >= sizes[label], quotas[label] * total - sizes[label] * count

    for _ in range(count - sum(quotas)):
        candidates = (label for label, size in enumerate(sizes) if quotas[label] < size)
        quotas[min(candidates, key=priority)] += 1
    return quotas
