"""The kernels of convolutions: as a grid, a matrix or a heat map, and in color where they read red, green and blue.

Letters for shapes: O output channels (filters), I input channels of a filter, (kh, kw) kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from cnncli.config.network import INPUT
from cnncli.drawing.color import NOT_FINITE, Scale
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import CARD, LINE, PAGE, Layout, Sheet, Spacing, plan
from cnncli.drawing.sheet import BAR_WIDTH, Bar, Strip, draw_tiles, fit_captions, tile_room
from cnncli.drawing.text import text_width
from cnncli.views.view import Layers, Picture, View, dead_caption, not_finite, select_layers

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.drawing.color import Pixels, Values
    from cnncli.drawing.sheet import Drawing
    from cnncli.run import Run

GRAY = 128
"""The level of a weight of 0 in color; 255 is the end of the scale, and 1 its other end."""


@dataclass(frozen=True, kw_only=True)
class Kernels(View):
    """The kernels of each convolution: blue is negative, white zero, red positive.

    Examples:

      cnncli show kernels runs/lenet5-20260131-120000

      cnncli show kernels runs/lenet5-20260131-120000 --layer conv2 --sort norm --terminal

      cnncli show kernels runs/lenet5-20260131-120000 --color-scale run
    """

    name = "kernels"

    layers: Layers = ()
    color_scale: Annotated[
        Literal["layer", "kernel", "run"],
        typer.Option(
            "--color-scale",
            case_sensitive=False,
            help="Scope of one color scale: a layer, a kernel (filter), or the whole run.",
        ),
    ] = "layer"
    sort: Annotated[
        Literal["norm"] | None,
        typer.Option(
            "--sort", case_sensitive=False, help="Filters with the largest L2 norm first, labeled with their numbers."
        ),
    ] = None

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture of each convolution; filters that read red, green and blue also in color."""
        weights = run.model.kernels()
        for node in select_layers(run, self.layers, lambda node: node.name in weights, "kernels of its own"):
            weight, tag = weights[node.name], f"kernels/{run.network.numbered()[node.name]}"
            values = _values(weight)
            scales = self._scales(values, weights.values())
            groups = node.description.groups
            shared = self.color_scale == "run" and len(weights) > 1
            page, card = (
                kernel_picture(
                    weight,
                    title=node.name,
                    sheet=sheet,
                    scales=scales,
                    by_norm=self.sort == "norm",
                    groups=groups,
                    captions=[f"scale of all {len(weights)} convolutions"] * shared,
                )
                for sheet in (PAGE, CARD)
            )
            title, tiles = f"kernels of {node.name}", _tiles(values, page, scales, groups)
            data = {"layer": node.name, "shape": list(values.shape), "groups": groups}
            yield Picture(tag=tag, title=title, canvas=page.canvas, card=card.pixels, tiles=tiles, data=data)
            if node.inputs == (INPUT,) and values.shape[1] == 3:
                yield _in_color(weight, tag=f"{tag}_rgb", title=f"{title} in color")

    def _scales(self, values: Values, weights: Iterable[Tensor]) -> list[Scale]:
        """The color scale of each filter of a layer."""
        if self.color_scale == "kernel":
            return [Scale.symmetric(kernels) for kernels in values]
        of_run = self.color_scale == "run"
        shared = np.concatenate([_values(weight).ravel() for weight in weights]) if of_run else values
        return [Scale.symmetric(shared)] * len(values)


def _values(weight: Tensor) -> Values:
    values: Values = weight.detach().cpu().double().numpy()
    return values


def _tiles(values: Values, page: Drawing, scales: Sequence[Scale], groups: int) -> list[Tile]:
    """The tiles of the page: one for each kernel, or a single one if the kernels are single numbers."""
    outputs, inputs = (list(dict.fromkeys(key[axis] for key in page.boxes)) for axis in (0, 1))
    if values.shape[2:] == (1, 1):
        matrix = values[np.ix_(outputs, inputs)][:, :, 0, 0]
        if len(set(scales)) == 1:
            return [Tile.of(matrix, scales[0], label=f"{len(outputs)} filters down, {len(inputs)} inputs across")]
        return [
            Tile.of(row[None], scales[output], label=f"filter {output}")
            for output, row in zip(outputs, matrix, strict=True)
        ]
    comma = "," if groups == 1 else ",+"  # inputs are counted from the first of the filter's group
    return [
        Tile.of(
            values[output, input_],
            scales[output],
            label=str(output) if values.shape[1] == 1 else f"{output}{comma}{input_}",
            row=None if values.shape[1] == 1 else output,
        )
        for output, input_ in page.boxes
    ]


def _in_color(weight: Tensor, *, tag: str, title: str) -> Picture:
    """Filters (O, 3, kh, kw) for red, green and blue, one tile each."""
    page, card = (rgb_kernel_picture(weight, title=title, sheet=sheet) for sheet in (PAGE, CARD))
    values = _values(weight)
    scale = Scale.symmetric(values)
    tiles = [
        Tile(label=str(output), values=values[output].mean(axis=0), scale=scale, pixels=pixels)
        for output, pixels in enumerate(_rgb_tiles(values, scale))
    ]
    return Picture(tag=tag, title=title, canvas=page.canvas, card=card.pixels, tiles=tiles)


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
) -> Drawing:
    """Filters with one input channel as a grid, deeper ones as a matrix, 1x1 kernels as a heat map.

    In the matrix and the heat map a row is a filter and a column an input channel; short filters stand side by side.
    All share one diverging scale, symmetric about zero and as wide as the largest magnitude of the layer, shown or not,
    unless others are given. What does not fit at the end is omitted, as the caption says.

    Args:
        weight: (O, I, kh, kw), floating point, on any device.
        title: such as the name of the layer.
        sheet: what it is drawn on.
        scales: one for each filter, instead of one for the layer.
        by_norm: the filters with the largest L2 norm first, labeled with their numbers.
        groups: of the convolution; I is then the number of input channels of a group.
        captions: more lines below the title.
        dead: numbers of dead filters, to be outlined and counted; None where filters of the layer cannot be dead.
        scale: of the layer, instead of one that is as wide as these weights need.

    Returns:
        A drawing with a box for every (output, input) shown, in the order of drawing.
    """
    values = _values(weight)
    outputs, inputs, height, width = values.shape
    scales = [scale or Scale.symmetric(values)] * outputs if scales is None else scales
    order = _by_norm(values) if by_norm else list(range(outputs))
    limits = [f"±{scale.high:.2g}" for scale in scales] if len(set(scales)) > 1 else []
    notes = [*captions, *_notes(values, by_norm=by_norm, several_scales=bool(limits))]
    notes += dead_caption(dead, of=outputs, what="filters")
    spacing, least_scale = _style(values.shape, limits, sheet)

    def layout_below(lines: int) -> Layout:
        return plan(
            strips=outputs,
            tiles=inputs,
            tile=(height, width),
            room=tile_room(captions=lines, inset=False, sheet=sheet),
            spacing=spacing,
            least_scale=least_scale,
            most_scale=sheet.most_scale(height, width, matrix=inputs > 1),
        )

    layout, lines = fit_captions(
        layout_below, lambda layout: [_caption(layout, outputs, inputs, groups), *notes], sheet
    )
    return draw_tiles(
        [_strip(output, values[output], scales[output], limits, layout) for output in order[: layout.strips]],
        layout,
        title=title,
        captions=lines,
        scale=Bar(scales[0].gradient(BAR_WIDTH), "-max", "max") if limits else scales[0],
        columns=[str(input_) if groups == 1 else f"+{input_}" for input_ in range(inputs)] if spacing.top else (),
        sheet=sheet,
        marked=[(output, input_) for output in dead or () for input_ in range(inputs)],
    )


def _by_norm(values: Values) -> list[int]:
    """The numbers of filters (O, I, kh, kw), the largest L2 norm first and NaN before all; ties keep their order."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite norm is the largest
        norms = np.sqrt((values**2).sum(axis=(1, 2, 3)))
    order: list[int] = np.argsort(-np.nan_to_num(norms, nan=np.inf), kind="stable").tolist()
    return order


def _style(shape: tuple[int, ...], limits: Sequence[str], sheet: Sheet) -> tuple[Spacing, int]:
    """The spacing around kernels (O, I, kh, kw), and the smallest enlargement at which they are legible."""
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
    """The number of a filter, with the limit of its own scale where it fits."""
    label = f"{output} {limits[output]}" if limits else str(output)
    left, above = layout.spacing.left - 6, layout.tile_width * layout.scale + layout.spacing.gap - 2
    return label if text_width(label) <= (left if layout.spacing.left else above) else str(output)


def _caption(layout: Layout, outputs: int, inputs: int, groups: int) -> str:
    size = f"{layout.tile_height}x{layout.tile_width}"
    filters = f"first {layout.strips} of {outputs} filters" if layout.strips < outputs else f"{outputs} filters"
    if inputs == 1:
        return f"{size}, {filters}" + (f", {groups} groups" if groups > 1 else "")
    channels = f"{layout.tiles} of {inputs} inputs" if layout.tiles < inputs else f"{inputs} inputs"
    of_groups = f" of each of {groups} groups" if groups > 1 else ""
    return f"{size}, {filters} down, {channels}{of_groups} across"


def _notes(values: Values, *, by_norm: bool, several_scales: bool) -> list[str]:
    notes = []
    if by_norm:
        notes.append("filters by their L2 norm, the largest first")
    if several_scales:
        notes.append("each filter on its own scale, ± its largest weight")
    if not values.any():
        notes.append("every weight is 0")
    return notes + not_finite(values, "weights")


def rgb_kernel_picture(weight: Tensor, *, title: str, sheet: Sheet = CARD) -> Drawing:
    """One tile for each filter, its weights for red, green and blue as a color.

    Args:
        weight: (O, 3, kh, kw), floating point, on any device.
        title: such as the name of the layer.
        sheet: what it is drawn on.

    Returns:
        A drawing with a box for every (output,) shown.
    """
    values = _values(weight)
    outputs, _, height, width = values.shape
    scale = Scale.symmetric(values)

    def layout_below(lines: int) -> Layout:
        return plan(
            strips=outputs,
            tiles=1,
            tile=(height, width),
            room=tile_room(captions=lines, inset=False, sheet=sheet),
            spacing=Spacing(gap=4, above=LINE),
            least_scale=max(2, -(-14 // width)),
            most_scale=sheet.most_scale(height, width),
        )

    note = "weights for red, green and blue as one color; gray is 0"
    layout, lines = fit_captions(layout_below, lambda layout: [_caption(layout, outputs, 1, 1), note], sheet)
    grays = np.rint(np.linspace(2 * GRAY - 255, 255, BAR_WIDTH)).astype(np.uint8)
    return draw_tiles(
        [Strip(str(output), {(output,): tile}) for output, tile in enumerate(_rgb_tiles(values, scale))],
        layout,
        title=title,
        captions=lines,
        scale=Bar(grays[None, :, None].repeat(3, axis=2), f"{scale.low:.3g}", f"{scale.high:.3g}"),
        sheet=sheet,
    )


def _rgb_tiles(values: Values, scale: Scale) -> Pixels:
    """Weights (O, 3, kh, kw) as colors (O, kh, kw, 3)."""
    shares = np.nan_to_num(values / scale.high, posinf=0.0, neginf=0.0) if scale.high else np.zeros_like(values)
    pixels: Pixels = np.rint(GRAY + (255 - GRAY) * shares).astype(np.uint8).transpose(0, 2, 3, 1).copy()
    pixels[~np.isfinite(values).all(axis=1)] = NOT_FINITE
    return pixels
