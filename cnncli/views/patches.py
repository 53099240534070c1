"""The patches of test images that excite each filter of a layer most."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from cnncli.config.network import Network, Node
from cnncli.drawing.color import Color, Pixels
from cnncli.drawing.grid import Picture
from cnncli.drawing.image import Tile, enlargement, image_pixels, thinning
from cnncli.drawing.sheet import Cell, Interval, Panel, Section, card, sheet
from cnncli.errors import UsageError
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import LayerTable
from cnncli.inspection.units import UnitReceptiveField, unit_receptive_field
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views.view import Exhibit, chosen_layers

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
class TopActivations:
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
) -> dict[str, tuple[TopActivations, ...]]:
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

    def excited(self) -> tuple[TopActivations, ...]:
        """What was found, filter by filter."""
        assert self._kept is not None, "a set has images"
        assert self._extent is not None, "a set has images"
        kept = zip(*(each.tolist() for each in (*self._kept, *self._extent)), strict=True)
        return tuple(
            TopActivations(
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

    field: UnitReceptiveField
    rows: Interval
    columns: Interval
    pixels: Tensor
    padding: Tensor
    unread: Tensor


def crop_patch(inspection: LayerTable, layer: str, place: tuple[int, ...], image: Tensor, *, beyond: int) -> Patch:
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
    fields = inspection.receptive_fields[layer]
    assert isinstance(fields, ReceptiveFields), "every layer of a config is known"
    # A layer that reads everything has as many units as positions, or one that stands for all.
    unit = tuple(at if len(axis.masks) > 1 else 0 for at, axis in zip(place or (0, 0), fields.axes, strict=True))
    field = unit_receptive_field(inspection, layer, unit)
    (rows, in_rows), (columns, in_columns) = (_span(field, axis, beyond) for axis in (0, 1))
    (read_rows, read_columns) = (
        _bits(axis.masks[at], span) for axis, at, span in zip(fields.axes, unit, (rows, columns), strict=True)
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


def _span(field: UnitReceptiveField, axis: int, beyond: int) -> tuple[Interval, Tensor]:
    """First and last pixel of the patch along an axis, and which from the first to the last are in the image: bool."""
    if field.clipped is None:  # nothing is seen: one pixel of padding stands for all of it
        return (-1, -1), torch.zeros(1, dtype=torch.bool)
    first, last = field.clipped[axis]
    # Interpolation reads, at its edges, a neighbor with weight 0: seen, but not in the closed form.
    outer = field.clipped[axis] if field.unclipped is None else field.unclipped[axis]
    span = max(min(first, outer[0]), first - beyond), min(max(last, outer[1]), last + beyond)
    pixels = torch.arange(span[0], span[1] + 1)
    return span, (pixels >= first) & (pixels <= last)


def _bits(mask: int, span: Interval) -> Tensor:
    """Which pixels from the first to the last of a span are in a bit mask: bool."""
    return torch.tensor([pixel >= 0 and bool(mask >> pixel & 1) for pixel in range(span[0], span[1] + 1)])


PADDING: tuple[Color, Color] = ((190, 160, 235), (140, 105, 205))
"""The two violets of the checks that stand for padding; neither is on a scale."""
TILE = 84
"""Pixels for the longer side of a patch, and of its source: nine stand side by side."""
IN_CARD = 28
"""Pixels for the longer side of a patch in a TensorBoard card: nine stand side by side."""
LARGEST = 96
"""Patches and sources of more pixels a side are thinned out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cutting:
    """A patch and where it comes from.

    Attributes:
        pixels: (C, h, w), uint8.
        padding: bool (h, w), where there is no pixel.
        unread: bool (h, w), pixels that the unit does not read.
        source: the image, (C, H, W), uint8.
        marked: first and last row and column of the image that are in the patch; None where nothing of it is.
        lines: what is written below.
    """

    pixels: Tensor
    padding: Tensor
    unread: Tensor
    source: Tensor
    marked: tuple[Interval, Interval] | None
    lines: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether the patch is the image, all of it and nothing else."""
        return self.padding.shape == self.source.shape[1:] and not self.padding.any()


@dataclass(frozen=True, eq=False, kw_only=True)
class Strip:
    """The patches of one filter, or a line that says why there are none."""

    heading: str
    lines: Sequence[str] = ()
    cuttings: Sequence[Cutting] = ()


def patch_pixels(cutting: Cutting) -> Pixels:
    """A patch with checks for padding, and a violet tint on pixels that are not read: uint8 (h, w, 3)."""
    pixels = image_pixels(cutting.pixels)
    unread, padding = cutting.unread.numpy(), cutting.padding.numpy()
    pixels[unread] = (pixels[unread].astype(np.uint16) + np.array(PADDING[0])) // 2
    rows, columns = np.indices(padding.shape)
    checks = np.array(PADDING, dtype=np.uint8)[(rows + columns) % 2]
    pixels[padding] = checks[padding]
    return pixels


def patches_picture(strips: Sequence[Strip], *, title: str, captions: Sequence[str]) -> Picture:
    """A section for each filter; below each patch its source with the patch framed, unless the patch is all of it.

    Returns:
        A picture with a box for each (strip, patch, 0), and for its source (strip, patch, 1) where that is shown.
    """
    every = [cutting for strip in strips for cutting in strip.cuttings]
    with_source = not all(cutting.whole for cutting in every)
    sizes = [side for cutting in every for side in cutting.padding.shape] or [1]
    step = thinning(sizes, LARGEST)
    scale = enlargement([-(-side // step) for side in sizes], TILE)

    def cell(cutting: Cutting) -> Cell:
        panels = [Panel(pixels=patch_pixels(cutting)[::step, ::step], scale=scale)]
        return Cell(panels=[*panels, source_panel(cutting)] if with_source else panels, below=cutting.lines)

    sections = [
        Section(heading=strip.heading, lines=strip.lines, cells=[cell(each) for each in strip.cuttings])
        for strip in strips
    ]
    return sheet(sections, title=title, captions=captions)


def patches_card(strips: Sequence[Strip], *, title: str) -> Pixels:
    """The patches of as many filters as a TensorBoard card has room for, without their sources: uint8 (H, W, 3)."""
    sizes = [side for strip in strips for cutting in strip.cuttings for side in cutting.padding.shape] or [1]
    step = thinning(sizes, IN_CARD)
    scale = enlargement([-(-side // step) for side in sizes], IN_CARD)

    def cell(cutting: Cutting) -> Cell:
        return Cell(panels=[Panel(pixels=patch_pixels(cutting)[::step, ::step], scale=scale)])

    def first(count: int) -> list[Section]:
        return [Section(heading=each.heading, cells=[cell(one) for one in each.cuttings]) for each in strips[:count]]

    return card(first, len(strips), title=title)


def source_panel(cutting: Cutting, room: int = TILE) -> Panel:
    """The image that a patch was cut from, with a frame around the patch."""
    size = cutting.source.shape[1:]
    step = thinning(size, LARGEST)
    marked = None
    if cutting.marked is not None:
        (top, bottom), (left, right) = cutting.marked
        marked = (top // step, bottom // step), (left // step, right // step)
    return Panel(
        pixels=image_pixels(cutting.source)[::step, ::step],
        scale=enlargement([-(-side // step) for side in size], room),
        marked=marked,
    )


COUNT = 9
"""Patches of a filter, unless asked otherwise: as many as Zeiler and Fergus show."""
MOST_FILTERS = 16
"""In one picture, unless they are named."""
BEYOND = 6
"""Rows or columns of padding that are drawn on each side, at most."""


def patches(
    run: Run,
    *,
    layers: Sequence[str] = (),
    filters: Sequence[int] = (),
    count: int = COUNT,
    per_image: int = 1,
) -> Iterator[Exhibit]:
    """A picture for each convolution, or for each of `layers`, whatever their kind.

    Args:
        run: whose filters they are.
        layers: names; without any, all convolutions, or the last layer where there are none.
        filters: numbers; without any, the first `MOST_FILTERS`.
        count: patches for each filter.
        per_image: how many of them may come from one image.

    Raises:
        UsageError: a layer has no such name, or no such filter.
    """
    nodes = layers_with_filters(run, layers)
    chosen = {node.name: filters_of(node, filters, MOST_FILTERS) for node in nodes}
    batches = run.batches(batch_size=images_at_once(run.network))
    found = most_exciting(
        run.model, list(chosen), (images for images, _ in batches.epoch(1)), count=count, per_image=per_image
    )
    for node in nodes:
        yield _exhibit(run, node, [found[node.name][i] for i in chosen[node.name]], found[node.name])


def layers_with_filters(run: Run, names: Sequence[str]) -> tuple[Node, ...]:
    """The layers called `names`; without names the convolutions, or the last layer where there are none.

    Raises:
        UsageError: there is no layer of such a name.
    """
    if not names and any(node.layer.has_kernels for node in run.network.nodes):
        return chosen_layers(run, (), lambda layer: layer.has_kernels, "has filters")
    return chosen_layers(run, names or (run.network.nodes[-1].name,), lambda _: True, "has filters")


def filters_of(node: Node, numbers: Sequence[int], most: int) -> list[int]:
    """The filters of a layer that are shown: those asked for, else the first `most`; the classes of logits all.

    Raises:
        UsageError: the layer has no such filter.
    """
    there = node.shape[0]
    for number in numbers:
        if number >= there:
            raise UsageError(f"--filter {number}: {node.name} has filters 0 to {there - 1}")
    return list(numbers) or list(range(min(there, most)))


def filter_name(run: Run, node: Node, number: int) -> str:
    """What a filter is called: `filter 3`, of logits `class 3`, else of a layer without positions `number 3`."""
    if node.layer.gives_logits:
        name = run.classes[number]
        return f"class {name}" if name == str(number) else f"class {number}, {name}"
    return f"filter {number}" if len(node.shape) == 3 else f"number {number}"


def _exhibit(run: Run, node: Node, shown: Sequence[TopActivations], every: Sequence[TopActivations]) -> Exhibit:
    strips, tiles = [], []
    for excited in shown:
        name = filter_name(run, node, excited.filter)
        cuttings = [] if excited.constant else [cutting(run, node, each) for each in excited.best]
        strips.append(Strip(heading=_heading(name, excited), lines=_remarks(run, excited), cuttings=cuttings))
        tiles += [patch_tile(each, f"{name}: {', '.join(each.lines)}") for each in cuttings]
    dead = sum(excited.lowest == excited.highest == 0 for excited in every)
    counts = _counts(node, dead, len(shown))
    field = _field(run, node, [each for strip in strips for each in strip.cuttings])
    title = f"{node.name}: what excites its {'classes' if node.layer.gives_logits else 'filters'} most"
    legend = "Below each: its image, the class and the activation, the number of the test image"
    legend += " at the row and column of the unit." if len(node.shape) == 3 else "."
    return Exhibit(
        tag=f"patches/{run.network.numbered()[node.name]}",
        title=title,
        pixels=patches_picture(strips, title=title, captions=[*field, legend, *counts]).pixels,
        card=patches_card(strips, title=title),
        tiles=tiles,
        numbers={"dead_filters": dead},
        lines=[" ".join([*field, *counts])],
    )


def cutting(run: Run, node: Node, excitation: Excitation) -> Cutting:
    """What a unit sees of a test image, ready to be drawn."""
    source = run.test.images[excitation.image].cpu()
    patch = crop_patch(run.table, node.name, excitation.place, source, beyond=BEYOND)
    label = run.classes[int(run.test.labels[excitation.image])]
    place = f" at {','.join(map(str, excitation.place))}" if excitation.place else ""
    lines = [f"{label}, {excitation.value:.4g}", f"#{excitation.image}{place}"]
    return Cutting(
        pixels=patch.pixels,
        padding=patch.padding,
        unread=patch.unread,
        source=source,
        marked=None if patch.field.clipped is None else (patch.field.clipped[0], patch.field.clipped[1]),
        lines=lines,
    )


def patch_tile(cutting: Cutting, label: str) -> Tile:
    """A patch for a terminal; padding is NaN among the values."""
    tile = Tile.image(cutting.pixels, label=label)
    return replace(tile, pixels=patch_pixels(cutting), values=np.where(cutting.padding.numpy(), np.nan, tile.values))


def _heading(name: str, excited: TopActivations) -> str:
    if excited.constant:
        value = "0" if excited.highest == 0 else f"always {excited.highest:.4g}"
        return f"{name}: {value} everywhere, on every test image" + (": dead" if excited.highest == 0 else "")
    return f"{name}: from {excited.lowest:.4g} to {excited.highest:.4g}"


def _remarks(run: Run, excited: TopActivations) -> list[str]:
    values = [each.value for each in excited.best]
    if not excited.constant and len(values) > 1 and values[0] == values[-1]:
        return [f"the first {len(values)} of the images that give its largest value"]
    return []


def _counts(node: Node, dead: int, shown: int) -> list[str]:
    """How many filters are dead, and how many are left out."""
    counts = [f"{dead} of {node.shape[0]} filters are dead: always 0."] if dead else []
    return counts + left_out(node, shown)


def left_out(node: Node, shown: int) -> list[str]:
    """The sentence that says how to see the other filters, if there are any."""
    return [f"{shown} of {node.shape[0]} filters; --filter shows others."] if shown < node.shape[0] else []


def _field(run: Run, node: Node, cuttings: Sequence[Cutting]) -> list[str]:
    """How large the fields are, and what violet means where there is any."""
    field = run.row(node).receptive_field
    assert field is not None, "every layer of a config is known"
    size = "x".join(map(str, field.size))
    captions = [f"Cut at the receptive field, {size} pixels{': the whole image' if field.is_global else ''}."]
    if any(cutting.padding.any() for cutting in cuttings):
        drawn = {side for cutting in cuttings for side in cutting.padding.shape}
        cropped = max(field.size) > max(drawn)
        captions.append("Violet checks: padding" + (f", {BEYOND} of it on each side at most." if cropped else "."))
    if any(cutting.unread.any() for cutting in cuttings):
        captions.append("Tinted violet: pixels that the unit does not read.")
    return captions
