"""The units of filters with the largest outputs over all test images, and the patches of images that units see.

Letters for shapes: N images, F filters, (C, H, W) image, (h, w) patch, P positions of a map, K units kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from cnncli.drawing.text import Name, joined
from cnncli.errors import UsageError
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.units import Interval, UnitReceptiveField, unit_receptive_field
from cnncli.views.view import select_layers

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.network import Network, Node
    from cnncli.inspection.table import LayerTable
    from cnncli.module import CnnModule
    from cnncli.run import Run

MOST_OUTPUTS = 1 << 25
"""Maximum number of values that all layers together output for a batch: 128 MiB."""


def layers_with_filters(run: Run, names: Sequence[str]) -> tuple[Node, ...]:
    """The layers with the given names; by default, the convolutions, or the last layer if there are none.

    Raises:
        UsageError: there is no layer of such a name.
    """
    if not names:
        convolutions = tuple(node for node in run.network.nodes if node.layer.has_kernels)
        return convolutions or run.network.nodes[-1:]
    return select_layers(run, names, lambda node: True, "filters")


def select_filters(node: Node, numbers: Sequence[int], most: int) -> list[int]:
    """The filters of a layer that are shown: the requested ones; by default, the first `most`.

    Raises:
        UsageError: the layer has no such filter.
    """
    count = node.shape[0]
    for number in numbers:
        if number >= count:
            raise UsageError(f"--filter {number}: {node.name} has filters 0 to {count - 1}")
    return list(numbers) or list(range(min(count, most)))


def filter_name(run: Run, node: Node, number: int) -> str:
    """`filter 3`, of logits `class 3`, of another layer without positions `number 3`."""
    return joined(filter_words(run, node, number))


def filter_words(run: Run, node: Node, number: int) -> Sequence[str]:
    """The same as parts of a line, in which the name of a class may be shortened."""
    if node.layer.gives_logits:
        name = run.classes[number]
        return [f"class {name}"] if name == str(number) else [f"class {number}, ", Name(name)]
    return [f"filter {number}" if len(node.shape) == 3 else f"number {number}"]


def left_out(node: Node, shown: int) -> list[str]:
    """The sentence that says how to see the other filters, if there are any."""
    return [f"{shown} of {node.shape[0]} filters; --filter shows others."] if shown < node.shape[0] else []


@dataclass(frozen=True, kw_only=True)
class UnitActivation:
    """One unit on one image.

    Attributes:
        image: number of the image.
        position: (row, column) of the unit in its map; empty for a layer without positions.
        value: the layer's output there, after its norm and its activation.
    """

    image: int
    position: tuple[int, ...]
    value: float


@dataclass(frozen=True, kw_only=True)
class TopActivations:
    """The units of a filter with the largest outputs.

    Attributes:
        filter: its number.
        best: the largest first; where several are equal, the first image comes first.
        lowest, highest: of all its outputs, over all images and positions.
    """

    filter: int
    best: tuple[UnitActivation, ...]
    lowest: float
    highest: float

    @property
    def is_constant(self) -> bool:
        """Whether the output is the same for every image at every position; where that is 0, the filter is dead."""
        return self.lowest == self.highest


def images_at_once(network: Network, most: int = 1000) -> int:
    """The size of a batch whose outputs of all layers are at most `MOST_OUTPUTS` numbers."""
    return max(1, min(most, MOST_OUTPUTS // sum(prod(node.shape) for node in network.nodes)))


def top_activations(
    model: CnnModule, layers: Sequence[str], batches: Iterable[Tensor], *, count: int, per_image: int = 1
) -> dict[str, tuple[TopActivations, ...]]:
    """The units of each filter with the largest outputs over all images, in one pass that keeps `count` for each.

    Args:
        model: in evaluation mode.
        layers: names of its layers.
        batches: images (N, C, H, W) as the network gets them, in order; one or more.
        count: units to keep for each filter, at most.
        per_image: how many of them may be on one image. With more than 1 they are mostly shifts of one stroke.

    Returns:
        Name of the layer -> its filters, or the numbers of a layer without positions, in order.
    """
    import torch

    tops = {name: _Top(count, per_image) for name in layers}
    first = 0
    with torch.inference_mode():
        for images in batches:
            for name, maps in model.outputs(images, list(tops)).items():
                tops[name].add(maps, first)
            first += len(images)
    return {name: top.filters() for name, top in tops.items()}


class _Top:
    """The largest outputs so far of every filter of a layer."""

    def __init__(self, count: int, per_image: int) -> None:
        self._count, self._per_image = count, per_image
        self._map_size: tuple[int, ...] = ()
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None  # values, images, positions: (F, K) each
        self._range: tuple[Tensor, Tensor] | None = None  # lowest and highest: (F,) each

    def add(self, maps: Tensor, first: int) -> None:
        """Add maps (N, F, H', W') or numbers (N, F) of images numbered from `first`."""
        import torch

        self._map_size = tuple(maps.shape[2:])
        flat = maps.reshape(*maps.shape[:2], -1)  # (N, F, P)
        lowest, highest = flat.amin((0, 2)), flat.amax((0, 2))
        if self._per_image == 1:
            values, positions = flat.max(dim=2, keepdim=True)  # much faster than a sort
        else:
            values, positions = (
                each[:, :, : self._per_image] for each in flat.sort(dim=2, descending=True, stable=True)
            )
        per_image = values.shape[2]
        values, positions = (each.transpose(0, 1).flatten(1) for each in (values, positions))  # (F, N * per_image)
        images = torch.arange(first, first + len(maps), device=maps.device)
        images = images.repeat_interleave(per_image).expand_as(values)
        if self._kept is not None and self._range is not None:
            both = zip(self._kept, (values, images, positions), strict=True)
            values, images, positions = (torch.cat(each, dim=1) for each in both)
            lowest, highest = lowest.minimum(self._range[0]), highest.maximum(self._range[1])
        values, order = values.sort(dim=1, descending=True, stable=True)  # the first of equal values stays in front
        order = order[:, : self._count]
        self._kept = values[:, : self._count], images.gather(1, order), positions.gather(1, order)
        self._range = lowest, highest

    def filters(self) -> tuple[TopActivations, ...]:
        """The units kept, filter by filter."""
        assert self._kept is not None, "there are images"
        assert self._range is not None, "there are images"
        kept = zip(*(each.tolist() for each in (*self._kept, *self._range)), strict=True)
        return tuple(
            TopActivations(
                filter=number,
                best=tuple(
                    UnitActivation(image=image, position=self._position(position), value=value)
                    for value, image, position in zip(values, images, positions, strict=True)
                ),
                lowest=lowest,
                highest=highest,
            )
            for number, (values, images, positions, lowest, highest) in enumerate(kept)
        )

    def _position(self, index: int) -> tuple[int, ...]:
        return divmod(index, self._map_size[1]) if self._map_size else ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Patch:
    """The part of an image that one unit sees.

    Attributes:
        receptive_field: of the unit; `receptive_field.clipped` are the rows and columns of the image in the patch.
        rows, columns: first and last row and column of the patch, in pixels of the image.
        pixels: (C, h, w), of the image's dtype, on the CPU, 0 where there is padding.
        padding: bool (h, w), where the unit reads no pixel but padding: that of the image, or that of a layer between.
        unread: bool (h, w), pixels between those that the unit reads (dilation skips some).
    """

    receptive_field: UnitReceptiveField
    rows: Interval
    columns: Interval
    pixels: Tensor
    padding: Tensor
    unread: Tensor


def crop_patch(table: LayerTable, layer: str, position: tuple[int, ...], image: Tensor, *, most_padding: int) -> Patch:
    """Crop what a unit sees: the rectangle of exactly these pixels, within the padding that the closed form counts.

    The closed form counts every padded position of a layer between as if it saw pixels too. Some of these lie inside
    the image, and yet changing them changes nothing; they are padding here.

    Args:
        table: of the network.
        layer: name of the unit's layer.
        position: (row, column) of the unit in its map; empty for a layer without positions.
        image: (C, H, W), of the size of the network's input.
        most_padding: rows or columns of padding to keep on each side, at most: a receptive field may be many times as
            large as the image.
    """
    fields = table.receptive_fields[layer]
    assert isinstance(fields, ReceptiveFields), "every layer of a config is known"
    # A layer that reads everything has as many units as positions, or one that stands for all.
    unit = tuple(at if len(axis.masks) > 1 else 0 for at, axis in zip(position or (0, 0), fields.axes, strict=True))
    receptive_field = unit_receptive_field(table, layer, unit)
    (rows, in_rows), (columns, in_columns) = (_span(receptive_field, axis, most_padding) for axis in (0, 1))
    (read_rows, read_columns) = (
        _bits(axis.masks[at], span) for axis, at, span in zip(fields.axes, unit, (rows, columns), strict=True)
    )
    inside = in_rows[:, None] & in_columns  # (h, w)
    pixels = image.new_zeros(len(image), *inside.shape, device="cpu")
    if receptive_field.clipped is not None:
        (top, bottom), (left, right) = receptive_field.clipped
        pixels[:, inside] = image[:, top : bottom + 1, left : right + 1].flatten(1).cpu()
    return Patch(
        receptive_field=receptive_field,
        rows=rows,
        columns=columns,
        pixels=pixels,
        padding=~inside,
        unread=inside & ~(read_rows[:, None] & read_columns),
    )


def _span(receptive_field: UnitReceptiveField, axis: int, most_padding: int) -> tuple[Interval, Tensor]:
    """First and last pixel of a patch along an axis, and which of those between are in the image: bool."""
    import torch

    if receptive_field.clipped is None:  # nothing is seen: one pixel of padding stands for all of it
        return (-1, -1), torch.zeros(1, dtype=torch.bool)
    first, last = receptive_field.clipped[axis]
    # Interpolation may read a neighbor with the weight of a rounding error: seen, but not in the closed form.
    outer = (receptive_field.unclipped or receptive_field.clipped)[axis]
    span = max(min(first, outer[0]), first - most_padding), min(max(last, outer[1]), last + most_padding)
    pixels = torch.arange(span[0], span[1] + 1)
    return span, (pixels >= first) & (pixels <= last)


def _bits(mask: int, span: Interval) -> Tensor:
    """Which pixels from the first to the last of a span are in a bit mask: bool."""
    import torch

    return torch.tensor([pixel >= 0 and bool(mask >> pixel & 1) for pixel in range(span[0], span[1] + 1)])
