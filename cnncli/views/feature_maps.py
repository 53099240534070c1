"""The feature maps of layers for an image, drawn next to the image.

Letters for shapes: C channels, H height, W width, F features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.drawing.color import Scale
from cnncli.drawing.image import Tile, image_pixels, thinning
from cnncli.drawing.layout import CARD, LINE, PAGE, Layout, Sheet, Spacing, plan
from cnncli.drawing.sheet import Strip, draw_tiles, fit_captions, tile_room
from cnncli.drawing.text import Name, Words, joined, text_width
from cnncli.errors import UsageError
from cnncli.layers import format_size, per_axis
from cnncli.options import FitOption, InvertOption
from cnncli.views.view import (
    Images,
    Layers,
    Picture,
    View,
    dead_caption,
    not_finite,
    read_images,
    select_layers,
)

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.network import Node
    from cnncli.drawing.color import Values
    from cnncli.drawing.sheet import Drawing
    from cnncli.inspection.table import Row
    from cnncli.run import InputImage, Run

LEAST_TILE, LEAST_TILE_IN_ROWS, LEAST_PIXEL_IN_ROWS = 18, 10, 5
"""The smallest width of a map, px: with a number above each; in numbered rows; there, for 1x1 maps."""


@dataclass(frozen=True, kw_only=True)
class FeatureMaps(View):
    """The feature maps of each convolution and pool for an image.

    Without IMAGE, the first test image is shown.

    Examples:

      cnncli show feature-maps runs/lenet5-20260131-120000 0 7

      cnncli show feature-maps runs/lenet5-20260131-120000 my.png --layer conv2 --terminal
    """

    name = "feature-maps"

    images: Images = ()
    layers: Layers = ()
    invert: InvertOption = "auto"
    fit: FitOption = "auto"

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture for each image and each convolution and pool, or each of `layers`, which may be any with maps."""
        import torch

        nodes = self._nodes(run)
        logits = run.network.nodes[-1]
        for image in read_images(run, self.images or ("0",), invert=self.invert, fit=self.fit):
            with torch.inference_mode():
                names = {node.name for node in (*nodes, logits)}
                outputs = run.model.outputs(image.image[None], names)  # name -> (1, C, H, W) or (1, F)
            answer = _answer(run, image, outputs[logits.name][0])
            data = _answer_as_json(run, image, outputs[logits.name][0])
            for node in nodes:
                yield _picture(run, node, image, as_maps(outputs[node.name][0]), answer, data)

    def _nodes(self, run: Run) -> tuple[Node, ...]:
        if not self.layers:
            return select_layers(run, (), lambda node: node.layer.has_feature_maps, "feature maps")
        for name in self.layers:
            node = run.node(name)
            if not _has_maps(node):
                able = [each.name for each in run.network.nodes if _has_maps(each)]
                raise UsageError(
                    f"--layer {name}: the output of this layer is {node.shape[0]} values, not feature maps",
                    remedy=f"choose one of {', '.join(able)}",
                )
        return tuple(map(run.node, dict.fromkeys(self.layers)))


def _has_maps(node: Node) -> bool:
    return len(node.shape) == 3 or node.layer.has_feature_maps


def _answer(run: Run, image: InputImage, logits: Tensor) -> Words:
    """The true class of an image and the predicted one, with its softmax as confidence."""
    confidence, predicted = logits.double().softmax(dim=0).max(dim=0)
    answer = ["predicted ", Name(run.classes[int(predicted)]), f" ({confidence.item():.1%})"]
    if not logits.isfinite().all():
        answer = ["no prediction: not all logits are finite"]
    return answer if image.label is None else ["true ", Name(run.classes[image.label]), ", ", *answer]


def _answer_as_json(run: Run, image: InputImage, logits: Tensor) -> dict[str, object]:
    """The image, its true class, and the predicted one; null where there is none."""
    confidence, predicted = logits.double().softmax(dim=0).max(dim=0)
    finite = bool(logits.isfinite().all())
    return {
        "image": image.argument,
        "true": None if image.label is None else run.classes[image.label],
        "predicted": run.classes[int(predicted)] if finite else None,
        "probability": confidence.item() if finite else None,
    }


def _picture(
    run: Run, node: Node, image: InputImage, maps: Tensor, answer: Words, data: Mapping[str, object]
) -> Picture:
    """Maps (C, H, W) of one layer."""
    from cnncli.tensorboard.event_file import slug

    captions = [answer, _unit_caption(run.table[node.name])]
    after = " and ".join(layer.type for layer in node.layer.followers().values())
    page, card = (
        feature_map_picture(
            maps,
            image=image.picture,
            title=f"{node.name} after {after}" if after else node.name,
            captions=captions,
            sheet=sheet,
        )
        for sheet in (PAGE, CARD)
    )
    values = maps.detach().cpu().double().numpy()
    scale = _scale(values)
    tiles = [Tile.of(values[channel], scale, label=str(channel)) for (channel,) in page.boxes]
    return Picture(
        tag=f"feature_maps/{run.network.numbered()[node.name]}/{slug(image.slug)}",
        title=f"feature maps of {node.name} for {image.name}, {joined(answer)}",
        canvas=page.canvas,
        card=card.pixels,
        tiles=[Tile.image(image.picture, label="input"), *tiles],
        data={"layer": node.name, "shape": list(maps.shape), **data},
    )


def _unit_caption(row: Row) -> str:
    """The receptive field of a unit of a layer, as text."""
    receptive_field = row.receptive_field
    if receptive_field.is_global:
        return "each unit sees the whole input"
    jump = per_axis(f"{float(each):g}" for each in receptive_field.jump or ())
    return f"each unit sees {format_size(receptive_field.size)} pixels" + (f", jump {jump}" if jump else "")


def as_maps(output: Tensor) -> Tensor:
    """The output of a layer for one image as maps (C, H, W): numbers (F,) as (F, 1, 1)."""
    return output if output.ndim == 3 else output[:, None, None]


def feature_map_picture(
    maps: Tensor,
    *,
    image: Tensor,
    title: str,
    captions: Sequence[Words] = (),
    sheet: Sheet = CARD,
    dead: Collection[int] | None = None,
    scale: Scale | None = None,
) -> Drawing:
    """The image and one tile for each channel, all channels on one scale.

    The scale is sequential from 0 if no value is negative, as after ReLU, otherwise diverging about zero; it reaches to
    the largest magnitude of the layer, shown or not. Where there are many channels, they stand in rows, with the number
    of the first one beside each row; if not all fit, the last ones are omitted, as the caption says.

    Args:
        maps: (C, H, W), floating point, on any device.
        image: (c, h, w), uint8 or floating point from 0 to 1; in color if c is 3, else its first channel in gray.
        title: such as the name of the layer.
        captions: more lines below the title.
        sheet: what it is drawn on.
        dead: numbers of dead channels, to be outlined and counted; None where channels of the layer cannot be dead.
        scale: instead of one that is as wide as these maps need.

    Returns:
        A drawing with a box for every (channel,) shown, and the image as its inset.
    """
    values = maps.detach().cpu().double().numpy()  # (C, H, W)
    scale = scale or _scale(values)
    notes = [*captions, *_notes(values), *dead_caption(dead, of=len(values), what="channels")]
    step = thinning(values.shape[1:], sheet.thinned)
    tiles = scale.colors(values[:, ::step, ::step])  # (C, H', W', 3)
    layout, lines = fit_captions(
        lambda count: _layout(tiles.shape[:3], tile_room(captions=count, inset=True, sheet=sheet), sheet),
        lambda layout: [_caption(values, layout, step), *notes],
        sheet,
    )
    strips = [
        Strip(str(first), {(first + i,): tile for i, tile in enumerate(tiles[first : first + layout.tiles])})
        for first in range(0, len(tiles), layout.tiles)
    ]
    image_step = thinning(image.shape[1:], sheet.inset)
    return draw_tiles(
        strips,
        layout,
        title=title,
        captions=lines,
        scale=scale,
        columns=[f"+{column}" for column in range(layout.tiles)] if layout.spacing.top else (),
        inset=image_pixels(image[:, ::image_step, ::image_step]),
        sheet=sheet,
        marked=[(channel,) for channel in dead or ()],
    )


def _scale(values: Values) -> Scale:
    """Sequential from 0 if no value is negative, as after ReLU, else diverging about zero."""
    return Scale.symmetric(values) if (values < 0).any() else Scale.from_zero(values)


def _layout(shape: tuple[int, ...], room: tuple[int, int], sheet: Sheet) -> Layout:
    """Each map with its number above it or, where more can be shown that way, rows of maps."""
    channels, height, width = shape
    single = plan(
        strips=channels,
        tiles=1,
        tile=(height, width),
        room=room,
        spacing=Spacing(gap=4, above=LINE),
        least_scale=-(-LEAST_TILE // width),
        most_scale=sheet.most_scale(height, width),
    )
    if single.strips == channels:
        return single
    spacing = Spacing(gap=1, left=text_width(str(channels)) + 6, top=LINE, between=6)
    least = LEAST_PIXEL_IN_ROWS if height == width == 1 else LEAST_TILE_IN_ROWS
    least_scale = -(-least // width)
    fitting = (room[1] - spacing.left) // (width * least_scale + spacing.gap)
    plans = [
        plan(
            strips=-(-channels // in_a_row),
            tiles=in_a_row,
            tile=(height, width),
            room=room,
            spacing=spacing,
            least_scale=least_scale,
            most_scale=sheet.most_scale(height, width),
        )
        for in_a_row in (16, 8, 32, fitting)  # the rounder numbers win where they show as much
        if 1 <= in_a_row <= fitting
    ]
    rows = [layout for layout in plans if layout.across == 1]
    return max([single, *rows], key=lambda layout: (min(channels, layout.strips * layout.tiles), layout.scale))


def _caption(values: Values, layout: Layout, step: int) -> str:
    channels, height, width = values.shape
    shown = min(channels, layout.strips * layout.tiles)
    count = f"first {shown} of {channels} channels" if shown < channels else f"{channels} channels"
    thinned = f", one pixel in {step} per axis" if step > 1 else ""
    return f"{height}x{width}, {count}{thinned}"


def _notes(values: Values) -> list[str]:
    notes = []
    if not values.any():
        notes.append("every value is 0")
    return notes + not_finite(values, "values")
