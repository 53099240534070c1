"""Equivariance and invariance: what must be exact, and the definition worked out in NumPy."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cnncli.config.network import Network
from cnncli.data.tta import shifted
from cnncli.inspection.receptive_field import ReceptiveFields
from cnncli.inspection.table import inspect_network
from cnncli.module import CnnModule
from cnncli.robustness.shifts import LayerShifts, measure_layers, shifts_for
from tests.networks import network_of, randomize

FULLY_CONVOLUTIONAL = (
    "[{conv: {out_channels: 4, kernel_size: 3, activation: relu}}, {max_pool: 2}, "
    "{conv: {out_channels: 6, kernel_size: 3, norm: batch, activation: tanh}}, {avg_pool: 2}, "
    "{conv: {out_channels: 3, kernel_size: 2}}]"
)
PADDED = (
    "[{conv: {out_channels: 4, kernel_size: 5, padding: same}}, relu, {max_pool: 2}, "
    "{residual: [{conv: {out_channels: 4, kernel_size: 3, padding: same}}]}, {conv: {out_channels: 3, kernel_size: 3, "
    "stride: 2, padding: 1}}]"
)
POOLED = "[{conv: {out_channels: 4, kernel_size: 3, activation: relu}}, %s, logits]"


def fields_of(network: Network) -> dict[str, ReceptiveFields]:
    fields = inspect_network(network, "").receptive_fields
    return {name: each for name, each in fields.items() if isinstance(each, ReceptiveFields)}


def measured(layers: str, images: Tensor, shifts: list[int]) -> dict[str, LayerShifts]:
    """The measures of a network with random weights, in batches of 5."""
    network = network_of(layers, tuple(images.shape[1:]), 3)
    model = randomize(CnnModule(network), torch.Generator().manual_seed(1))

    def moved(right: int, down: int) -> Iterator[Tensor]:
        yield from torch.split(shifted(images, right=right, down=down), 5)

    found = measure_layers(model, fields_of(network), moved, shifts)
    return {each.layer: each for each in found}


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.rand(12, 2, 26, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layers", [FULLY_CONVOLUTIONAL, PADDED], ids=["without padding", "with padding"])
def test_convolutions_are_exactly_equivariant_at_whole_strides(layers: str, noise: Tensor) -> None:
    found = measured(layers, noise, [1, 2, 3, 4])
    assert {each.period for each in found.values()} == {(1, 1), (2, 2), (4, 4)}
    for each in found.values():
        assert each.period is not None
        for pixels, value in each.equivariance.items():
            assert value is not None, (each.layer, pixels)
            if pixels % each.period[0] == 0:
                assert value == pytest.approx(1, abs=1e-9), (each.layer, pixels)
            else:
                assert value < 0.95, (each.layer, pixels)
        assert each.aligned == pytest.approx(1, abs=1e-9)
        assert (each.between is None) == (each.period == (1, 1))


@pytest.mark.parametrize("pool", ["global_avg_pool", "global_max_pool"])
def test_a_global_pool_is_exactly_invariant(pool: str, noise: Tensor) -> None:
    """While what is in the image stays inside, no border can reach it."""
    images = torch.nn.functional.pad(noise[:, :, :8, :8], (9, 9, 9, 9))
    conv, pooled, logits = measured(POOLED % pool, images, [1, 2, 5]).values()
    assert conv.invariance[1] is not None
    assert conv.invariance[1] < 0.5
    for each in (pooled, logits):
        assert each.period is None
        assert set(each.equivariance.values()) == {None}
        assert list(each.invariance.values()) == pytest.approx([1, 1, 1], abs=1e-9)


def test_what_leaves_the_image_makes_a_global_pool_less_invariant(noise: Tensor) -> None:
    _, pooled, _ = measured(POOLED % "global_avg_pool", noise, [5]).values()
    assert pooled.invariance[5] is not None
    assert pooled.invariance[5] < 0.9


def test_the_definition(noise: Tensor) -> None:
    """A pool of the input itself: average pooling in NumPy, of the image and of the shifted image."""

    def pooled(images: Tensor) -> npt.NDArray[np.float64]:
        n, c, h, w = images.shape
        means: npt.NDArray[np.float64] = images.double().numpy().reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
        return means

    images = noise.cumsum(2).cumsum(3)[:, :, :, :28]  # smooth: neighbors resemble each other
    images = images / images.amax()
    (found, *_) = measured("[{avg_pool: 2}, {conv: {out_channels: 3, kernel_size: 1}}]", images, [3]).values()
    plain = pooled(images)
    total, spread, change, variance = 0.0, 0.0, 0.0, 0.0
    for axis in (2, 3):
        moved = pooled(shifted(images, right=3 * (axis == 3), down=3 * (axis == 2)))
        mean = plain.mean(0)
        change += ((moved - plain) ** 2).sum()
        variance += ((moved - mean) ** 2).sum() + ((plain - mean) ** 2).sum()
        # 3 pixels are a unit and a half: unit q was half-way between q - 2 and q - 1; q reads pixels from 2q >= 3 on.
        a = moved.take(range(2, plain.shape[axis]), axis)
        b = (plain.take(range(plain.shape[axis] - 2), axis) + plain.take(range(1, plain.shape[axis] - 1), axis)) / 2
        total += ((a - b) ** 2).sum()
        spread += ((a - b.mean(0)) ** 2).sum() + ((b - b.mean(0)) ** 2).sum()
    assert found.equivariance[3] == pytest.approx(1 - total / spread, abs=1e-6)
    assert found.invariance[3] == pytest.approx(max(0, 1 - change / variance), abs=1e-6)


def test_maps_of_an_unrelated_image_agree_with_0() -> None:
    """White noise has nothing in common with itself, shifted."""
    images = torch.rand(200, 1, 9, 9, generator=torch.Generator().manual_seed(3))
    (conv, *_) = measured("[{conv: {out_channels: 2, kernel_size: 1}}, flatten, logits]", images, [4]).values()
    assert conv.invariance[4] == pytest.approx(0, abs=0.02)


def test_without_an_interior_there_is_no_equivariance(noise: Tensor) -> None:
    layer = "{conv: {out_channels: 2, kernel_size: 17, padding: same}}"
    first, second = measured(f"[{layer}, {layer}]", noise, [1]).values()
    assert first.equivariance[1] == pytest.approx(1, abs=1e-9)
    assert second.equivariance == {1: None}, "its receptive field is larger than the image"
    assert second.aligned is None


def test_a_layer_that_enlarges_the_maps(noise: Tensor) -> None:
    """Two units for every pixel: a shift by one pixel moves the maps by two units."""
    layers = "[{upsample: 2}, {conv: {out_channels: 2, kernel_size: 3}}]"
    for each in measured(layers, noise, [1, 2]).values():
        assert each.period == (1, 1)
        assert list(each.equivariance.values()) == pytest.approx([1, 1], abs=1e-9)


def test_a_layer_with_the_same_output_for_all_images(noise: Tensor) -> None:
    (conv, *_) = measured(
        "[{conv: {out_channels: 1, kernel_size: 3}}, flatten, logits]", noise[:1].expand(5, -1, -1, -1) * 0, [1]
    ).values()
    assert conv.invariance == conv.equivariance == {1: None}


@pytest.mark.parametrize(("side", "expected"), [(8, [1, 2]), (28, [1, 2, 3, 4, 5, 6, 7, 8]), (3, [1])])
def test_the_shifts(side: int, expected: list[int]) -> None:
    assert shifts_for(side) == expected


def test_json(noise: Tensor) -> None:
    conv, pooled, _ = measured(POOLED % "global_avg_pool", noise, [1, 2]).values()
    record = conv.as_json()
    assert [each["pixels"] for each in record["shifts"]] == [1, 2]
    assert (record["layer"], record["type"], record["period"]) == ("conv1", "conv", [1, 1])
    assert pooled.as_json()["period"] is None
