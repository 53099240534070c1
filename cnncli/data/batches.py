"""Normalised batches, sliced from images that stay where they are as uint8.

Order and variation depend on nothing but seed, epoch and step: a resumed run sees the batches that an
uninterrupted one would have seen.
N: images, C: channels, H, W: height and width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from cnncli.data.augment import Augmentation
from cnncli.data.images import ImageSet

_COUNTED_AT_ONCE = 2**22
"""Bytes of pixels."""
_ORDER, _VARIATION = 0, 1
"""Streams of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """`(pixel - mean) / std`, per channel, for pixels from 0 (black) to 1 (white)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor, indices: Tensor | None = None) -> "Normalization":
        """Mean and standard deviation (of the population) of uint8 images (N, C, H, W), or of those at `indices` (M,).

        Counted exactly, level by level. A channel that is the same everywhere gets the standard deviation 1.
        """
        indices = torch.arange(len(images)) if indices is None else indices
        indices = indices.to(images.device)
        channels = images.shape[1]
        counts = torch.zeros(channels, 256, dtype=torch.float64)
        for some in torch.split(indices, max(1, _COUNTED_AT_ONCE // images[0].numel())):
            chunk = images.index_select(0, some)
            for channel in range(channels):
                counts[channel] += torch.bincount(chunk[:, channel].reshape(-1), minlength=256).cpu()
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        for each in counts:
            mean = (each * levels).sum() / each.sum()
            variance = (each * (levels - mean) ** 2).sum() / each.sum()
            means.append(mean.item())
            stds.append(variance.sqrt().item() or 1.0)
        return cls(mean=tuple(means), std=tuple(stds))

    @classmethod
    def none(cls, channels: int) -> "Normalization":
        """Pixels stay from 0 to 1."""
        return cls(mean=(0.0,) * channels, std=(1.0,) * channels)


class Batches:
    """The batches of one image set.

    Args:
        image_set: the images; batches are made on their device.
        batch_size: images per batch; the last may have fewer.
        normalization: applied last.
        augment: applied before; None, or one with everything off, costs nothing.
        shuffle: a new order every epoch.
        channels_last: the memory format of the batches.
        seed: of the order and the variation.
        indices: positions of the images to take, int64 (M,); all where it is None. A part of a set that is
            too large to be copied, or mapped from a file, is better taken so than by `ImageSet.subset`.
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        normalization: Normalization,
        augment: Augmentation | None = None,
        shuffle: bool,
        channels_last: bool,
        seed: int,
        indices: Tensor | None = None,
    ) -> None:
        self._count = len(image_set) if indices is None else len(indices)
        assert self._count, "an empty image set has no batches"
        assert len(normalization.mean) == image_set.images.shape[1], (normalization, image_set.images.shape)
        self._set = image_set
        self._indices = None if indices is None else indices.to(image_set.labels.device)
        self._batch_size = batch_size
        self._augment = None if augment is None or augment.is_identity else augment
        self._shuffle = shuffle
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._seed = seed
        # Pixels are at hand as 0..255, or as 0..1 where they were varied first.
        white = 255.0 if self._augment is None else 1.0
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (normalization.mean, normalization.std))
        self._factor = (1 / (std * white)).to(image_set.images.device)  # (1, C, 1, 1)
        self._offset = (-mean / std).to(image_set.images.device)  # (1, C, 1, 1)

    def __len__(self) -> int:
        """Steps per epoch."""
        return -(-self._count // self._batch_size)

    @property
    def image_count(self) -> int:
        """Images per epoch."""
        return self._count

    def epoch(self, number: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch.

        Args:
            number: of the epoch.
            start_step: batches before this one are left out.

        Yields:
            float32 images (N, C, H, W) and int64 labels (N,).
        """
        order = self._order(number)
        for step in range(start_step, len(self)):
            chosen = slice(step * self._batch_size, (step + 1) * self._batch_size)
            if order is None:
                pixels, labels = self._set.images[chosen], self._set.labels[chosen]
            else:
                pixels = self._set.images.index_select(0, order[chosen])
                labels = self._set.labels.index_select(0, order[chosen])
            yield self._prepared(pixels, number, step), labels

    def _order(self, epoch: int) -> Tensor | None:
        """Positions of the images as they come, int64 (M,); None for all as they stand."""
        if not self._shuffle:
            return self._indices
        order = torch.randperm(self._count, generator=_generator(self._seed, _ORDER, epoch))
        order = order.to(self._set.labels.device)
        return order if self._indices is None else self._indices[order]

    def _prepared(self, pixels: Tensor, epoch: int, step: int) -> Tensor:
        """Varied and normalised images of uint8 ones, (N, C, H, W)."""
        images = pixels.to(torch.float32)
        if self._augment is not None:
            images = self._augment(images.div_(255), _generator(self._seed, _VARIATION, epoch, step))
        # In place, and on (N, C, H, W) as the pixels are: several times faster than in another layout.
        return images.mul_(self._factor).add_(self._offset).contiguous(memory_format=self._format)


def _generator(seed: int, *stream: int) -> Generator:
    """A generator of the CPU for one stream of random numbers, independent of all others."""
    state = np.random.SeedSequence(seed, spawn_key=stream).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))
