"""Images that are in a data set twice: identical ones, and ones that look the same.

N: images, C: channels, H, W: height and width, D: numbers in a thumbnail, P: principal components.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnncli.data.images import ImageSet, resize

SIMILARITY = 0.995
"""The correlation between the thumbnails of two images from which they count as near-duplicates."""

_THUMBNAIL = 1024
"""Numbers in a thumbnail, at most: 32x32 in gray, 18x18 in color."""
_COMPONENTS = 48
_SAMPLE = 4096
"""Images from which the principal components are computed."""
_AT_ONCE = 1024
"""Images compared with all others at once, and converted at once."""
_ROUNDING = 1e-5
"""More than the error of a squared distance of unit vectors in float32."""


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Images that are the same, or look the same.

    Attributes:
        images: indices of the images, ascending.
        similarity: the lowest correlation of the pairs that link the images; 1 if they are identical.
        identical: whether all pixels are equal.
    """

    images: tuple[int, ...]
    similarity: float
    identical: bool


def find_duplicates(parts: Sequence[ImageSet], *, similarity: float = SIMILARITY) -> list[DuplicateGroup]:
    """Groups of identical images and of near-duplicates.

    Two images are near-duplicates if the correlation of their thumbnails, over all pixels and channels, is at least
    `similarity`. So a change of brightness or contrast, a little noise, another resolution or lossy compression makes
    no difference, but a shift by a pixel often does. Images of one color are compared for identity only. Groups are
    connected: two images of a group may be linked by others.

    Args:
        parts: sets of images of one shape; their indices continue from one to the next.
        similarity: see `SIMILARITY`.

    Returns:
        The groups, those of identical images first. An image is in at most one of them.
    """
    copies: dict[bytes, list[int]] = {}
    for index, image in enumerate(image for part in parts for image in part.images):
        copies.setdefault(hashlib.sha256(image.cpu().numpy().tobytes()).digest(), []).append(index)
    firsts = np.array([group[0] for group in copies.values()])  # ascending
    groups = _Groups(len(firsts))
    for one, other, correlation in _similar_pairs(_thumbnails(parts)[firsts], similarity):
        groups.link(one, other, correlation)
    same = list(copies.values())
    near = groups.groups()
    linked = {member for members, _ in near for member in members}
    identical = [
        DuplicateGroup(images=tuple(each), similarity=1.0, identical=True)
        for number, each in enumerate(same)
        if len(each) > 1 and number not in linked
    ]
    alike = [
        DuplicateGroup(
            images=tuple(sorted(index for member in members for index in same[member])),
            similarity=lowest,
            identical=False,
        )
        for members, lowest in near
    ]
    return [*identical, *alike]


def _thumbnails(parts: Sequence[ImageSet]) -> Tensor:
    """All images, reduced to at most `_THUMBNAIL` numbers, uint8 (N, D)."""
    channels, height, width = parts[0].images.shape[1:]
    factor = min(1.0, math.sqrt(_THUMBNAIL / (channels * height * width)))
    size = (max(1, int(height * factor)), max(1, int(width * factor)))
    return torch.cat(
        [resize(chunk, size).flatten(1) for part in parts for chunk in torch.split(part.images.cpu(), _AT_ONCE)]
    )


def _standardize(thumbnails: Tensor) -> Tensor:
    """Thumbnails (M, D) as float32 vectors of mean 0 and length 1; 0 for an image of one color."""
    centered = thumbnails.to(torch.float32)
    centered -= centered.mean(dim=1, keepdim=True)
    lengths = centered.norm(dim=1, keepdim=True)
    return centered / torch.where(lengths > 0, lengths, 1.0)


def _similar_pairs(thumbnails: Tensor, similarity: float) -> Iterator[tuple[int, int, float]]:
    """All pairs of thumbnails (N, D) with at least this correlation.

    Principal components, an orthogonal projection, never lengthen the distance of two vectors, so comparing them first
    misses no pair. The first component is sorted, and each image is compared only with those in reach.
    """
    reach = 2 * (1 - similarity) + _ROUNDING  # the squared distance of unit vectors is 2 - 2 * correlation
    sample = _standardize(thumbnails[:: max(1, len(thumbnails) // _SAMPLE)])
    _, axes = torch.linalg.eigh(sample.T @ sample)  # ascending
    axes = axes[:, -_COMPONENTS:].flip(1)  # (D, P)
    parts = [_standardize(chunk) for chunk in torch.split(thumbnails, _AT_ONCE)]
    projected = torch.cat([part @ axes for part in parts])  # (N, P)
    del parts
    order = torch.argsort(projected[:, 0])
    projected = projected[order]
    squares = projected.square().sum(dim=1)
    first = projected[:, 0].contiguous()
    ends = torch.searchsorted(first, first + math.sqrt(reach), right=True)
    for start in range(0, len(order), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(order))
        end = int(ends[stop - 1])
        distances = squares[start:stop, None] + squares[start:end] - 2 * projected[start:stop] @ projected[start:end].T
        rows, columns = (distances <= reach).nonzero(as_tuple=True)
        later = columns > rows
        ones, others = order[start:end][rows[later]], order[start:end][columns[later]]
        for few, many in zip(torch.split(ones, _AT_ONCE), torch.split(others, _AT_ONCE), strict=True):
            correlations = (_standardize(thumbnails[few]) * _standardize(thumbnails[many])).sum(dim=1)
            for i in (correlations >= similarity).nonzero()[:, 0].tolist():
                yield int(few[i]), int(many[i]), min(1.0, float(correlations[i]))


class _Groups:
    """Connected groups of linked numbers from 0 to `count` - 1."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._lowest = [1.0] * count
        """Of the links of a group, at its root."""

    def _root(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member

    def link(self, one: int, other: int, strength: float) -> None:
        """Put two members into one group."""
        first, second = sorted((self._root(one), self._root(other)))
        self._lowest[first] = min(self._lowest[first], self._lowest[second], strength)
        self._parent[second] = first

    def groups(self) -> list[tuple[list[int], float]]:
        """The groups of two or more members, by their first member, and the weakest link of each."""
        found: dict[int, list[int]] = {}
        for member in range(len(self._parent)):
            found.setdefault(self._root(member), []).append(member)
        return [(members, self._lowest[root]) for root, members in found.items() if len(members) > 1]
