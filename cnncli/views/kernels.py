"""The kernels that a run has learned."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from cnncli.config.network import INPUT
from cnncli.drawing.canvas import text_width
from cnncli.drawing.color import NOT_FINITE, Pixels, Scale, Values
from cnncli.drawing.grid import BAR_WIDTH, Bar, Picture, Strip, compose, room
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import CARD, LINE, PAGE, Layout, Sheet, Spacing, plan
from cnncli.run import Run
from cnncli.views.dead_filters import dead_note
from cnncli.views.view import Exhibit, chosen_layers

GRAY = 128
"""The level of a weight of zero; 255 is the end of the scale, and 1 its other end."""


def rgb_kernel_picture(weight: Tensor, *, title: str, sheet: Sheet = CARD) -> Picture:
    """One tile for each filter, its weights for red, green and blue as a color.

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
    captions = ["weights for red, green and blue as one color; gray is 0"]
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
        scale=Bar(_gray_bar(), f"{scale.low:.3g}", f"{scale.high:.3g}"),
        sheet=sheet,
    )


def rgb_tiles(values: Values, scale: Scale) -> Pixels:
    """Weights (O, 3, kh, kw) as colors (O, kh, kw, 3)."""
    shares = np.nan_to_num(values / scale.high, posinf=0.0, neginf=0.0) if scale.high else np.zeros_like(values)
    pixels: Pixels = np.rint(GRAY + (255 - GRAY) * shares).astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels.copy()
    pixels[~np.isfinite(values).all(axis=1)] = NOT_FINITE
    return pixels


def _gray_bar() -> Pixels:
    levels = np.rint(np.linspace(2 * GRAY - 255, 255, BAR_WIDTH)).astype(np.uint8)
    return levels[None, :, None].repeat(3, axis=2)


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
    tiles = enumerate(scale.colors(kernels))
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


ScaleOf = Literal["layer", "kernel", "run"]


def kernels(
    run: Run, *, layers: Sequence[str] = (), scale: ScaleOf = "layer", by_norm: bool = False
) -> Iterator[Exhibit]:
    """A picture for each convolution, or for those of `layers`; filters that read red, green and blue also in color.

    Args:
        run: whose kernels they are.
        layers: names of convolutions.
        scale: what shares one scale: all filters of a layer, each filter its own, or all convolutions of the run.
        by_norm: the filters of largest L2 norm first.

    Raises:
        UsageError: one of the layers is not there, or is no convolution.
    """
    weights = run.model.kernels()
    numbered = run.network.numbered()
    of_run = Scale.symmetric(np.concatenate([_values(weight).ravel() for weight in weights.values()] or [np.zeros(0)]))
    for node in chosen_layers(run, layers, lambda layer: layer.has_kernels, "has kernels"):
        weight, tag = weights[node.name].detach(), f"kernels/{numbered[node.name]}"
        values = _values(weight)
        scales = {
            "layer": [Scale.symmetric(values)] * len(values),
            "kernel": [Scale.symmetric(each) for each in values],
            "run": [of_run] * len(values),
        }[scale]
        count = len(weights)
        captions = [f"scale of all {count} convolutions"] if scale == "run" and count > 1 else []
        page, card = (
            kernel_picture(
                weight,
                title=node.name,
                sheet=sheet,
                scales=scales,
                by_norm=by_norm,
                groups=node.description.groups,
                captions=captions,
            )
            for sheet in (PAGE, CARD)
        )
        title = f"kernels of {node.name}"
        tiles = _tiles(values, page, scales, node.description.groups)
        yield Exhibit(tag=tag, title=title, pixels=page.pixels, card=card.pixels, tiles=tiles)
        if node.inputs == (INPUT,) and values.shape[1] == 3:
            yield _in_color(values, weight, tag=f"{tag}_rgb", title=f"{title} in color")


def _values(weight: Tensor) -> Values:
    values: Values = weight.detach().cpu().double().numpy()
    return values


def _tiles(values: Values, page: Picture, scales: Sequence[Scale], groups: int) -> list[Tile]:
    """What the page shows: a tile for each kernel, or one for all where kernels are single numbers."""
    outputs, inputs = (list(dict.fromkeys(key[axis] for key in page.boxes)) for axis in (0, 1))
    if values.shape[2:] == (1, 1):
        matrix = values[np.ix_(outputs, inputs)][:, :, 0, 0]
        if len(set(scales)) == 1:
            return [Tile.of(matrix, scales[0], label=f"{len(outputs)} filters down, {len(inputs)} inputs across")]
        return [
            Tile.of(row[None], scales[output], label=f"filter {output}")
            for output, row in zip(outputs, matrix, strict=True)
        ]
    comma = "," if groups == 1 else ",+"  # the inputs of a filter's own group
    return [
        Tile.of(
            values[output, input_],
            scales[output],
            label=str(output) if values.shape[1] == 1 else f"{output}{comma}{input_}",
        )
        for output, input_ in page.boxes
    ]


def _in_color(values: Values, weight: Tensor, *, tag: str, title: str) -> Exhibit:
    """Filters for red, green and blue, one tile each."""
    page, card = (rgb_kernel_picture(weight, title=title, sheet=sheet) for sheet in (PAGE, CARD))
    scale = Scale.symmetric(values)
    tiles = [
        Tile(label=str(output), values=values[output].mean(axis=0), scale=scale, pixels=pixels)
        for output, pixels in enumerate(rgb_tiles(values, scale))
    ]
    return Exhibit(tag=tag, title=title, pixels=page.pixels, card=card.pixels, tiles=tiles)
