"""Operators that read maps between positions: resizing, sampling at a grid, regions.

Along one axis, a resized map is a matrix product of the map with the weights of the interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.capture.effect import window_of_weights
from cnncli.capture.onnx.operators.registry import Spec, Unsupported, ints, operator
from cnncli.capture.record import as_operator
from cnncli.windows import Resampled, Window
from cnncli.windows.window import Interpolation

_INTERPOLATIONS: dict[str, Interpolation] = {"nearest": "nearest", "linear": "linear", "cubic": "cubic"}
_MAX_SIZE = 1 << 13
"""Larger sides have no matrix of weights."""


@operator("Upsample", numbers=(1,))
def upsample(spec: Spec, x: Tensor, scales: np.ndarray | None = None) -> Tensor:
    """Resizing as it was before version 10: positions lie at multiples of the scale."""
    factors = [float(each) for each in (spec.get("scales", []) if scales is None else scales.flatten())]
    sizes = [_scaled(n, s) for n, s in zip(x.shape, factors, strict=True)]
    mode = "linear" if spec.get("mode", "nearest") != "nearest" else "nearest"
    return _resized(x, sizes, factors, _Mode(mode, "asymmetric", "floor"))


@operator("Resize", numbers=(1, 2, 3))
def resize(
    spec: Spec,
    x: Tensor,
    roi: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
) -> Tensor:
    """Resizing to given sizes, or by given scales."""
    if spec.version < 11:
        return upsample(spec, x, roi)
    coordinates = spec.get("coordinate_transformation_mode", "half_pixel")
    axes = [axis % x.ndim for axis in spec.get("axes", range(x.ndim))]
    target, factors = list(x.shape), [1.0] * x.ndim
    if sizes is not None and sizes.size:
        wanted = ints(sizes)
        ratios = [size / x.shape[axis] for axis, size in zip(axes, wanted, strict=True)]
        policy = spec.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [ratio] * len(axes)
            wanted = [floor(x.shape[axis] * ratio + 0.5) for axis in axes]
        for axis, size, ratio in zip(axes, wanted, ratios, strict=True):
            target[axis], factors[axis] = size, ratio
    elif scales is not None and scales.size:
        for axis, factor in zip(axes, scales.flatten().tolist(), strict=True):
            target[axis], factors[axis] = _scaled(x.shape[axis], factor), factor
    else:
        raise Unsupported("has neither sizes nor scales")
    mode = _Mode(
        spec.get("mode", "nearest"),
        coordinates,
        spec.get("nearest_mode", "round_prefer_floor"),
        cubic=spec.get("cubic_coeff_a", -0.75),
        exclude_outside=bool(spec.get("exclude_outside", 0)),
        antialias=bool(spec.get("antialias", 0)),
    )
    if coordinates == "tf_crop_and_resize":
        if roi is None or roi.size != 2 * len(axes):
            raise Unsupported("resizes a region that it does not name")
        mode.regions = {
            axis: (float(roi[i]), float(roi[len(axes) + i])) for i, axis in enumerate(axes)
        }  # fmt: skip
    return _resized(x, target, factors, mode)


def _scaled(size: int, factor: float) -> int:
    """A size times a scale, in single precision as in onnxruntime."""
    return floor(np.float32(size) * np.float32(factor))


class _Mode:
    """How a map is interpolated."""

    def __init__(
        self,
        mode: str,
        coordinates: str,
        nearest: str,
        *,
        cubic: float = -0.75,
        exclude_outside: bool = False,
        antialias: bool = False,
    ) -> None:
        if mode not in _INTERPOLATIONS:
            raise Unsupported(f"resizes in the mode {mode}")
        self.mode, self.coordinates, self.nearest = _INTERPOLATIONS[mode], coordinates, nearest
        self.regions: dict[int, tuple[float, float]] = {}  # axis -> the part of it that is resized
        self.cubic, self.exclude_outside, self.antialias = cubic, exclude_outside, antialias

    def weights(self, axis: int, size: int, units: int, scale: float) -> np.ndarray:
        """The weights (units, size) of the positions of an axis."""
        found = np.zeros((units, size))
        for unit in range(units):
            point = self._point(unit, size, units, scale)
            if self.coordinates == "tf_crop_and_resize":
                first, last = ((size - 1) * each for each in self.regions.get(axis, (0.0, 1.0)))
                point = first + unit * (last - first) / (units - 1) if units > 1 else (first + last) / 2
                if not 0 <= point <= size - 1:
                    continue  # a constant
            if self.mode == "nearest":
                found[unit, min(max(self._nearest(point), 0), size - 1)] = 1
                continue
            taps = self._taps(point, scale)
            if self.exclude_outside:
                taps = [(tap, weight) for tap, weight in taps if 0 <= tap < size]
            total = sum(weight for _, weight in taps) if self.exclude_outside or self.antialias else 1.0
            for tap, weight in taps:
                found[unit, min(max(tap, 0), size - 1)] += weight / total
        return found.astype(np.float32)

    def _point(self, unit: int, size: int, units: int, scale: float) -> float:
        """The position of a unit on the axis of input positions, in single precision as in onnxruntime."""
        i, by, half = np.float32(unit), np.float32(scale), np.float32(0.5)
        match self.coordinates:
            case "align_corners":
                return 0.0 if units == 1 else float(i * np.float32(size - 1) / np.float32(units - 1))
            case "asymmetric":
                return float(i / by)
            case "pytorch_half_pixel":
                return float((i + half) / by - half) if units > 1 else 0.0
            case "half_pixel_symmetric":
                exact = by * np.float32(size)  # of the output, if it were not rounded
                return float(half * np.float32(size) * (1 - np.float32(units) / exact) + (i + half) / by - half)
            case "tf_half_pixel_for_nn":
                return float((i + half) / by)
            case "half_pixel" | "tf_crop_and_resize":
                return float((i + half) / by - half)
        raise Unsupported(f"resizes with the coordinates {self.coordinates}")

    def _nearest(self, point: float) -> int:
        match self.nearest:
            case "floor":
                return floor(point)
            case "ceil":
                return ceil(point)
            case "round_prefer_ceil":
                return floor(point + 0.5)
        return ceil(point - 0.5)

    def _taps(self, point: float, scale: float) -> list[tuple[int, float]]:
        """The positions around a point, with their weights."""
        stretch = min(scale, 1.0) if self.antialias else 1.0
        reach = (2 if self.mode == "cubic" else 1) / stretch
        near = range(floor(point - reach), ceil(point + reach) + 1)
        taps = [(tap, self._kernel((tap - point) * stretch)) for tap in near]
        return [(tap, weight) for tap, weight in taps if weight]

    def _kernel(self, distance: float) -> float:
        """The weight of a position at a distance."""
        x, a = abs(distance), self.cubic
        if self.mode == "linear":
            return max(0.0, 1 - x)
        if x <= 1:
            return ((a + 2) * x - (a + 3)) * x * x + 1
        return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _resized(x: Tensor, sizes: Sequence[int], scales: Sequence[float], mode: _Mode) -> Tensor:
    """A map with other sizes."""
    changed = [
        axis for axis, (n, m, s) in enumerate(zip(x.shape, sizes, scales, strict=True)) if n != m or s != 1
    ]  # fmt: skip
    if not changed:
        return torch.clone(x)
    if min(changed) < 2:
        raise Unsupported("resizes the axis of images or of channels")
    if min(sizes) < 1 or max(*sizes, *x.shape) > _MAX_SIZE:
        raise Unsupported(f"resizes to a side below 1 or above {_MAX_SIZE}")
    weights = {axis: mode.weights(axis, x.shape[axis], sizes[axis], scales[axis]) for axis in changed}
    windows: list[Window | None] = [
        _window(weights[axis], x.shape[axis], sizes[axis], mode) if axis in weights else None
        for axis in range(2, x.ndim)
    ]

    def compute() -> Tensor:
        result = x
        for axis, matrix in weights.items():
            numbers = torch.from_numpy(matrix).to(device=x.device, dtype=x.dtype if x.is_floating_point() else None)
            moved = result.movedim(axis, -1).to(numbers.dtype) @ numbers.T
            result = moved.movedim(-1, axis)
        return result.to(x.dtype)

    return as_operator("sliding", {"self": x, "windows": tuple(windows), "type": "upsample"}, compute)


def _window(weights: np.ndarray, size: int, units: int, mode: _Mode) -> Window:
    """The window of these weights, as torch's interpolation if it reads the same positions."""
    modes: list[Interpolation] = ["nearest", "nearest-exact"] if mode.mode == "nearest" else [mode.mode]
    likely = [
        Resampled(units=units, mode=each, align_corners=mode.coordinates == "align_corners" and mode.mode != "nearest")
        for each in modes
    ]
    return window_of_weights(torch.from_numpy(weights).T, size, likely)


@operator("GridSample")
def grid_sample(spec: Spec, x: Tensor, grid: Tensor) -> Tensor:
    """Numbers of a map at places that a second tensor gives."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(spec.get("mode", "linear"), spec.get("mode", "linear"))
    padding = spec.get("padding_mode", "zeros")
    return functional.grid_sample(x, grid, mode, padding, bool(spec.get("align_corners", 0)))


@operator("RoiAlign", "MaxRoiPool")
def regions(spec: Spec, _x: Tensor, _rois: Tensor, *_: Any) -> Tensor:
    """Numbers of regions, whose places are inputs."""
    raise Unsupported("reads regions whose places are computed")
