"""Normalized batches of images that stay as uint8 wherever they are: on the device, in memory, or in a mapped file.

Order and augmentation depend on nothing but seed, epoch and step, so that a resumed run trains on the same batches as
an uninterrupted one.

N: images, C: channels, H, W: height and width, K: classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from cnncli.config.data import NormalizeSpec
from cnncli.data.augment import Transform
from cnncli.data.images import ImageSet
from cnncli.data.mixing import Mixing

_CHUNK_BYTES = 2**22
"""Bytes of pixels summed at once."""
_ORDER, _AUGMENTATION, _MIXING = 0, 1, 2
"""Streams of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """`(pixel - mean) / std` per channel, for pixels from 0 (black) to 1 (white)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, image_set: ImageSet, indices: Tensor | None = None) -> "Normalization":
        """Mean and population standard deviation of the images, or of those at `indices` (M,).

        Computed in exact integers and rounded once. A constant channel gets the standard deviation 1.
        """
        indices = torch.arange(len(image_set)) if indices is None else indices
        sums = _sums(image_set.images, indices) if image_set.sums is None else image_set.sums[indices].sum(dim=0)
        count = len(indices) * image_set.images[0, 0].numel()
        means, stds = [], []
        for total, squares in sums.tolist():  # Python integers, which do not overflow
            means.append(total / (255 * count))
            stds.append(math.sqrt((count * squares - total**2) / (255 * count) ** 2) or 1.0)
        return cls(mean=tuple(means), std=tuple(stds))

    @classmethod
    def as_configured(
        cls, normalize: bool | NormalizeSpec, image_set: ImageSet, indices: Tensor | None = None
    ) -> "Normalization":
        """What `data.normalize` says: none, that of the images at `indices` (M,), or the given numbers."""
        channels = image_set.images.shape[1]
        if isinstance(normalize, bool):
            return cls.of(image_set, indices) if normalize else cls.none(channels)
        mean, std = (each * channels if len(each) == 1 else each for each in (normalize.mean, normalize.std))
        return cls(mean=mean, std=std)

    @classmethod
    def none(cls, channels: int) -> "Normalization":
        """Pixels stay from 0 to 1."""
        return cls(mean=(0.0,) * channels, std=(1.0,) * channels)

    def factor_and_offset(self, white: float) -> tuple[Tensor, Tensor]:
        """Float32 (C, 1, 1) each: pixels from 0 to `white` are normalized as `pixel * factor + offset`."""
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        return 1 / (std * white), -mean / std


def _sums(images: Tensor, indices: Tensor) -> Tensor:
    """Sums of the pixels and of their squares, int64 (C, 2), of the images (N, C, H, W) at `indices` (M,)."""
    indices = indices.to(images.device)
    step = max(1, _CHUNK_BYTES // images[0].nbytes)
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)  # (C, 256)
    # All channels of a chunk before the next chunk, so that mapped images are read once.
    for start in range(0, len(indices), step):
        chunk = images.index_select(0, indices[start : start + step])  # (M, C, H, W)
        for channel, pixels in enumerate(chunk.unbind(dim=1)):
            counts[channel] += torch.bincount(pixels.reshape(-1), minlength=256).cpu()
    levels = torch.arange(256)
    return torch.stack([(counts * levels).sum(dim=1), (counts * levels**2).sum(dim=1)], dim=1)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one of several processes computes.

    Attributes:
        rank: the number of the process, from 0.
        size: the number of processes.
        parts: a batch is computed in so many parts, one after another, and each is divided among the processes.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    def of(self, count: int) -> slice:
        """Its part of `count` images. The parts differ by at most one image, and are empty if there are too few."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def of_batch(self, count: int) -> slice | Tensor:
        """Its positions in a batch of `count` images, in the order of the parts."""
        if self.size == 1 or self.parts == 1:
            return self.of(count)
        positions = [torch.arange(count)[part][self.of(part.stop - part.start)] for part in self.parts_of(count)]
        return torch.cat(positions)

    def parts_of(self, count: int) -> list[slice]:
        """The parts of a batch of `count` images that are not empty."""
        parts = [Shard(number, self.parts).of(count) for number in range(self.parts)]
        return [part for part in parts if part.start < part.stop]


WHOLE = Shard()


class Batches(Protocol):
    """Batches that depend only on the epoch number and the step within the epoch.

    So a resumed run sees the batches of a run that was never interrupted.
    """

    def __len__(self) -> int:
        """Steps per epoch."""
        ...

    def images_in(self, step: int) -> int:
        """Images in the whole batch of a step, from 0."""
        ...

    def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from a step on: images float32 (N, C, H, W), and their targets.

        The targets are the labels, int64 (N,); or the shares of the classes, float32 (N, K), if images are mixed.
        """
        ...


class ImageBatches:
    """The batches of an image set.

    Args:
        image_set: the images.
        batch_size: images per batch; the last batch may have fewer.
        normalization: applied last.
        augment: applied before, such as an `Augmentation`; free if None or the identity.
        mixing: applied to the images of a batch and their labels, if any.
        shuffle: a new order every epoch.
        balanced: an epoch has the same number of images of each class, drawn anew; requires `shuffle`.
        channels_last: the memory format of the batches.
        seed: of order and augmentation.
        indices: of the images to use, int64 (M,); None for all. For images that are many, or mapped from a file, this
            is better than `ImageSet.subset`, which copies them.
        device: where batches are augmented, normalized and returned; None for the device of the images. Images
            on another device are transferred as uint8, a batch at a time.
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        normalization: Normalization,
        augment: Transform | None = None,
        mixing: Mixing | None = None,
        shuffle: bool,
        balanced: bool = False,
        channels_last: bool,
        seed: int,
        indices: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._count = len(image_set) if indices is None else len(indices)
        assert self._count, "an empty image set has no batches"
        assert len(normalization.mean) == image_set.images.shape[1], (normalization, image_set.images.shape)
        self._set = image_set
        self._device = image_set.images.device if device is None else device
        self._indices = None if indices is None else indices.to(image_set.labels.device)
        self._batch_size = batch_size
        self._augment = None if augment is None or augment.is_identity else augment
        self._mixing = None if mixing is None or mixing.is_identity else mixing
        self._shuffle = shuffle
        self._balanced = balanced
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._seed = seed
        # Pixels to normalize are 0..255, or 0..1 after augmentation.
        factor, offset = normalization.factor_and_offset(255.0 if self._augment is None else 1.0)
        self._factor, self._offset = factor.to(self._device), offset.to(self._device)  # (C, 1, 1)

    def __len__(self) -> int:
        """Steps per epoch."""
        return -(-self._count // self._batch_size)

    @property
    def image_set(self) -> ImageSet:
        """All images; `indices` selects some of them."""
        return self._set

    @property
    def labels(self) -> Tensor:
        """The labels of the images that are used, int64 (M,)."""
        return self._set.labels if self._indices is None else self._set.labels[self._indices]

    @property
    def image_count(self) -> int:
        """Images per epoch."""
        return self._count

    def images_in(self, step: int) -> int:
        """Images in the whole batch of a step, from 0."""
        return min(self._batch_size, self._count - step * self._batch_size)

    def epoch(self, number: int, start_step: int = 0, shard: Shard = WHOLE) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch.

        Args:
            number: of the epoch.
            start_step: the first step; earlier batches are skipped.
            shard: which part of each batch to compute. Its images are the same as in the whole batch.

        Yields:
            float32 images (N, C, H, W); and int64 labels (N,) or, with `mixing`, float32 shares of the classes (N, K).
        """
        order = self._order(number)
        for step in range(start_step, len(self)):
            part = shard.of_batch(self.images_in(step))
            if self._mixing is None:
                yield self._batch(order, number, step, part)
            else:
                yield self._mixed_batch(self._mixing, order, number, step, part)

    def _batch(self, order: Tensor | None, epoch: int, step: int, part: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Prepared images and labels: a part of the batch of a step, or those at positions (N,) in it."""
        first = step * self._batch_size
        chosen = slice(first + part.start, first + part.stop) if isinstance(part, slice) else first + part
        if order is not None:
            chosen = order[chosen]
        if isinstance(chosen, slice):
            pixels, labels = self._set.images[chosen], self._set.labels[chosen]
        else:
            pixels, labels = self._set.images.index_select(0, chosen), self._set.labels.index_select(0, chosen)
        return self._prepare(_transfer(pixels, self._device), epoch, step, part), _transfer(labels, self._device)

    def _mixed_batch(
        self, mixing: Mixing, order: Tensor | None, epoch: int, step: int, part: slice | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The images of a part of a batch, each mixed with the image before it in the batch, and their targets."""
        count, (height, width) = self.images_in(step), self._set.images.shape[2:]
        generator = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(_MIXING, epoch, step)))
        mix = mixing.draw(count, height, width, generator)
        positions = torch.arange(count)[part]
        needed, where = np.unique(torch.cat((positions, (positions - 1) % count)).numpy(), return_inverse=True)
        images, labels = self._batch(order, epoch, step, torch.from_numpy(needed))
        own, others = torch.from_numpy(where).to(self._device).tensor_split(2)
        mixed = mix.images(images[own], images[others], positions)
        targets = mix.targets(labels[own], labels[others], positions, mixing.classes)
        return mixed.contiguous(memory_format=self._format), targets

    def _order(self, epoch: int) -> Tensor | None:
        """Indices of the images in the order of an epoch, int64 (M,); None for all images in their own order."""
        if not self._shuffle:
            return self._indices
        generator = _generator(self._seed, _ORDER, epoch)
        if self._balanced:
            order = balanced_order(self.labels.cpu(), generator)
        else:
            order = torch.randperm(self._count, generator=generator)
        order = order.to(self._set.labels.device)
        return order if self._indices is None else self._indices[order]

    def _prepare(self, pixels: Tensor, epoch: int, step: int, part: slice | Tensor) -> Tensor:
        """Augment and normalize uint8 images (N, C, H, W), which are a part of the batch of a step."""
        images = pixels.to(torch.float32)
        if self._augment is not None:
            generator = _generator(self._seed, _AUGMENTATION, epoch, step)
            images = self._augment(images.div_(255), generator, batch=self.images_in(step), part=part)
        # In place, and before the memory format changes: several times faster than afterward.
        return images.mul_(self._factor).add_(self._offset).contiguous(memory_format=self._format)


def balanced_order(labels: Tensor, generator: Generator) -> Tensor:
    """As many images as there are, in random order, with the same number of each class that has any.

    The images of a class are used equally often: some once more than the others, or some once and the others not.

    Args:
        labels: int64 (M,).
        generator: on the CPU.

    Returns:
        int64 (M,), positions in `labels`.
    """
    by_class = [torch.nonzero(labels == k)[:, 0] for k in range(int(labels.max()) + 1)]
    present = [positions for positions in by_class if len(positions)]
    quota, rest = divmod(len(labels), len(present))
    favored = set(torch.randperm(len(present), generator=generator)[:rest].tolist())
    chosen = []
    for k, positions in enumerate(present):
        wanted = quota + (k in favored)
        rounds = -(-wanted // len(positions))
        drawn = [positions[torch.randperm(len(positions), generator=generator)] for _ in range(rounds)]
        chosen.append(torch.cat(drawn)[:wanted])
    order = torch.cat(chosen)
    return order[torch.randperm(len(order), generator=generator)]


def _transfer(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device. A GPU copies from pinned memory while the CPU prepares the next batch."""
    pinned = device.type == "cuda" and tensor.device.type == "cpu"
    return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)


def _generator(seed: int, *stream: int) -> Generator:
    """A CPU generator for one stream of random numbers, independent of all others."""
    state = np.random.SeedSequence(seed, spawn_key=stream).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))
