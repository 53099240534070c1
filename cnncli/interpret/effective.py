"""The effective receptive field: which pixels a unit really listens to, and how much.

After Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks"
(NeurIPS 2016): the gradient of the centre unit with respect to the input, its magnitude averaged over images. The field
that an architecture allows is usually much wider than the part of it that weighs.

Letters for shapes: N images, C channels, H height, W width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnncli.analysis.receptive_field import Fields
from cnncli.geometry import Field
from cnncli.model import CnnModule
from cnncli.training.evaluate import evaluating

SHARES = (20, 50, 90, 99)
"""Per cent of the gradient that the squares hold whose sides are given."""

Map = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Listening:
    """How much a unit listens to each pixel, and the sides of the squares around its centre that hold most of that.

    Attributes:
        weights: (H, W), sums to 1; all 0 where no image has any gradient.
        sides: per cent -> side in pixels; empty where there is no gradient.
    """

    weights: Map
    sides: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class EffectiveField:
    """The effective field of a layer's centre unit, trained and untrained.

    Attributes:
        layer: its name.
        unit: (row, column) of the centre unit.
        centre: (row, column) of the middle of what it sees, px; between two pixels where that is even.
        images: how many were averaged over.
        rows, columns: first and last pixel that the unit can see, inside the image.
        trained: with the weights of the run's best epoch.
        untrained: with those that the run began with.
    """

    layer: str
    unit: tuple[int, int]
    centre: tuple[float, float]
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
    layer: str, fields: Fields, *, trained: CnnModule, untrained: CnnModule, images: Iterable[Tensor], count: int
) -> EffectiveField:
    """Measure the effective field of a layer's centre unit.

    Args:
        layer: its name; it has positions.
        fields: what its units can see.
        trained: the network with the weights that it learned.
        untrained: the same before its first step.
        images: batches (N, C, H, W), as the network gets them.
        count: over how many of them to average, the first ones; fewer where there are fewer.
    """
    over_rows, over_columns = fields.axes
    unit = (len(over_rows.seen) // 2, len(over_columns.seen) // 2)
    rows, columns = (field.interval(at) or (0, 0) for field, at in zip(fields.axes, unit, strict=True))
    centre = (_centre(over_rows, unit[0]), _centre(over_columns, unit[1]))
    inputs = _first(count, images)
    return EffectiveField(
        layer=layer,
        unit=unit,
        centre=centre,
        images=len(inputs),
        rows=rows,
        columns=columns,
        trained=_listening(gradients(trained, layer, unit, inputs), centre),
        untrained=_listening(gradients(untrained, layer, unit, inputs), centre),
    )


def _centre(field: Field, unit: int) -> float:
    """The middle of what a unit sees, padding included where that has a closed form."""
    if field.cycle is not None:
        pattern = field.cycle.pattern(unit)
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
    with evaluating(model):
        for batch in torch.split(images, 64):  # (N, C, H, W)
            inputs = batch.detach().clone().requires_grad_()
            maps = model.outputs(inputs, [layer])[layer]  # (N, C', H', W')
            (slope,) = torch.autograd.grad(maps[:, :, unit[0], unit[1]].sum(), inputs)  # (N, C, H, W)
            total += slope.abs().sum((0, 1)).double().cpu()
    mean: Map = (total / len(images)).numpy()
    return mean


def _listening(gradient: Map, centre: tuple[float, float]) -> Listening:
    whole = float(gradient.sum())
    if whole == 0:
        return Listening(gradient, {})
    return Listening(gradient / whole, square_sides(gradient / whole, centre))


def square_sides(weights: Map, centre: tuple[float, float]) -> dict[int, int]:
    """Per cent -> side of the smallest square around `centre` (row, column) that holds that share of weights (H, W).

    A pixel is in a square of side s if its middle lies less than s / 2 from the centre on both axes.
    """
    rows, columns = np.indices(weights.shape)
    distance = np.maximum(np.abs(rows - centre[0]), np.abs(columns - centre[1]))
    distances = np.unique(distance)
    held = np.array([weights[distance <= each].sum() for each in distances]) / weights.sum()
    # Rounding must not demand a pixel more: the sum of all is 1 to within 1e-9.
    return {share: int(2 * distances[int(np.argmax(held >= share / 100 - 1e-9))]) + 1 for share in SHARES}
