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

from cnncli.analysis.graph import graph_of
from cnncli.analysis.receptive_field import Fields, receptive_fields
from cnncli.board.event_file import Board
from cnncli.errors import UsageError
from cnncli.experiment.setup import Experiment
from cnncli.geometry import Field
from cnncli.model import CnnModule
from cnncli.pictures.effective import effective_picture
from cnncli.spec.network import Network
from cnncli.training.checkpoint import load_weights, read_manifest
from cnncli.training.run_directory import RunDirectory

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
        images: how many were averaged over.
        rows, columns: first and last pixel that the unit can see, inside the image.
        trained: with the weights of the run's best epoch.
        untrained: with those that the run began with.
        picture: both maps, uint8 (H, W, 3).
    """

    layer: str
    unit: tuple[int, int]
    images: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    trained: Listening
    untrained: Listening
    picture: npt.NDArray[np.uint8]

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
    experiment: Experiment, run: RunDirectory, *, images: int, layer: str | None = None
) -> EffectiveField:
    """Measure the effective field on the first test images of a run, and write it to the run's event file.

    Args:
        experiment: the run's, as it was before its first step.
        run: where its weights are; on return the experiment's model has those of the best epoch.
        images: how many; fewer where the test part has fewer.
        layer: a layer with positions; the last one of them, if not given.

    Raises:
        UsageError: there is no such layer, or it has no positions.
        RunError: the run has no checkpoint yet, or a damaged one.
        DiskError: the event file cannot be written.
    """
    network = experiment.config.network
    name = layer or _last_with_positions(network)
    fields = _fields(network, name)
    unit = (len(fields[0].seen) // 2, len(fields[1].seen) // 2)
    rows, columns = (field.interval(at) or (0, 0) for field, at in zip(fields, unit, strict=True))
    centre = tuple(_centre(field, at) for field, at in zip(fields, unit, strict=True))
    step = int(read_manifest(run.best)["step"])
    inputs = _first(images, (batch for batch, _ in experiment.test.epoch(1)))
    untrained = _listening(gradients(experiment.model, name, unit, inputs), centre)
    load_weights(run.best, experiment.model)
    trained = _listening(gradients(experiment.model, name, unit, inputs), centre)
    maps = {"trained": trained, "untrained": untrained}
    picture = effective_picture(
        {each: (found.weights, found.sides) for each, found in maps.items()},
        field=(rows, columns),
        centre=(float(centre[0]), float(centre[1])),
        title=f"{name}, unit {unit[0]},{unit[1]}: effective field over {len(inputs)} images",
    )
    tag = f"effective/{network.numbered()[name]}"
    with Board(run.path) as board:
        board.pictures(step, {tag: picture})
        numbers = {f"{tag}/{each}_{share}": side for each, found in maps.items() for share, side in found.sides.items()}
        board.scalars(step, numbers)
    return EffectiveField(
        layer=name,
        unit=unit,
        images=len(inputs),
        rows=rows,
        columns=columns,
        trained=trained,
        untrained=untrained,
        picture=picture,
    )


def _last_with_positions(network: Network) -> str:
    names = [node.name for node in network.nodes if len(node.shape) == 3 and max(node.shape[1:]) > 1]
    if not names:
        raise UsageError("no layer of this network has positions", remedy="an effective field needs a convolution")
    return names[-1]


def _fields(network: Network, layer: str) -> tuple[Field, Field]:
    """The fields of a layer over rows and columns."""
    nodes = {node.name: node for node in network.nodes}
    if layer not in nodes:
        raise UsageError(f"there is no layer {layer}", remedy=f"its layers are {', '.join(nodes)}")
    if len(nodes[layer].shape) != 3:
        raise UsageError(
            f"{layer} has no positions, so it has no centre", remedy="name a layer before flatten or a global pool"
        )
    fields = receptive_fields(graph_of(network, ""))[layer]
    assert isinstance(fields, Fields), "every layer of a config is known"
    over_rows, over_columns = fields.axes
    return over_rows, over_columns


def _centre(field: Field, unit: int) -> Fraction:
    """The middle of what a unit sees, padding included where that has a closed form."""
    if field.cycle is not None:
        pattern = field.cycle.pattern(unit)
        return Fraction(pattern.start + pattern.end, 2)
    first, last = field.interval(unit) or (0, 0)
    return Fraction(first + last, 2)


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
    training = model.training
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    try:
        for batch in torch.split(images, 64):  # (N, C, H, W)
            inputs = batch.detach().clone().requires_grad_()
            maps = model.eval().outputs(inputs, [layer])[layer]  # (N, C', H', W')
            (slope,) = torch.autograd.grad(maps[:, :, unit[0], unit[1]].sum(), inputs)  # (N, C, H, W)
            total += slope.abs().sum((0, 1)).double().cpu()
    finally:
        model.train(training)
    mean: Map = (total / len(images)).numpy()
    return mean


def _listening(gradient: Map, centre: tuple[Fraction, ...]) -> Listening:
    whole = float(gradient.sum())
    if whole == 0:
        return Listening(gradient, {})
    return Listening(gradient / whole, square_sides(gradient / whole, (float(centre[0]), float(centre[1]))))


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
