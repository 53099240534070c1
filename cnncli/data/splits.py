"""Stratified splits: images held out, each class in proportion."""

import numpy as np
import torch
from torch import Tensor

from cnncli.errors import DataError


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
