"""The effective receptive field of a run's layers, as measured and as a picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnncli.capture.mode import evaluation_mode
from cnncli.drawing.canvas import Box, Canvas, text_width
from cnncli.drawing.color import Pixels, Scale, sequential
from cnncli.drawing.image import Tile
from cnncli.drawing.layout import HEIGHT, LINE, TITLE_SIZE, WIDTH
from cnncli.errors import UsageError
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views.view import Exhibit, with_positions
from cnncli.windows import AxisReceptiveField

SHARES = (20, 50, 90, 99)
"""Per cent of the gradient that the squares hold whose sides are given."""

Map = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Listening:
    """How much a unit listens to each pixel, and the sides of the squares around its center that hold most of that.

    Attributes:
        weights: (H, W), sums to 1; all 0 where no image has any gradient.
        sides: per cent -> side in pixels; empty where there is no gradient.
    """

    weights: Map
    sides: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class EffectiveField:
    """The effective field of a layer's center unit, trained and untrained.

    Attributes:
        layer: its name.
        unit: (row, column) of the center unit.
        center: (row, column) of the middle of what it sees, px; between two pixels where that is even.
        images: how many were averaged over.
        rows, columns: first and last pixel that the unit can see, inside the image.
        trained: with the weights of the run's best epoch.
        untrained: with those that the run began with.
    """

    layer: str
    unit: tuple[int, int]
    center: tuple[float, float]
    images: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    trained: Listening
    untrained: Listening

    def as_json(self) -> dict[str, Any]:
        """The numbers, with per cents as texts: `{"trained": {"20": 3, ...}, ...}`."""
        return {
            "layer": self.layer,
            "unit": list(self.unit),
            "images": self.images,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "trained": {str(share): side for share, side in self.trained.sides.items()},
            "untrained": {str(share): side for share, side in self.untrained.sides.items()},
        }


def effective_field(
    layer: str,
    fields: ReceptiveFields,
    *,
    trained: CnnModule,
    untrained: CnnModule,
    images: Iterable[Tensor],
    count: int,
) -> EffectiveField:
    """Measure the effective field of a layer's center unit.

    Args:
        layer: its name; it has positions.
        fields: what its units can see.
        trained: the network with the weights that it learned.
        untrained: the same before its first step.
        images: batches (N, C, H, W), as the network gets them.
        count: over how many of them to average, the first ones; fewer where there are fewer.
    """
    over_rows, over_columns = fields.axes
    unit = (len(over_rows.masks) // 2, len(over_columns.masks) // 2)
    rows, columns = (field.interval(at) or (0, 0) for field, at in zip(fields.axes, unit, strict=True))
    center = (_center(over_rows, unit[0]), _center(over_columns, unit[1]))
    inputs = _first(count, images)
    return EffectiveField(
        layer=layer,
        unit=unit,
        center=center,
        images=len(inputs),
        rows=rows,
        columns=columns,
        trained=_listening(gradients(trained, layer, unit, inputs), center),
        untrained=_listening(gradients(untrained, layer, unit, inputs), center),
    )


def _center(field: AxisReceptiveField, unit: int) -> float:
    """The middle of what a unit sees, padding included where that has a closed form."""
    if field.closed_form is not None:
        pattern = field.closed_form.pattern(unit)
        return float(Fraction(pattern.start + pattern.end, 2))
    first, last = field.interval(unit) or (0, 0)
    return (first + last) / 2


def _first(count: int, batches: Iterable[Tensor]) -> Tensor:
    """The first `count` images of some batches: (N, C, H, W)."""
    kept: list[Tensor] = []
    for batch in batches:
        kept.append(batch[: count - sum(map(len, kept))])
        if sum(map(len, kept)) >= count:
            break
    return torch.cat(kept)


def gradients(model: CnnModule, layer: str, unit: tuple[int, int], images: Tensor) -> Map:
    """How much a unit, summed over its channels, changes with each pixel: (H, W), the mean over images (N, C, H, W).

    The model is in evaluation mode for this, and its parameters collect no gradient.
    """
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    with evaluation_mode(model):
        for batch in torch.split(images, 64):  # (N, C, H, W)
            inputs = batch.detach().clone().requires_grad_()
            maps = model.outputs(inputs, [layer])[layer]  # (N, C', H', W')
            (slope,) = torch.autograd.grad(maps[:, :, unit[0], unit[1]].sum(), inputs)  # (N, C, H, W)
            total += slope.abs().sum((0, 1)).double().cpu()
    mean: Map = (total / len(images)).numpy()
    return mean


def _listening(gradient: Map, center: tuple[float, float]) -> Listening:
    whole = float(gradient.sum())
    if whole == 0:
        return Listening(gradient, {})
    return Listening(gradient / whole, square_sides(gradient / whole, center))


def square_sides(weights: Map, center: tuple[float, float]) -> dict[int, int]:
    """Per cent -> side of the smallest square around `center` (row, column) that holds that share of weights (H, W).

    A pixel is in a square of side s if its middle lies less than s / 2 from the center on both axes.
    """
    rows, columns = np.indices(weights.shape)
    distance = np.maximum(np.abs(rows - center[0]), np.abs(columns - center[1]))
    distances = np.unique(distance)
    held = np.array([weights[distance <= each].sum() for each in distances]) / weights.sum()
    # Rounding must not demand a pixel more: the sum of all is 1 to within 1e-9.
    return {share: int(2 * distances[int(np.argmax(held >= share / 100 - 1e-9))]) + 1 for share in SHARES}


TILE = 140
"""Pixels for the longer side of a map: two of them fit a card of TensorBoard."""
MARGIN = 4

EffectiveMap = npt.NDArray[np.float64]
Interval = tuple[int, int]


def effective_picture(
    maps: Mapping[str, tuple[EffectiveMap, Mapping[int, int]]],
    *,
    field: tuple[Interval, Interval],
    center: tuple[float, float],
    title: str,
) -> Pixels:
    """Draw maps of one size, each relative to its own largest value, and as its square root: tails are thin.

    Args:
        maps: label -> weights (H, W) from 0 up, and per cent -> side of the square around the center that holds it.
        field: first and last row, first and last column that the unit can see, inside the image; framed.
        center: (row, column) of the squares; they are framed, cut off at the border.
        title: above all of them.
    """
    height, width = next(iter(maps.values()))[0].shape
    scale = max(1, TILE // max(height, width))
    captions = [_captions(sides) for _, sides in maps.values()]
    texts = [*maps, *(line for caption in captions for line in caption)]
    column = max(width * scale + 2 * MARGIN, *(text_width(each) + MARGIN for each in texts), WIDTH // len(maps))
    top = MARGIN + 2 * LINE
    lines = max(map(len, captions)) + 1
    canvas = Canvas(
        width=max(column * len(maps), text_width(title, TITLE_SIZE) + 2 * MARGIN, text_width(_LEGEND) + 2 * MARGIN),
        height=max(HEIGHT, top + 2 + height * scale + MARGIN + lines * LINE),
    )
    canvas.text(MARGIN, 0, title, width=column * len(maps), size=TITLE_SIZE)
    for number, (label, (weights, sides)) in enumerate(maps.items()):
        x = number * column + MARGIN
        canvas.text(x, LINE + MARGIN, label, width=column)
        box = Box(x=x, y=top + 2, height=height, width=width, scale=scale)
        canvas.frame(box)
        canvas.tile(box, _colored(weights))
        for rows, columns in (field, *(_square(side, center, (height, width)) for side in sides.values())):
            canvas.frame(_inside(box, rows, columns))
        for place, line in enumerate(captions[number]):
            canvas.text(x, box.bottom + MARGIN + place * LINE, line, width=column)
    canvas.text(MARGIN, top + 2 + height * scale + MARGIN + (lines - 1) * LINE, _LEGEND, width=column * len(maps))
    return canvas.pixels


_LEGEND = "frames: the whole field, the squares; colors: square root"


def _captions(sides: Mapping[int, int]) -> list[str]:
    """The sides, two in a line."""
    if not sides:
        return ["no gradient at all"]
    parts = [f"{share}% in {side}" for share, side in sides.items()]
    return [", ".join(parts[place : place + 2]) + " px" for place in range(0, len(parts), 2)]


def _colored(weights: EffectiveMap) -> Pixels:
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


IMAGES = 100
"""To average over, if no number is given."""


def effective(run: Run, *, layers: Sequence[str] = (), images: int = IMAGES) -> Iterator[Exhibit]:
    """A picture for each of `layers`, or of the last layer that has positions.

    Args:
        run: whose layers they are.
        layers: their names.
        images: test images to average over.

    Raises:
        UsageError: one of them is not there, or has no positions.
    """
    for layer in layers or (None,):
        yield drawn(run, measured(run, layer, images=images))


def measured(run: Run, layer: str | None, *, images: int) -> EffectiveField:
    """The effective field of a layer over the first test images; of the last layer with positions, if none is named.

    Raises:
        UsageError: there is no such layer, or it has no positions.
    """
    able = with_positions(run.network)
    if layer is None and not able:
        raise UsageError("no layer of this network has positions", remedy="an effective field needs a convolution")
    node = able[-1] if layer is None else run.node(layer)
    if len(node.shape) != 3:
        raise UsageError(
            f"{node.name} has no positions, so it has no center", remedy="name a layer before flatten or a global pool"
        )
    batches = (batch for batch, _ in run.batches().epoch(1))
    return effective_field(
        node.name,
        run.receptive_fields(node),
        trained=run.model,
        untrained=run.untrained(),
        images=batches,
        count=images,
    )


def drawn(run: Run, field: EffectiveField) -> Exhibit:
    """Its picture, trained and untrained side by side, with the sides of the squares as numbers."""
    maps = {"trained": field.trained, "untrained": field.untrained}
    (top, bottom), (left, right) = field.rows, field.columns
    unit = ",".join(map(str, field.unit))
    return Exhibit(
        tag=f"effective/{run.network.numbered()[field.layer]}",
        title=f"effective field of {field.layer}",
        pixels=effective_picture(
            {label: (found.weights, found.sides) for label, found in maps.items()},
            field=(field.rows, field.columns),
            center=field.center,
            title=f"{field.layer}, unit {unit}: effective field over {field.images} images",
        ),
        tiles=[
            Tile.of(found.weights, Scale.from_zero(found.weights), label=f"{field.layer}, unit {unit}, {label}")
            for label, found in maps.items()
        ],
        numbers={f"{label}_{share}": side for label, found in maps.items() for share, side in found.sides.items()},
        lines=[
            *(_sides(label, found) for label, found in maps.items()),
            f"the whole field: rows {top} to {bottom}, columns {left} to {right}",
        ],
    )


def _sides(label: str, found: Listening) -> str:
    if not found.sides:
        return f"{label}: no gradient"
    squares = ", ".join(f"{share}% in {side}x{side}" for share, side in found.sides.items())
    return f"{label}: {squares} pixels"
