"""Some of the images held out, every class in proportion."""

import numpy as np
import torch
from torch import Tensor

from cnncli.config.data import DataSpec
from cnncli.errors import DataError


def split_of(labels: Tensor, data: DataSpec, *, seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the images that a run learns from, and of those that it is judged by (none, without validation).

    Args:
        labels: of the training part, int64 (N,).
        data: the section of its config.
        seed: the run's.

    Raises:
        DataError: nothing would be left to train on.
    """
    if not data.validation:
        return torch.arange(len(labels)), torch.arange(0)
    return stratified_split(labels, data.validation, seed=seed)


def stratified_split(
    labels: Tensor, validation: int | float, *, seed: int, field: str = "data.validation"
) -> tuple[Tensor, Tensor]:
    """Positions of the images that are kept for training and of those that are held out for validation.

    Each class gives its share of the images held out, rounded by the method of the largest remainder; a class
    gives its last image only where no other can give one. Which images are held out is drawn from `seed`.

    Args:
        labels: int64 (N,).
        validation: how many images to hold out (int), or which fraction (float; at least one image if not 0).
        seed: the same seed gives the same split.
        field: of the config, for messages.

    Returns:
        int64 positions of training and of validation images, each ascending.

    Raises:
        DataError: nothing would be left to train on.
    """
    count = _held_out(len(labels), validation)
    if count >= len(labels):
        raise DataError(
            f"{field}: {count:,} images to hold out of {len(labels):,} leave none to train on",
            remedy=f"set {field} to less than {len(labels)}, or to a fraction such as 0.1",
        )
    generator = torch.Generator().manual_seed(seed)
    # From here on with NumPy: torch would part each of these small loops among its threads, and wait for all of them.
    shuffled = torch.randperm(len(labels), generator=generator).numpy()
    shuffled_labels = labels.cpu().numpy()[shuffled]
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label, quota in enumerate(_quotas(np.bincount(shuffled_labels).tolist(), count)):
        held_out[shuffled[shuffled_labels == label][:quota]] = True
    return torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(np.flatnonzero(held_out))


def _held_out(total: int, share: int | float) -> int:
    if isinstance(share, int):
        return share
    return max(1, round(share * total)) if share else 0


def _quotas(sizes: list[int], count: int) -> list[int]:
    """How many images each class gives: `count` in all, in proportion to `sizes`."""
    total = sum(sizes)
    quotas = [size * count // total for size in sizes]

    def last_to_give(label: int) -> tuple[bool, int]:
        """Classes that would be left without an image come last, then those that gave nearest their share."""
        return quotas[label] + 1 >= sizes[label], quotas[label] * total - sizes[label] * count

    for _ in range(count - sum(quotas)):
        able = (label for label, size in enumerate(sizes) if quotas[label] < size)
        quotas[min(able, key=last_to_give)] += 1
    return quotas
