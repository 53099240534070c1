"""Filters that read red, green and blue, each as one tile in colour.

Field practice since Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks"
(NIPS 2012), figure 3. Here zero is always the same grey, and one scale serves all filters, so that two tiles can be
compared; signs and sizes are read more easily from the channels one by one (`cnncli.pictures.kernels`).
"""

import numpy as np
from torch import Tensor

from cnncli.pictures.colour import NOT_FINITE, Pixels, Scale, Values
from cnncli.pictures.grid import BAR_WIDTH, Bar, Picture, Strip, compose, room
from cnncli.pictures.layout import CARD, LINE, Sheet, Spacing, plan

GREY = 128
"""The level of a weight of zero; 255 is the end of the scale, and 1 its other end."""


def rgb_kernel_picture(weight: Tensor, *, title: str, sheet: Sheet = CARD) -> Picture:
    """One tile for each filter, its weights for red, green and blue as a colour.

    Args:
        weight: (O, 3, kh, kw), floating point, on any device.
        title: such as the name of the layer.
        sheet: what it is drawn on.

    Returns:
        A picture with a box for every (output,) that is shown.
    """
    values = weight.detach().cpu().double().numpy()  # (O, 3, kh, kw)
    outputs, _, height, width = values.shape
    scale = Scale.symmetric(values)
    captions = ["weights for red, green and blue as one colour; grey is 0"]
    layout = plan(
        strips=outputs,
        tiles=1,
        tile=(height, width),
        room=room(captions=1 + len(captions), inset=False, sheet=sheet),
        spacing=Spacing(gap=4, above=LINE),
        least_scale=max(2, -(-14 // width)),
        most_scale=sheet.most_scale(height, width),
    )
    filters = f"first {layout.strips} of {outputs} filters" if layout.strips < outputs else f"{outputs} filters"
    return compose(
        [Strip(str(output), {(output,): tile}) for output, tile in enumerate(rgb_tiles(values, scale))],
        layout,
        title=title,
        captions=[f"{height}x{width}, {filters}", *captions],
        scale=Bar(_grey_bar(), f"{scale.low:.3g}", f"{scale.high:.3g}"),
        sheet=sheet,
    )


def rgb_tiles(values: Values, scale: Scale) -> Pixels:
    """Weights (O, 3, kh, kw) as colours (O, kh, kw, 3)."""
    shares = np.nan_to_num(values / scale.high, posinf=0.0, neginf=0.0) if scale.high else np.zeros_like(values)
    pixels: Pixels = np.rint(GREY + (255 - GREY) * shares).astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels.copy()
    pixels[~np.isfinite(values).all(axis=1)] = NOT_FINITE
    return pixels


def _grey_bar() -> Pixels:
    levels = np.rint(np.linspace(2 * GREY - 255, 255, BAR_WIDTH)).astype(np.uint8)
    return levels[None, :, None].repeat(3, axis=2)
