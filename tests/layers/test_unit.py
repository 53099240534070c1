"""The arithmetic of one unit, by hand; `test_contract` compares it with torch for every layer type."""

import pytest
import torch

from cnncli.layers.activation import Hardswish, Hardtanh, LeakyRelu, Mish, Prelu, Relu, Softplus, Tanh
from cnncli.layers.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, Norm
from cnncli.layers.resizing import PixelShuffle
from cnncli.layers.unit import Normalized, Scaling, Unit


def test_activations_by_hand() -> None:
    assert Relu().value(-2) == 0
    assert LeakyRelu(negative_slope=0.5).value(-2) == -1
    assert Hardswish().value(1) == pytest.approx(4 / 6)
    assert Tanh().value(0) == 0
    assert Hardtanh(min_val=-2, max_val=0.5).value(-3) == -2
    assert Softplus(beta=2).value(0) == pytest.approx(0.34657359)  # log(2) / 2
    assert Softplus(beta=2, threshold=10).value(5.5) == 5.5
    assert (Mish().value(0), Mish().value(1000)) == (0, 1000)


def test_a_learned_slope_of_each_channel() -> None:
    slopes = {"weight": torch.tensor([0.5, 2])}
    assert Prelu(num_parameters="channels").stage(-3, None, slopes, Unit((1, 0, 0))).value == -6


def scaling(norm: Norm, maps: torch.Tensor, weights: dict[str, torch.Tensor], *index: int) -> Scaling:
    stage = norm.stage(0.0, maps, weights, Unit(index))
    assert isinstance(stage, Normalized)
    return stage.scaling


def test_norms_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3]], [[5.0, 7]]], dtype=torch.float64)  # (2, 1, 2)
    ones = {"weight": torch.ones(2), "bias": torch.zeros(2)}
    running = {"running_mean": torch.tensor([1.0, 2]), "running_var": torch.tensor([4.0, 9])}
    assert scaling(GroupNorm(num_groups=1), maps, ones, 0, 0, 0).mean == 4
    assert scaling(GroupNorm(num_groups=1), maps, ones, 0, 0, 0).variance == 5
    assert scaling(GroupNorm(num_groups=2), maps, ones, 1, 0, 0).mean == 6
    assert scaling(LayerNorm(), maps, ones, 0, 0, 1).mean == 5
    assert scaling(BatchNorm(), maps, ones | running, 1, 0, 0)(5.0) == pytest.approx(1, abs=1e-5)


def test_neighboring_channels_by_hand() -> None:
    maps = torch.tensor([1.0, 2, 3]).view(3, 1, 1)
    trace = LocalResponseNorm(size=2, alpha=2, beta=1, k=1).trace([maps], {}, Unit((1, 0, 0)))
    assert trace.value == pytest.approx(2 / (1 + 2 * (1 + 4) / 2))  # channels 0 and 1


def test_pixels_from_channels_by_hand() -> None:
    maps = torch.arange(4.0).view(4, 1, 1)
    shuffled = [PixelShuffle(upscale_factor=2).trace([maps], {}, Unit((0, i, j))).value for i in (0, 1) for j in (0, 1)]
    assert shuffled == [0, 1, 2, 3]
