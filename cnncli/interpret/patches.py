"""Which pixels excite a filter most: the images of a set that do, and of each the very pixels that the unit sees.

After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), who show the nine patches
of validation images that excite a map most.

Letters for shapes: N images, C channels, (H, W) image, F filters of a layer, P positions of a map, K kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from cnncli.analysis.receptive_field import Fields
from cnncli.analysis.rows import Inspection
from cnncli.analysis.units import Interval, UnitField, unit_field
from cnncli.model import CnnModule
from cnncli.spec.network import Network

NUMBERS = 1 << 25
"""Outputs that a batch may make, all layers together: 128 MiB of them."""


@dataclass(frozen=True, kw_only=True)
class Excitation:
    """One unit on one image.

    Attributes:
        image: its position in the set.
        place: (row, column) of the unit in its map; empty for a layer without positions.
        value: the layer's output there, after its norm and its activation.
    """

    image: int
    place: tuple[int, ...]
    value: float


@dataclass(frozen=True, kw_only=True)
class Excited:
    """A filter, and what excites it.

    Attributes:
        filter: its number.
        best: the largest values, from the largest down; where several are equal, the first image comes first.
        lowest, highest: of all its values, over all images and positions.
    """

    filter: int
    best: tuple[Excitation, ...]
    lowest: float
    highest: float

    @property
    def constant(self) -> bool:
        """Whether it says the same of every image, at every position: a dead filter, where that is 0."""
        return self.lowest == self.highest


def images_at_once(network: Network, most: int = 1000) -> int:
    """How many images to run together so that their outputs fit in `NUMBERS`."""
    return max(1, min(most, NUMBERS // sum(prod(node.shape) for node in network.nodes)))


def most_exciting(
    model: CnnModule, layers: Sequence[str], batches: Iterable[Tensor], *, count: int, per_image: int = 1
) -> dict[str, tuple[Excited, ...]]:
    """The units of each filter that answer most, over all images; in one pass, which keeps no more than `count` each.

    Args:
        model: in evaluation mode.
        layers: names of its layers.
        batches: images (N, C, H, W) as the network gets them, in order; one or more.
        count: units to keep for each filter; fewer where there are fewer.
        per_image: how many of them may be on one image. With more than 1 they are mostly shifts of one stroke.

    Returns:
        Name of the layer -> its filters, or the numbers of a layer without positions, in order.
    """
    tops = {name: _Top(count, per_image) for name in layers}
    first = 0
    with torch.inference_mode():
        for images in batches:
            for name, maps in model.outputs(images, list(tops)).items():
                tops[name].add(maps, first)
            first += len(images)
    return {name: top.excited() for name, top in tops.items()}


class _Top:
    """The largest values of every filter of a layer, among those that were seen so far."""

    def __init__(self, count: int, per_image: int) -> None:
        self._count, self._per_image = count, per_image
        self._grid: tuple[int, ...] = ()
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None  # values, images, positions: (F, K) each
        self._extent: tuple[Tensor, Tensor] | None = None  # lowest and highest: (F,) each

    def add(self, maps: Tensor, first: int) -> None:
        """See maps (N, F, H', W') or numbers (N, F) of images numbered from `first`."""
        self._grid = tuple(maps.shape[2:])
        flat = maps.reshape(*maps.shape[:2], -1)  # (N, F, P)
        lowest, highest = flat.amin((0, 2)), flat.amax((0, 2))
        values, positions = self._best_of_each(flat)  # (F, N * k)
        images = torch.arange(first, first + len(maps), device=maps.device)
        images = images.repeat_interleave(values.shape[1] // len(maps)).expand_as(values)
        if self._kept is not None and self._extent is not None:
            found = zip(self._kept, (values, images, positions), strict=True)
            values, images, positions = (torch.cat(each, dim=1) for each in found)
            lowest, highest = lowest.minimum(self._extent[0]), highest.maximum(self._extent[1])
        # Stable: what was seen first stays in front of its equals.
        values, order = values.sort(dim=1, descending=True, stable=True)
        order = order[:, : self._count]
        self._kept = values[:, : self._count], images.gather(1, order), positions.gather(1, order)
        self._extent = lowest, highest

    def _best_of_each(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """The largest values of each image, and where: (F, N * k) each, image by image."""
        if self._per_image == 1:
            values, positions = flat.max(dim=2, keepdim=True)  # much faster than a sort
        else:
            values, positions = flat.sort(dim=2, descending=True, stable=True)
            values, positions = values[:, :, : self._per_image], positions[:, :, : self._per_image]
        return values.transpose(0, 1).flatten(1), positions.transpose(0, 1).flatten(1)

    def excited(self) -> tuple[Excited, ...]:
        """What was found, filter by filter."""
        assert self._kept is not None, "a set has images"
        assert self._extent is not None, "a set has images"
        kept = zip(*(each.tolist() for each in (*self._kept, *self._extent)), strict=True)
        return tuple(
            Excited(
                filter=number,
                best=tuple(
                    Excitation(image=image, place=self._place(position), value=value)
                    for value, image, position in zip(values, images, positions, strict=True)
                ),
                lowest=lowest,
                highest=highest,
            )
            for number, (values, images, positions, lowest, highest) in enumerate(kept)
        )

    def _place(self, position: int) -> tuple[int, ...]:
        return divmod(position, self._grid[1]) if self._grid else ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Patch:
    """What one unit sees of an image.

    Attributes:
        field: as the inspector gives it; `field.clipped` are the rows and columns of the image in the patch.
        rows, columns: first and last row and column of the patch, in pixels of the image.
        pixels: (C, h, w), of the image's type, on the CPU, 0 where there is padding.
        padding: bool (h, w), where the unit reads no pixel but padding: that of the image, or that of a layer between.
        unread: bool (h, w), pixels between those that the unit reads (dilation leaves some out).
    """

    field: UnitField
    rows: Interval
    columns: Interval
    pixels: Tensor
    padding: Tensor
    unread: Tensor


def cut(inspection: Inspection, layer: str, place: tuple[int, ...], image: Tensor, *, beyond: int) -> Patch:
    """Cut out what a unit sees: the rectangle of exactly these pixels, within the padding that the closed form counts.

    The closed form counts every padded position of a layer between as if it saw pixels too. Some of these lie inside
    the image, and yet changing them changes nothing; they are padding here.

    Args:
        inspection: of the network.
        layer: name of the unit's layer.
        place: (row, column) of the unit in its map; empty for a layer without positions.
        image: (C, H, W), of the size of the network's input.
        beyond: rows or columns of padding to keep on each side, at most: a field may be many times as large as the
            image.
    """
    fields = inspection.fields[layer]
    assert isinstance(fields, Fields), "every layer of a config is known"
    # A layer that reads everything has as many units as positions, or one that stands for all.
    unit = tuple(at if len(axis.seen) > 1 else 0 for at, axis in zip(place or (0, 0), fields.axes, strict=True))
    field = unit_field(inspection, layer, unit)
    (rows, in_rows), (columns, in_columns) = (_span(field, axis, beyond) for axis in (0, 1))
    (read_rows, read_columns) = (
        _bits(axis.seen[at], span) for axis, at, span in zip(fields.axes, unit, (rows, columns), strict=True)
    )
    inside = in_rows[:, None] & in_columns  # (h, w)
    pixels = image.new_zeros(len(image), *inside.shape, device="cpu")
    if field.clipped is not None:
        (top, bottom), (left, right) = field.clipped
        pixels[:, inside] = image[:, top : bottom + 1, left : right + 1].flatten(1).cpu()
    return Patch(
        field=field,
        rows=rows,
        columns=columns,
        pixels=pixels,
        padding=~inside,
        unread=inside & ~(read_rows[:, None] & read_columns),
    )


def _span(field: UnitField, axis: int, beyond: int) -> tuple[Interval, Tensor]:
    """First and last pixel of the patch along an axis, and which from the first to the last are in the image: bool."""
    if field.clipped is None:  # nothing is seen: one pixel of padding stands for all of it
        return (-1, -1), torch.zeros(1, dtype=torch.bool)
    first, last = field.clipped[axis]
    # Interpolation reads, at its edges, a neighbour with weight 0: seen, but not in the closed form.
    outer = field.clipped[axis] if field.unclipped is None else field.unclipped[axis]
    span = max(min(first, outer[0]), first - beyond), min(max(last, outer[1]), last + beyond)
    pixels = torch.arange(span[0], span[1] + 1)
    return span, (pixels >= first) & (pixels <= last)


def _bits(mask: int, span: Interval) -> Tensor:
    """Which pixels from the first to the last of a span are in a bit mask: bool."""
    return torch.tensor([pixel >= 0 and bool(mask >> pixel & 1) for pixel in range(span[0], span[1] + 1)])
