"""The patches of test images that activate each filter of a layer most.

After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014).

Letters for shapes: (C, H, W) image, (h, w) patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cnncli.drawing.image import Tile, image_pixels, thinning
from cnncli.drawing.sheet import Cell, Panel, Section, draw_card, draw_sections, fit_panels
from cnncli.drawing.text import Name, Words, joined
from cnncli.layers import format_size
from cnncli.views.units import (
    Patch,
    TopActivations,
    UnitActivation,
    crop_patch,
    filter_words,
    images_at_once,
    layers_with_filters,
    left_out,
    select_filters,
    top_activations,
)
from cnncli.views.view import Filters, Layers, Picture, View

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.network import Node
    from cnncli.drawing.color import Color, Pixels
    from cnncli.drawing.sheet import Drawing
    from cnncli.run import Run

MOST_FILTERS = 16
"""Number of filters in a picture, unless they are selected."""
MOST_PADDING = 6
"""Maximum number of rows or columns of padding drawn on each side."""
PADDING: tuple[Color, Color] = ((190, 160, 235), (140, 105, 205))
"""The two violets of the checks that stand for padding; neither is on a color scale."""
TILE, CARD_TILE = 84, 28
"""Pixels for the longer side of a patch, and of its source, in a file and in a card: nine stand side by side."""
LARGEST = 96
"""Larger patches and sources are subsampled to this many pixels per side."""


@dataclass(frozen=True, kw_only=True)
class Patches(View):
    """The patches of test images that activate each filter most, cropped to the receptive field of the unit.

    Examples:

      cnncli show patches runs/lenet5-20260131-120000

      cnncli show patches runs/lenet5-20260131-120000 --layer conv2 --filter 3 --terminal

      cnncli show patches runs/lenet5-20260131-120000 --layer logits1
    """

    name = "patches"

    layers: Layers = ()
    filters: Filters = ()
    count: Annotated[int, typer.Option("--count", min=1, max=100, metavar="K", help="Patches for each filter.")] = 9
    per_image: Annotated[
        int, typer.Option("--per-image", min=1, metavar="K", help="Maximum number of patches from one image.")
    ] = 1

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture of each of `layers`; by default, of each convolution, or of the last layer if there is none."""
        nodes = layers_with_filters(run, self.layers)
        chosen = {node.name: select_filters(node, self.filters, MOST_FILTERS) for node in nodes}
        images = (images for images, _ in run.batches(batch_size=images_at_once(run.network)).epoch(1))
        tops = top_activations(run.model, list(chosen), images, count=self.count, per_image=self.per_image)
        for node in nodes:
            yield _picture(run, node, [tops[node.name][i] for i in chosen[node.name]], tops[node.name])


@dataclass(frozen=True, eq=False, kw_only=True)
class CroppedImage:
    """A patch with uint8 pixels, the image (C, H, W) that it was cropped from, and the lines below both."""

    patch: Patch
    image: Tensor
    lines: Sequence[Words] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the patch is exactly the whole image."""
        return self.patch.padding.shape == self.image.shape[1:] and not self.patch.padding.any()


@dataclass(frozen=True, eq=False, kw_only=True)
class FilterPatches:
    """The patches of one filter, or lines that say why there are none."""

    heading: Words
    lines: Sequence[str] = ()
    patches: Sequence[CroppedImage] = ()


def patch_pixels(patch: Patch) -> Pixels:
    """A patch with checks for padding, and a violet tint on pixels that are not read: uint8 (h, w, 3)."""
    pixels = image_pixels(patch.pixels)
    unread, padding = patch.unread.numpy(), patch.padding.numpy()
    pixels[unread] = (pixels[unread].astype(np.uint16) + np.array(PADDING[0])) // 2
    rows, columns = np.indices(padding.shape)
    checks = np.array(PADDING, dtype=np.uint8)[(rows + columns) % 2]
    pixels[padding] = checks[padding]
    return pixels


def patch_tile(patch: Patch, label: str) -> Tile:
    """A patch for a terminal; padding is NaN among the values."""
    tile = Tile.image(patch.pixels, label=label)
    return replace(tile, pixels=patch_pixels(patch), values=np.where(patch.padding.numpy(), np.nan, tile.values))


def draw_patches(filters: Sequence[FilterPatches], *, title: str, captions: Sequence[str]) -> Drawing:
    """A section for each filter; below each patch its image with the patch framed, unless the patch is all of it.

    Returns:
        A drawing with a box for each (filter, patch, 0), and for its image (filter, patch, 1) where that is shown.
    """
    every = [cropped for each in filters for cropped in each.patches]
    panels = iter(fit_panels([patch_pixels(cropped.patch) for cropped in every], side=TILE, most=LARGEST))
    with_image = not all(cropped.is_whole for cropped in every)
    sections = [
        Section(
            heading=each.heading,
            lines=each.lines,
            cells=[
                Cell(panels=[next(panels), *[_image_panel(cropped)] * with_image], below=cropped.lines)
                for cropped in each.patches
            ],
        )
        for each in filters
    ]
    return draw_sections(sections, title=title, captions=captions)


def _image_panel(cropped: CroppedImage) -> Panel:
    """The image that a patch was cropped from, with a frame around the patch."""
    (panel,) = fit_panels([image_pixels(cropped.image)], side=TILE, most=LARGEST)
    clipped = cropped.patch.receptive_field.clipped
    if clipped is None:
        return panel
    step = thinning(cropped.image.shape[1:], LARGEST)
    (top, bottom), (left, right) = clipped
    return replace(panel, marked=((top // step, bottom // step), (left // step, right // step)))


def _card(filters: Sequence[FilterPatches], *, title: str) -> Pixels:
    """The patches of as many filters as a TensorBoard card has room for, without their images: uint8 (H, W, 3)."""
    every = [patch_pixels(cropped.patch) for each in filters for cropped in each.patches]
    panels = iter(fit_panels(every, side=CARD_TILE))
    sections = [
        Section(heading=each.heading, cells=[Cell(panels=[next(panels)]) for _ in each.patches]) for each in filters
    ]
    return draw_card(lambda count: sections[:count], len(sections), title=title)


def _picture(run: Run, node: Node, shown: Sequence[TopActivations], every: Sequence[TopActivations]) -> Picture:
    filters, tiles = [], []
    for top in shown:
        name = filter_words(run, node, top.filter)
        patches = [] if top.is_constant else [crop_test_image(run, node, each) for each in top.best]
        filters.append(FilterPatches(heading=_heading(name, top), lines=_remarks(top), patches=patches))
        tiles += [patch_tile(each.patch, f"{joined(name)}: {', '.join(map(joined, each.lines))}") for each in patches]
    dead = sum(top.lowest == top.highest == 0 for top in every)
    counts = [f"{dead} of {len(every)} filters are dead: always 0."] if dead else []
    counts += left_out(node, len(shown))
    cropped = _crop_captions(run, node, [each.patch for filter_ in filters for each in filter_.patches])
    title = f"{node.name}: what activates its {'classes' if node.layer.gives_logits else 'filters'} most"
    legend = "Below each: its image, the class and the activation, the number of the test image"
    legend += " at the row and column of the unit." if len(node.shape) == 3 else "."
    return Picture(
        tag=f"patches/{run.network.numbered()[node.name]}",
        title=title,
        canvas=draw_patches(filters, title=title, captions=[*cropped, legend, *counts]).canvas,
        card=_card(filters, title=title),
        tiles=tiles,
        numbers={"dead_filters": dead},
        data={"layer": node.name, "filters": [_as_json(run, node, each) for each in shown]},
        lines=[" ".join([*cropped, *counts])],
    )


def _as_json(run: Run, node: Node, top: TopActivations) -> dict[str, object]:
    """A filter with its units of the highest activation: where each is, and the part of the image that it sees.

    `position` is [row, column] of the unit, null in a layer without positions; `rows` and `columns` are the first and
    last pixel of the image, null where the unit sees none.
    """
    patches = []
    for unit in top.best:
        fields = run.receptive_fields(node).axes
        at = [place if len(axis.masks) > 1 else 0 for place, axis in zip(unit.position or (0, 0), fields, strict=True)]
        rows, columns = (axis.interval(place) for axis, place in zip(fields, at, strict=True))
        patches.append(
            {
                "image": unit.image,
                "class": run.classes[int(run.test.labels[unit.image])],
                "position": list(unit.position) or None,
                "activation": unit.value,
                "rows": None if rows is None else list(rows),
                "columns": None if columns is None else list(columns),
            }
        )
    return {"filter": top.filter, "lowest": top.lowest, "highest": top.highest, "patches": patches}


def crop_test_image(run: Run, node: Node, unit: UnitActivation) -> CroppedImage:
    """What a unit of a layer sees of a test image."""
    image = run.test.images[unit.image].cpu()
    label = run.classes[int(run.test.labels[unit.image])]
    at = f" at {','.join(map(str, unit.position))}" if unit.position else ""
    return CroppedImage(
        patch=crop_patch(run.table, node.name, unit.position, image, most_padding=MOST_PADDING),
        image=image,
        lines=[[Name(label), f", {unit.value:.4g}"], f"#{unit.image}{at}"],
    )


def _heading(name: Sequence[str], top: TopActivations) -> Words:
    if top.is_constant:
        value = "0" if top.highest == 0 else f"always {top.highest:.4g}"
        return [*name, f": {value} everywhere, on every test image" + (": dead" if top.highest == 0 else "")]
    return [*name, f": from {top.lowest:.4g} to {top.highest:.4g}"]


def _remarks(top: TopActivations) -> list[str]:
    values = [each.value for each in top.best]
    if not top.is_constant and len(values) > 1 and values[0] == values[-1]:
        return [f"the first {len(values)} of the images that give its largest value"]
    return []


def _crop_captions(run: Run, node: Node, patches: Sequence[Patch]) -> list[str]:
    """The size of the receptive fields, and the meaning of violet if there is any."""
    receptive_field = run.table[node.name].receptive_field
    size = format_size(receptive_field.size)
    whole = ": the whole image" if receptive_field.is_global else ""
    captions = [f"Cropped to the receptive field, {size} pixels{whole}."]
    if any(patch.padding.any() for patch in patches):
        drawn = max(side for patch in patches for side in patch.padding.shape)
        cut = max(receptive_field.size) > drawn
        captions.append("Violet checks: padding" + (f", at most {MOST_PADDING} of it on each side." if cut else "."))
    if any(patch.unread.any() for patch in patches):
        captions.append("Tinted violet: pixels that the unit does not read.")
    return captions
