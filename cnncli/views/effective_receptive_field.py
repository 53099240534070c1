"""The effective receptive field of a layer: the gradient of its center unit with respect to each pixel.

After Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks"
(NeurIPS 2016).

Letters for shapes: N images, (C, H, W) image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cnncli.drawing.canvas import Box, Canvas
from cnncli.drawing.color import Scale, Values, sequential
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import CARD_LETTERING, HEIGHT, PAGE_LETTERING, WIDTH
from cnncli.drawing.text import text_width
from cnncli.errors import UsageError
from cnncli.views.view import Layers, Picture, View, nodes_with_positions

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.drawing.color import Pixels
    from cnncli.inspection.receptive_field import ReceptiveFields
    from cnncli.inspection.units import Interval
    from cnncli.module import CnnModule
    from cnncli.run import Run

SHARES = (20, 50, 90, 99)
"""Percentages of the gradient inside the squares whose sides are given."""
TILE, CARD_TILE = 448, 140
"""Pixels for the longer side of a map, in a file and in a card, which has room for two."""
MARGIN = 4
_LEGEND = "frames: receptive field and squares; colors: square root"


@dataclass(frozen=True, kw_only=True)
class EffectiveReceptiveField(View):
    """The gradient of the center unit of a layer with respect to each pixel, trained and untrained.

    Without --layer, the last layer with positions is shown.

    Examples:

      cnncli show effective-receptive-field runs/lenet5-20260131-120000

      cnncli show effective-receptive-field runs/lenet5-20260131-120000 --layer conv1 --layer conv2 --images 500
    """

    name = "effective-receptive-field"

    layers: Layers = ()
    images: Annotated[int, typer.Option("--images", min=1, metavar="N", help="Test images to average over.")] = 100

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture of each of `layers`."""
        for layer in self.layers or (None,):
            yield picture_of(run, measure(run, layer, images=self.images))


@dataclass(frozen=True)
class EffectiveField:
    """The gradient of a unit with respect to each pixel, relative to its sum.

    Attributes:
        weights: (H, W), sums to 1; all 0 where no image has a gradient.
        sides: percentage -> side in pixels of the smallest square around the center that holds so much of the weights;
            empty where there is no gradient.
    """

    weights: Values
    sides: Mapping[int, int]

    @classmethod
    def of(cls, gradient: Values, center: tuple[float, float]) -> EffectiveField:
        """Of a gradient (H, W) that is not normalized."""
        total = float(gradient.sum())
        return cls(gradient / total, square_sides(gradient / total, center)) if total else cls(gradient, {})


@dataclass(frozen=True, kw_only=True)
class CenterUnit:
    """The effective receptive field of a layer's center unit, trained and untrained.

    Attributes:
        layer: its name.
        unit: (row, column) of the center unit.
        center: (row, column) of the center of its receptive field, px; between two pixels if the size is even.
        images: how many were averaged over.
        rows, columns: first and last pixel that the unit can see, inside the image.
        trained: with the weights of the run's best epoch.
        untrained: with the initial weights.
    """

    layer: str
    unit: tuple[int, int]
    center: tuple[float, float]
    images: int
    rows: Interval
    columns: Interval
    trained: EffectiveField
    untrained: EffectiveField


def measure(run: Run, layer: str | None, *, images: int) -> CenterUnit:
    """Measure a layer over the first test images of a run; the last layer with positions, if none is named.

    Raises:
        UsageError: there is no such layer, or it has no positions.
    """
    able = nodes_with_positions(run.network)
    if layer is None and not able:
        raise UsageError(
            "no layer of this network has positions", remedy="an effective receptive field needs a convolution"
        )
    node = able[-1] if layer is None else run.node(layer)
    if len(node.shape) != 3:
        raise UsageError(
            f"{node.name} has no positions, so it has no center unit",
            remedy="name a layer before flatten or a global pool",
        )
    return measure_layer(
        node.name,
        run.receptive_fields(node),
        trained=run.model,
        untrained=run.untrained(),
        images=_first(images, (batch for batch, _ in run.batches().epoch(1))),
    )


def measure_layer(
    layer: str, fields: ReceptiveFields, *, trained: CnnModule, untrained: CnnModule, images: Tensor
) -> CenterUnit:
    """Measure the effective receptive field of a layer's center unit.

    Args:
        layer: its name; it has positions.
        fields: its receptive fields.
        trained: the network with the weights that it learned.
        untrained: the network before its first step.
        images: (N, C, H, W), as the network gets them.
    """
    unit = (len(fields.axes[0].masks) // 2, len(fields.axes[1].masks) // 2)
    rows, columns = (axis.interval(at) or (0, 0) for axis, at in zip(fields.axes, unit, strict=True))
    center_row, center_column = (float(axis.center(at) or 0) for axis, at in zip(fields.axes, unit, strict=True))
    center = (center_row, center_column)
    return CenterUnit(
        layer=layer,
        unit=unit,
        center=center,
        images=len(images),
        rows=rows,
        columns=columns,
        trained=EffectiveField.of(mean_gradient(trained, layer, unit, images), center),
        untrained=EffectiveField.of(mean_gradient(untrained, layer, unit, images), center),
    )


def _first(count: int, batches: Iterable[Tensor]) -> Tensor:
    """The first `count` images of some batches: (N, C, H, W)."""
    import torch

    kept: list[Tensor] = []
    for batch in batches:
        kept.append(batch[: count - sum(map(len, kept))])
        if sum(map(len, kept)) >= count:
            break
    return torch.cat(kept)


def mean_gradient(model: CnnModule, layer: str, unit: tuple[int, int], images: Tensor) -> Values:
    """The magnitude of the gradient of a unit, summed over its channels, with respect to each pixel: (H, W).

    It is summed over the colors of a pixel and averaged over images (N, C, H, W). The model is in evaluation mode for
    this, and its parameters collect no gradient.
    """
    import torch

    from cnncli.capture.mode import evaluation_mode

    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    with evaluation_mode(model):
        for batch in torch.split(images, 64):
            inputs = batch.detach().clone().requires_grad_()
            maps = model.outputs(inputs, [layer])[layer]  # (N, C', H', W')
            (slope,) = torch.autograd.grad(maps[:, :, unit[0], unit[1]].sum(), inputs)  # (N, C, H, W)
            total += slope.abs().sum((0, 1)).double().cpu()
    mean: Values = (total / len(images)).numpy()
    return mean


def square_sides(weights: Values, center: tuple[float, float]) -> dict[int, int]:
    """Percentage -> side of the smallest square around `center` (row, column) that holds that share of weights (H, W).

    A pixel is in a square of side s if its center lies less than s / 2 from the square's on both axes.
    """
    rows, columns = np.indices(weights.shape)
    distance = np.maximum(np.abs(rows - center[0]), np.abs(columns - center[1]))
    distances = np.unique(distance)
    held = np.array([weights[distance <= each].sum() for each in distances]) / weights.sum()
    # Rounding must not cost a pixel: the sum of all is 1 to within 1e-9.
    return {share: int(2 * distances[int(np.argmax(held >= share / 100 - 1e-9))]) + 1 for share in SHARES}


def picture_of(run: Run, measured: CenterUnit) -> Picture:
    """Trained and untrained side by side, with the sides of the squares as numbers."""
    maps = {"trained": measured.trained, "untrained": measured.untrained}
    (top, bottom), (left, right) = measured.rows, measured.columns
    unit = f"{measured.layer}, unit {','.join(map(str, measured.unit))}"

    def draw(what: str, side: int = TILE) -> Canvas:
        return draw_effective(
            maps,
            receptive_field=(measured.rows, measured.columns),
            center=measured.center,
            title=f"{unit}: {what} over {measured.images} images",
            side=side,
        )

    return Picture(
        tag=f"effective_receptive_field/{run.network.numbered()[measured.layer]}",
        title=f"effective receptive field of {measured.layer}",
        canvas=draw("effective receptive field"),
        card=draw("effective RF", side=CARD_TILE).pixels,
        tiles=[
            Tile.of(each.weights, Scale.from_zero(each.weights), label=f"{unit}, {label}")
            for label, each in maps.items()
        ],
        numbers={f"{label}_{share}": side for label, each in maps.items() for share, side in each.sides.items()},
        data={
            "layer": measured.layer,
            "unit": list(measured.unit),
            "images": measured.images,
            "rows": list(measured.rows),
            "columns": list(measured.columns),
        },
        lines=[
            *(_squares(label, each) for label, each in maps.items()),
            f"the whole receptive field: rows {top} to {bottom}, columns {left} to {right}",
        ],
    )


def _squares(label: str, effective: EffectiveField) -> str:
    if not effective.sides:
        return f"{label}: no gradient"
    return f"{label}: {', '.join(f'{share}% in {side}x{side}' for share, side in effective.sides.items())} pixels"


def draw_effective(
    maps: Mapping[str, EffectiveField],
    *,
    receptive_field: tuple[Interval, Interval],
    center: tuple[float, float],
    title: str,
    side: int = TILE,
) -> Canvas:
    """Draw maps of one size: the square root of each value relative to the map's largest, because tails are thin.

    Args:
        maps: by label.
        receptive_field: first and last row, first and last column that the unit can see, inside the image; framed.
        center: (row, column) of the squares; they are framed, clipped at the border.
        title: above all of them.
        side: pixels for the longer side of a map.
    """
    letters = CARD_LETTERING if side == CARD_TILE else PAGE_LETTERING
    height, width = next(iter(maps.values())).weights.shape
    scale = max(1, side // max(height, width))
    captions = [_captions(each.sides) for each in maps.values()]
    texts = [*maps, *(line for caption in captions for line in caption)]
    least = WIDTH // len(maps) if letters is CARD_LETTERING else 0
    gap = letters.text // 2
    column = max(width * scale + gap, *(text_width(each, letters.text) + gap for each in texts), least)
    top = letters.title_height + letters.line
    lines = max(map(len, captions)) + 1
    bottom = top + 2 + height * scale + MARGIN
    across = max(column * len(maps), text_width(_LEGEND, letters.text) + 2 * MARGIN)
    if letters is PAGE_LETTERING:
        across = max(across, text_width(title, letters.title) + 2 * MARGIN)
    down = bottom + lines * letters.line
    canvas = Canvas(width=across, height=max(HEIGHT, down) if letters is CARD_LETTERING else down)
    canvas.text(MARGIN, 0, title, width=canvas.width - MARGIN, size=letters.title)
    for number, (label, each) in enumerate(maps.items()):
        x = number * column + MARGIN
        canvas.text(x, letters.title_height, label, width=column, size=letters.text)
        box = Box(x=x, y=top + 2, height=height, width=width, scale=scale)
        canvas.frame(box)
        canvas.tile(box, _colors(each.weights))
        for rows, columns in (
            receptive_field,
            *(_square(side, center, (height, width)) for side in each.sides.values()),
        ):
            canvas.frame(_inside(box, rows, columns))
        for place, line in enumerate(captions[number]):
            y = bottom + place * letters.line
            canvas.text(x, y, line, width=column, size=letters.text)
    canvas.text(MARGIN, bottom + (lines - 1) * letters.line, _LEGEND, width=canvas.width, size=letters.text)
    return canvas


def _captions(sides: Mapping[int, int]) -> list[str]:
    """The sides, two in a line."""
    if not sides:
        return ["no gradient at all"]
    parts = [f"{share}% in {side}" for share, side in sides.items()]
    return [", ".join(parts[place : place + 2]) + " px" for place in range(0, len(parts), 2)]


def _colors(weights: Values) -> Pixels:
    largest = float(weights.max())
    return sequential(np.sqrt(weights / largest) if largest else weights, 0.0, 1.0)


def _square(side: int, center: tuple[float, float], size: tuple[int, int]) -> tuple[Interval, Interval]:
    """Rows and columns of a square around a center, inside the image."""
    first, last = (tuple(int(middle + sign * (side - 1) / 2) for middle in center) for sign in (-1, 1))
    return (max(0, first[0]), min(size[0] - 1, last[0])), (max(0, first[1]), min(size[1] - 1, last[1]))


def _inside(box: Box, rows: Interval, columns: Interval) -> Box:
    """The part of an enlarged map that some rows and columns take."""
    return Box(
        x=box.x + columns[0] * box.scale + 1,
        y=box.y + rows[0] * box.scale + 1,
        height=(rows[1] - rows[0] + 1) * box.scale - 2,
        width=(columns[1] - columns[0] + 1) * box.scale - 2,
        scale=1,
    )
