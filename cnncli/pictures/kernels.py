"""The kernels of a convolution as a picture.

Letters: O output channels (filters), I input channels of one filter, (kh, kw) kernel.
"""

from collections.abc import Collection, Sequence

import numpy as np
from torch import Tensor

from cnncli.pictures.canvas import text_width
from cnncli.pictures.colour import Scale, Values
from cnncli.pictures.grid import BAR_WIDTH, Bar, Picture, Strip, compose, room
from cnncli.pictures.layout import CARD, LINE, Layout, Sheet, Spacing, plan


def kernel_picture(
    weight: Tensor,
    *,
    title: str,
    sheet: Sheet = CARD,
    scales: Sequence[Scale] | None = None,
    by_norm: bool = False,
    groups: int = 1,
    captions: Sequence[str] = (),
    dead: Collection[int] | None = None,
    scale: Scale | None = None,
) -> Picture:
    """Filters with one input channel as a grid, deeper ones as a matrix, 1x1 kernels as a heat map.

    In the matrix and the heat map a row is a filter and a column an input channel; where filters are short,
    several stand side by side. All share one diverging scale, symmetric about zero and as wide as the largest
    magnitude of the whole layer, shown or not, unless others are given. What has no room is left out from the
    end, and the caption says so.

    Args:
        weight: (O, I, kh, kw), floating point, on any device.
        title: such as the name of the layer.
        sheet: what it is drawn on.
        scales: one for each filter; one for the whole layer, if not given.
        by_norm: the filters of largest L2 norm first, under their own numbers.
        groups: of the convolution: I is the depth of one filter, which reads the inputs of its group.
        captions: what else is to be said below the title, a line each.
        dead: numbers of dead filters, to be outlined and counted; None where a filter cannot be found dead.
        scale: of the whole layer, instead of one that is as wide as these weights need.

    Returns:
        A picture with a box for every (output, input) that is shown, in the order of showing.
    """
    values = weight.detach().cpu().double().numpy()  # (O, I, kh, kw)
    outputs, inputs, height, width = values.shape
    scales = [scale or Scale.symmetric(values)] * outputs if scales is None else scales
    order = filters_by_norm(values) if by_norm else list(range(outputs))
    limits = [f"±{scale.high:.2g}" for scale in scales] if len(set(scales)) > 1 else []
    notes = [*captions, *_notes(values, by_norm=by_norm, several_scales=bool(limits))]
    notes += dead_note(dead, of=outputs, what="filters")
    spacing, least_scale = _style(values.shape, limits, sheet)
    layout = plan(
        strips=outputs,
        tiles=inputs,
        tile=(height, width),
        room=room(captions=1 + len(notes), inset=False, sheet=sheet),
        spacing=spacing,
        least_scale=least_scale,
        most_scale=sheet.most_scale(height, width, matrix=inputs > 1),
    )
    return compose(
        [_strip(output, values[output], scales[output], limits, layout) for output in order[: layout.strips]],
        layout,
        title=title,
        captions=[_caption(layout, outputs, inputs, groups), *notes],
        scale=Bar(scales[0].gradient(BAR_WIDTH), "-max", "max") if limits else scales[0],
        columns=[str(input_) if groups == 1 else f"+{input_}" for input_ in range(inputs)] if spacing.top else (),
        sheet=sheet,
        marked=[(output, input_) for output in dead or () for input_ in range(inputs)],
    )


def filters_by_norm(values: Values) -> list[int]:
    """The numbers of filters (O, I, kh, kw), the largest L2 norm first; those without one, which need a look, before.

    Filters of the same norm stay in their order.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite norm is the largest
        norms = np.sqrt((values**2).sum(axis=(1, 2, 3)))
    order: list[int] = np.argsort(-np.nan_to_num(norms, nan=np.inf), kind="stable").tolist()
    return order


def _style(shape: tuple[int, ...], limits: Sequence[str], sheet: Sheet) -> tuple[Spacing, int]:
    """The spacing around kernels (O, I, kh, kw), and the least enlargement at which they can be read."""
    outputs, inputs, height, width = shape
    beside = text_width(str(outputs - 1)) + 6
    if limits and sheet.trimmed:  # a card has no room for them
        beside += max(map(text_width, limits)) + 4
    if height == width == 1:
        return Spacing(gap=0, left=beside, top=LINE, between=10), 2
    if inputs == 1:
        return Spacing(gap=4, above=LINE), max(2, -(-14 // width))
    return Spacing(gap=sheet.gap, left=beside, top=LINE, between=6 * sheet.gap), 3 if width <= 7 else 2


def _strip(output: int, kernels: Values, scale: Scale, limits: Sequence[str], layout: Layout) -> Strip:
    """The kernels of a filter, (I, kh, kw)."""
    tiles = enumerate(scale.colours(kernels))
    return Strip(_label(output, limits, layout), {(output, input_): tile for input_, tile in tiles})


def _label(output: int, limits: Sequence[str], layout: Layout) -> str:
    """The number of a filter, with the limit of its own scale where there is room."""
    label = f"{output} {limits[output]}" if limits else str(output)
    left, above = layout.spacing.left - 6, layout.tile_width * layout.scale + layout.spacing.gap - 2
    return label if text_width(label) <= (left if layout.spacing.left else above) else str(output)


def _caption(layout: Layout, outputs: int, inputs: int, groups: int) -> str:
    height, width = layout.tile_height, layout.tile_width
    filters = f"first {layout.strips} of {outputs} filters" if layout.strips < outputs else f"{outputs} filters"
    if inputs == 1:
        return f"{height}x{width}, {filters}" + (f", {groups} groups" if groups > 1 else "")
    channels = f"{layout.tiles} of {inputs} inputs" if layout.tiles < inputs else f"{inputs} inputs"
    of_groups = f" of each of {groups} groups" if groups > 1 else ""
    return f"{height}x{width}, {filters} down, {channels}{of_groups} across"


def dead_note(dead: Collection[int] | None, *, of: int, what: str) -> list[str]:
    """The line that counts the dead; also where there are none yet, so that nothing moves when there are."""
    if dead is None:
        return []
    return [f"{len(dead)} of {of} {what} dead" + ": outlined" * bool(dead)]


def _notes(values: Values, *, by_norm: bool, several_scales: bool) -> list[str]:
    notes = []
    if by_norm:
        notes.append("filters by their L2 norm, the largest first")
    if several_scales:
        notes.append("each filter on its own scale, ± its largest weight")
    if not values.any():
        notes.append("every weight is 0")
    if lost := int(np.count_nonzero(~np.isfinite(values))):
        notes.append(f"{lost} of {values.size} weights are not finite: magenta")
    return notes
