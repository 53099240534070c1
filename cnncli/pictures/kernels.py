"""The kernels of a convolution as a picture.

Letters: O output channels (filters), I input channels of one filter, (kh, kw) kernel.
"""

from collections.abc import Collection

import numpy as np
from torch import Tensor

from cnncli.pictures.canvas import text_width
from cnncli.pictures.colour import Scale, Values
from cnncli.pictures.grid import Picture, Strip, compose, room
from cnncli.pictures.layout import LINE, Layout, Spacing, plan


def kernel_picture(
    weight: Tensor, *, title: str, dead: Collection[int] | None = None, scale: Scale | None = None
) -> Picture:
    """Filters with one input channel as a grid, deeper ones as a matrix, 1x1 kernels as a heat map.

    In the matrix and the heat map a row is a filter and a column an input channel; where filters are short,
    several stand side by side. All share one diverging scale, symmetric about zero and as wide as the largest
    magnitude of the whole layer, shown or not. What has no room is left out from the end, and the
    caption says so.

    Args:
        weight: (O, I, kh, kw), floating point, on any device.
        title: such as the name of the layer.
        dead: numbers of dead filters, to be outlined and counted; None where a filter cannot be found dead.
        scale: instead of one that is as wide as these weights need.

    Returns:
        A picture with a box for every (output, input) that is shown.
    """
    values = weight.detach().cpu().double().numpy()  # (O, I, kh, kw)
    outputs, inputs, height, width = values.shape
    scale = scale or Scale.symmetric(values)
    notes = [*_notes(values), *dead_note(dead, of=outputs, what="filters")]
    spacing, least_scale = _style(outputs, inputs, height=height, width=width)
    layout = plan(
        strips=outputs,
        tiles=inputs,
        tile=(height, width),
        room=room(captions=1 + len(notes), inset=False),
        spacing=spacing,
        least_scale=least_scale,
    )
    shown = values[: layout.strips, : layout.tiles]
    colours = scale.colours(shown)  # (O, I, kh, kw, 3)
    strips = [
        Strip(str(output), {(output, input_): pixels for input_, pixels in enumerate(kernels)})
        for output, kernels in enumerate(colours)
    ]
    return compose(
        strips,
        layout,
        title=title,
        captions=[_caption(layout, outputs, inputs), *notes],
        scale=scale,
        columns=[str(input_) for input_ in range(inputs)] if spacing.top else (),
        marked=[(output, input_) for output in dead or () for input_ in range(inputs)],
    )


def _style(outputs: int, inputs: int, *, height: int, width: int) -> tuple[Spacing, int]:
    """The spacing around kernels, and the least enlargement at which they can be read."""
    beside = text_width(str(outputs - 1)) + 6
    if height == width == 1:
        return Spacing(gap=0, left=beside, top=LINE, between=10), 2
    if inputs == 1:
        return Spacing(gap=4, above=LINE), max(2, -(-14 // width))
    return Spacing(gap=1, left=beside, top=LINE, between=6), 3 if width <= 7 else 2


def _caption(layout: Layout, outputs: int, inputs: int) -> str:
    height, width = layout.tile_height, layout.tile_width
    filters = f"first {layout.strips} of {outputs} filters" if layout.strips < outputs else f"{outputs} filters"
    if inputs == 1:
        return f"{height}x{width}, {filters}"
    channels = f"{layout.tiles} of {inputs} inputs" if layout.tiles < inputs else f"{inputs} inputs"
    return f"{height}x{width}, {filters} down, {channels} across"


def dead_note(dead: Collection[int] | None, *, of: int, what: str) -> list[str]:
    """The line that counts the dead; also where there are none yet, so that nothing moves when there are."""
    if dead is None:
        return []
    return [f"{len(dead)} of {of} {what} dead" + ": outlined" * bool(dead)]


def _notes(values: Values) -> list[str]:
    notes = []
    if not values.any():
        notes.append("every weight is 0")
    if lost := int(np.count_nonzero(~np.isfinite(values))):
        notes.append(f"{lost} of {values.size} weights are not finite: magenta")
    return notes
