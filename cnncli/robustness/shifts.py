"""How the maps of each layer follow a shift of the input (equivariance), and how little they change (invariance).

Zhang, "Making Convolutional Networks Shift-Invariant Again" (ICML 2019), and Azulay and Weiss, "Why do deep
convolutional networks generalize so poorly to small image transformations?" (JMLR 2019), show that strides and pools
give up the first and buy less of the second than is often said.

Let F(x) be the maps of a layer for an image x, T the shift of an image by s pixels, and j the jump of the layer: the
pixels from one unit to the next. With sums over images, channels and positions, and m the mean of b over images,

    agreement(a, b) = max(0, 1 - sum (a - b)² / sum ((a - m)² + (b - m)²))

is 1 if a equals b, and 0 if a is no closer to b than the maps of an unrelated image. Then

    invariance   = agreement(F(T x), F(x)) over all positions;
    equivariance = agreement(F(T x), F(x) moved by s / j positions) over the interior: the positions whose receptive
                   fields, before and after the shift, lie inside the image along the axis of the shift, and do not
                   reach what has come in from outside. Between two positions, F(x) is interpolated linearly.

Letters: N images, C channels, P positions along the axis of a shift.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

import torch
from torch import Tensor

from cnncli.capture.mode import evaluation_mode
from cnncli.config.network import Node
from cnncli.data.images import ImageSet
from cnncli.data.tta import Variant
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.windows import AxisReceptiveField, ClosedForm

IMAGES = 128
"""Images over which the measures are taken."""
_BATCH = 32
"""Images at once: the maps of all layers are in memory."""
_MOST_PIXELS = 8

Shifted = Callable[[int, int], Iterable[Tensor]]
"""Pixels to the right and down -> batches of the shifted images (N, C, H, W), always in the same order."""


@dataclass(frozen=True, kw_only=True)
class LayerShifts:
    """The equivariance and invariance of a layer, from 0 to 1, averaged over shifts to the right and down.

    Attributes:
        layer, type: its name and type.
        period: pixels along (height, width) after which the receptive fields of its units repeat: the jump, except
            after layers that enlarge the maps. None for a layer without positions.
        equivariance: by the shift in pixels; None where no unit is free of the border, or the layer has no positions.
        invariance: by the shift in pixels; None where the layer has the same output for all images.
    """

    layer: str
    type: str
    period: tuple[int, ...] | None
    equivariance: Mapping[int, float | None]
    invariance: Mapping[int, float | None]

    @property
    def aligned(self) -> float | None:
        """The mean equivariance at shifts by multiples of the period."""
        return _mean(value for pixels, value in self.equivariance.items() if self._is_aligned(pixels))

    @property
    def between(self) -> float | None:
        """The mean equivariance at the other shifts."""
        return _mean(value for pixels, value in self.equivariance.items() if not self._is_aligned(pixels))

    def _is_aligned(self, pixels: int) -> bool:
        return self.period is not None and all(pixels % each == 0 for each in self.period)

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "layer": self.layer,
            "type": self.type,
            "period": None if self.period is None else list(self.period),
            "equivariance_aligned": self.aligned,
            "equivariance_between": self.between,
            "shifts": [
                {"pixels": pixels, "equivariance": self.equivariance[pixels], "invariance": self.invariance[pixels]}
                for pixels in self.invariance
            ],
        }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def shifts_for(side: int) -> list[int]:
    """The shifts in pixels for images whose shorter side has so many: up to 8, and up to a third of the side."""
    return list(range(1, max(2, min(_MOST_PIXELS, side // 3) + 1)))


def measure_run(run: Run, images: ImageSet, indices: Tensor) -> list[LayerShifts]:
    """The measures of each layer of a run.

    Args:
        run: the network.
        images: (N, C, H, W), uint8.
        indices: of those that are used.
    """

    def shifted(right: int, down: int) -> Iterator[Tensor]:
        variant = Variant(right=right, down=down)
        batches = run.batches(images, indices=indices, batch_size=_BATCH, transform=variant)
        return (batch for batch, _ in batches.epoch(1))

    fields = {node.name: run.receptive_fields(node) for node in run.network.nodes}
    return measure_layers(run.model, fields, shifted, shifts_for(min(images.images.shape[2:])))


def measure_layers(
    model: CnnModule, fields: Mapping[str, ReceptiveFields], shifted: Shifted, shifts: Sequence[int]
) -> list[LayerShifts]:
    """The measures of each layer of a network.

    Args:
        model: the network.
        fields: the receptive fields of its layers.
        shifted: the images, shifted.
        shifts: in pixels.
    """
    nodes = model.network.nodes
    names = [node.name for node in nodes]
    size = model.network.input_shape[1:]
    layers = {node.name: _Layer(node, fields[node.name], size) for node in nodes}
    with evaluation_mode(model), torch.inference_mode():
        means = _means(model, names, shifted(0, 0))
        for pixels in shifts:
            for axis, (right, down) in enumerate(((0, pixels), (pixels, 0))):
                for plain, moved in zip(shifted(0, 0), shifted(right, down), strict=True):
                    before, after = model.outputs(plain, names), model.outputs(moved, names)
                    for name, layer in layers.items():
                        layer.add(before[name], after[name], means[name], pixels=pixels, axis=axis)
    return [layer.result(shifts) for layer in layers.values()]


def _means(model: CnnModule, names: Sequence[str], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """The mean output of each layer over images."""
    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        count += len(batch)
        for name, maps in model.outputs(batch, names).items():
            sums[name] = sums.get(name, 0) + maps.sum(dim=0)
    return {name: total / count for name, total in sums.items()}


@dataclass
class _Sums:
    """The sums of an agreement."""

    difference: float = 0.0
    spread: float = 0.0

    def add(self, a: Tensor, b: Tensor, mean: Tensor) -> None:
        a, b, mean = a.double(), b.double(), mean.double()
        self.difference += float((a - b).square().sum())
        self.spread += float((a - mean).square().sum() + (b - mean).square().sum())

    @property
    def agreement(self) -> float | None:
        return max(0.0, 1 - self.difference / self.spread) if self.spread else None


@dataclass
class _Layer:
    """The sums of a layer, by shift."""

    node: Node
    fields: ReceptiveFields
    size: tuple[int, ...]
    equivariance: dict[int, _Sums] = field(default_factory=dict)
    invariance: dict[int, _Sums] = field(default_factory=dict)

    def add(self, before: Tensor, after: Tensor, mean: Tensor, *, pixels: int, axis: int) -> None:
        """Add the outputs for a batch before and after a shift along an axis, 0 for height."""
        self.invariance.setdefault(pixels, _Sums()).add(after, before, mean)
        sums = self.equivariance.setdefault(pixels, _Sums())
        interior = _interior(self.fields.axes[axis], pixels, size=self.size[axis]) if self._has_positions else None
        if interior is None:
            return
        along = 1 + axis  # of a map (C, H, W)
        units, sources, fraction = interior
        units, sources = units.to(before.device), sources.to(before.device)

        def moved(maps: Tensor, dimension: int) -> Tensor:
            near = maps.index_select(dimension, sources)
            return near.lerp(maps.index_select(dimension, sources - 1), fraction) if fraction else near

        sums.add(after.index_select(along + 1, units), moved(before, along + 1), moved(mean, along))

    @property
    def _has_positions(self) -> bool:
        return len(self.node.shape) == 3 and max(self.node.shape[1:]) > 1

    def result(self, shifts: Sequence[int]) -> LayerShifts:
        """The measures."""
        forms = [_form(axis) for axis in self.fields.axes] if self._has_positions else []
        periods = tuple(form.step for form in forms if form is not None)
        return LayerShifts(
            layer=self.node.name,
            type=self.node.layer.type,
            period=periods if forms and len(periods) == len(forms) else None,
            equivariance={pixels: self.equivariance[pixels].agreement for pixels in shifts},
            invariance={pixels: self.invariance[pixels].agreement for pixels in shifts},
        )


def _form(axis: AxisReceptiveField) -> ClosedForm | None:
    """The closed form of an axis; without one, that of the largest path on which no layer reads every position."""
    if axis.closed_form is not None:
        return axis.closed_form
    return axis.largest_paths[0] if len(axis.largest_paths) == 1 else None


def _interior(axis: AxisReceptiveField, pixels: int, *, size: int) -> tuple[Tensor, Tensor, float] | None:
    """The units that neither the border nor what a shift brings in can reach, and where they were before the shift.

    Args:
        axis: the receptive fields along the axis of the shift.
        pixels: the shift.
        size: pixels of the input along the axis.

    Returns:
        The units after the shift, int64 (P,); the same units before the shift, (P,); and the fraction by which these
        lie after their true place, towards the previous unit. None if there are no such units.
    """
    form = _form(axis)
    if form is None:
        return None
    shift = pixels / form.jump  # in units, exact
    whole = floor(shift)
    fraction = shift - whole

    def inside(unit: int) -> bool:
        pattern = form.pattern(unit)
        return 0 <= unit < len(axis.masks) and pattern.start >= 0 and pattern.end < size

    # What a shift brings in reaches only units whose receptive fields began outside the image before the shift.
    units = [
        unit
        for unit in range(len(axis.masks))
        if inside(unit) and inside(unit - whole) and (not fraction or inside(unit - whole - 1))
    ]
    if not units:
        return None
    after = torch.tensor(units)
    return after, after - whole, float(fraction)
