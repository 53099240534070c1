"""What the layers of a run make of an image: its feature maps, beside the image."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cnncli.config.network import Node
from cnncli.drawing.canvas import text_width
from cnncli.drawing.color import Pixels, Scale, Values
from cnncli.drawing.grid import Picture, Strip, compose, room
from cnncli.drawing.image import Tile, image_pixels, thinning
from cnncli.drawing.layout import CARD, LINE, PAGE, Layout, Sheet, Spacing, plan
from cnncli.errors import UsageError
from cnncli.inspection.table import Row
from cnncli.run import InputImage, Run
from cnncli.tensorboard.event_file import slug
from cnncli.views.dead_filters import dead_note
from cnncli.views.view import Exhibit, chosen_images, chosen_layers

LEAST_TILE, LEAST_TILE_IN_ROWS, LEAST_PIXEL_IN_ROWS = 18, 10, 5
"""Pixels: with a number above every map; in rows with a number at the beginning; there, for 1x1 maps."""


def as_maps(output: Tensor) -> Tensor:
    """The output of a layer for one image as maps (C, H, W): a row (C,) as (C, 1, 1)."""
    return output if output.ndim == 3 else output[:, None, None]


def feature_map_picture(
    maps: Tensor,
    *,
    image: Tensor,
    title: str,
    captions: Sequence[str] = (),
    sheet: Sheet = CARD,
    dead: Collection[int] | None = None,
    scale: Scale | None = None,
) -> Picture:
    """The image and one tile for each channel, all channels on one scale.

    The scale is sequential from 0 if no value is negative, as after ReLU, otherwise diverging about zero; it
    reaches to the largest magnitude of the whole layer, shown or not. Where there are many channels, they
    stand in rows with the number of the first one beside each row; what has no room is left out from the end,
    as the caption says.

    Args:
        maps: (C, H, W), floating point, on any device.
        image: (c, h, w), uint8 or floating point from 0 to 1; in color if c is 3, else its first channel in
            gray.
        title: such as the name of the layer.
        captions: what else is to be said below the title, a line each.
        sheet: what it is drawn on.
        dead: numbers of dead channels, to be outlined and counted; None where a channel cannot be found dead.
        scale: instead of one that is as wide as these maps need.

    Returns:
        A picture with a box for every (channel,) that is shown, and the image as its inset.
    """
    values = maps.detach().cpu().double().numpy()  # (C, H, W)
    scale = scale or scale_of_maps(values)
    notes = [*captions, *_notes(values), *dead_note(dead, of=len(values), what="channels")]
    step = thinning(values.shape[1:], sheet.thinned)
    tiles = scale.colors(values[:, ::step, ::step])  # (C, H', W', 3)
    layout = _layout(tiles.shape[:3], room(captions=1 + len(notes), inset=True, sheet=sheet), sheet)
    strips = [
        Strip(str(first), {(first + i,): tile for i, tile in enumerate(tiles[first : first + layout.tiles])})
        for first in range(0, len(tiles), layout.tiles)
    ]
    return compose(
        strips,
        layout,
        title=title,
        captions=[_caption(values, layout, step), *notes],
        scale=scale,
        columns=[f"+{column}" for column in range(layout.tiles)] if layout.spacing.top else (),
        inset=_thinned(image, sheet.inset),
        sheet=sheet,
        marked=[(channel,) for channel in dead or ()],
    )


def scale_of_maps(values: Values) -> Scale:
    """Sequential from 0 if no value is negative, as after ReLU, else diverging about zero."""
    return Scale.symmetric(values) if (values < 0).any() else Scale.from_zero(values)


def _layout(shape: tuple[int, ...], room: tuple[int, int], sheet: Sheet) -> Layout:
    """Every map with its number above it or, where more can be shown that way, rows of maps."""
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


def _thinned(image: Tensor, most: int) -> Pixels:
    """The image in at most `most` pixels a side: (h', w', 3)."""
    step = thinning(image.shape[1:], most)
    return image_pixels(image[:, ::step, ::step])


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
    if lost := int(np.count_nonzero(~np.isfinite(values))):
        notes.append(f"{lost} of {values.size} values are not finite: magenta")
    return notes


DEFAULT_IMAGES = ("0",)
"""The first test image."""


def features(
    run: Run,
    images: Sequence[str] = DEFAULT_IMAGES,
    *,
    layers: Sequence[str] = (),
    invert: bool = False,
) -> Iterator[Exhibit]:
    """A picture for each image and each convolution and pool, or each of `layers`, which may be any that give maps.

    Args:
        run: whose feature maps they are.
        images: numbers of test images, and paths of picture files.
        layers: names of layers.
        invert: of the picture files, what is black is white and the other way round.

    Raises:
        UsageError: an image or a layer is not there, or a layer gives no maps.
    """
    nodes = _nodes(run, layers)
    for seen in chosen_images(run, images, invert=invert):
        names = {node.name for node in (*nodes, run.network.nodes[-1])}
        with torch.inference_mode():
            outputs = run.model.outputs(seen.image[None], names)  # name -> (1, C, H, W) or (1, F)
        said = _said(run, seen, outputs[run.network.nodes[-1].name][0])
        for node in nodes:
            yield _exhibit(run, node, run.row(node), seen, as_maps(outputs[node.name][0]), said)


def _nodes(run: Run, layers: Sequence[str]) -> tuple[Node, ...]:
    """The layers that are shown: those with a picture of their own in the training, or whatever was asked for."""
    if not layers:
        return chosen_layers(run, (), lambda layer: layer.has_feature_maps, "has feature maps")
    for name in layers:
        node = run.node(name)
        if len(node.shape) != 3 and not node.layer.has_feature_maps:
            able = [each.name for each in run.network.nodes if len(each.shape) == 3 or each.layer.has_feature_maps]
            raise UsageError(
                f"--layer {name}: it gives {node.shape[0]} numbers and no maps", remedy=f"one of {', '.join(able)}"
            )
    return tuple(map(run.node, dict.fromkeys(layers)))


def _said(run: Run, seen: InputImage, logits: Tensor) -> str:
    """What the image is, and what the network takes it for, with the share of softmax as its confidence."""
    confidence, predicted = logits.double().softmax(dim=0).max(dim=0)
    said = f"predicted {run.classes[int(predicted)]} ({confidence.item():.1%})"
    if not logits.isfinite().all():
        said = "predicted nothing: not all logits are finite"
    return said if seen.label is None else f"true {run.classes[seen.label]}, {said}"


def _exhibit(run: Run, node: Node, row: Row, seen: InputImage, maps: Tensor, said: str) -> Exhibit:
    """Maps (C, H, W) of one layer."""
    page, card = (
        feature_map_picture(
            maps, image=seen.picture, title=f"{node.name}{_stages(node)}", captions=[said, sight(row)], sheet=sheet
        )
        for sheet in (PAGE, CARD)
    )
    values = maps.detach().cpu().double().numpy()
    scale = scale_of_maps(values)
    tiles = [Tile.of(values[channel], scale, label=str(channel)) for (channel,) in page.boxes]
    return Exhibit(
        tag=f"features/{run.network.numbered()[node.name]}/{slug(seen.slug)}",
        title=f"feature maps of {node.name} for {seen.name}, {said}",
        pixels=page.pixels,
        card=card.pixels,
        tiles=[Tile.image(seen.picture, label="input"), *tiles],
    )


def _stages(node: Node) -> str:
    """What of a layer comes before its maps: they are what it passes on."""
    stages = [each.type for each in node.layer.followers().values()]
    return f" after {' and '.join(stages)}" if stages else ""


def sight(row: Row) -> str:
    """What a unit of a layer sees of the input, in a few words."""
    field = row.receptive_field
    if field is None:
        return "what a unit sees is not known"
    if field.is_global:
        return "each unit sees the whole input"
    size = "x".join(map(str, field.size))
    jump = "" if field.jump is None else f", jump {'x'.join(dict.fromkeys(f'{float(each):g}' for each in field.jump))}"
    return f"each unit sees {size} pixels{jump}"
