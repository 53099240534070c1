"""The feature maps of a layer for one image as a picture, beside the image.

Letters: C channels, (H, W) map; (c, h, w) image.
"""

from collections.abc import Collection, Sequence

import numpy as np
from torch import Tensor

from cnncli.pictures.canvas import text_width
from cnncli.pictures.colour import Pixels, Scale, Values
from cnncli.pictures.grid import Picture, Strip, compose, room
from cnncli.pictures.image import image_pixels, thinning
from cnncli.pictures.kernels import dead_note
from cnncli.pictures.layout import CARD, LINE, Layout, Sheet, Spacing, plan
from cnncli.spec.layers import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    Conv,
    ConvTranspose,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
)

CONVOLUTIONS = (Conv, ConvTranspose)
POOLS = (MaxPool, AvgPool, AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool)
MAPPED = (*CONVOLUTIONS, *POOLS)
"""The layers whose outputs are worth a picture each; a global pool's numbers are maps of 1x1."""
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
        image: (c, h, w), uint8 or floating point from 0 to 1; in colour if c is 3, else its first channel in
            grey.
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
    tiles = scale.colours(values[:, ::step, ::step])  # (C, H', W', 3)
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
