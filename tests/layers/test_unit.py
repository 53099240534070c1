"""The arithmetic of one unit, by hand; `test_contract` compares it with torch for every layer type."""

import math

import pytest
import torch

from cnncli.layers.activation import (
    Celu,
    Hardshrink,
    Hardswish,
    Hardtanh,
    LeakyRelu,
    LogSigmoid,
    Mish,
    Prelu,
    Relu,
    Selu,
    Softmax,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from cnncli.layers.combining import Glu, Maxout
from cnncli.layers.coordinates import Coordinates
from cnncli.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, Norm, RmsNorm
from cnncli.layers.padding import Crop, Pad
from cnncli.layers.pooling import BlurPool, LpPool
from cnncli.layers.resizing import PixelShuffle
from cnncli.layers.unit import Normalized, Scaling, Unit


def test_activations_by_hand() -> None:
    assert Relu().apply(-2) == 0
    assert LeakyRelu(negative_slope=0.5).apply(-2) == -1
    assert Hardswish().apply(1) == pytest.approx(4 / 6)
    assert Tanh().apply(0) == 0
    assert Hardtanh(min_val=-2, max_val=0.5).apply(-3) == -2
    assert Softplus(beta=2).apply(0) == pytest.approx(0.34657359)  # log(2) / 2
    assert Softplus(beta=2, threshold=10).apply(5.5) == 5.5
    assert (Mish().apply(0), Mish().apply(1000)) == (0, 1000)
    assert Celu(alpha=2).apply(-2) == pytest.approx(-1.2642411)  # 2 (1 / e - 1)
    assert Selu().apply(-1e3) == pytest.approx(-1.7580993)
    assert (Softsign().apply(-3), Softshrink().apply(-2), Hardshrink(lambd=2).apply(-2)) == (-0.75, -1.5, 0)
    assert Threshold(threshold=1, value=-5).apply(1) == -5
    assert LogSigmoid().apply(-1000) == -1000
    assert Tanhshrink().apply(-50) == -49


def test_softmax_by_hand() -> None:
    """Over the channels of one position: 1 : 3 of log(1) and log(3); the numbers may be beyond what exp() holds."""
    maps = torch.tensor([0, math.log(3)]).view(2, 1, 1) + torch.tensor([0, 1000.0])
    assert [Softmax().trace([maps], {}, Unit((1, 0, i))).value for i in (0, 1)] == pytest.approx([0.75, 0.75], rel=1e-4)


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


def test_norms_without_weights_or_mean_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3]], [[5.0, 8]]], dtype=torch.float64)  # (2, 1, 2)
    instance = scaling(InstanceNorm(eps=0.5), maps, {}, 1, 0, 0)
    assert (instance.mean, instance.variance, instance.weight, instance.bias) == (6.5, 2.25, None, None)
    assert instance(8) == pytest.approx(1.5 / 2.75**0.5)
    rms = scaling(RmsNorm(eps=3), maps, {"weight": torch.tensor([1.0, 2])}, 1, 0, 0)
    assert (rms.mean, rms.variance, rms.bias) == (None, 13, None)
    assert rms(5) == 2 * 5 / 4


def test_several_channels_to_one_by_hand() -> None:
    vector = torch.tensor([1.0, 3, 2, 0])
    assert Maxout(pieces=2).trace([vector], {}, Unit((1,))).value == 2
    assert Glu().trace([vector], {}, Unit((1,))).value == 3 / 2  # sigmoid(0) is 1/2


def test_neighboring_channels_by_hand() -> None:
    maps = torch.tensor([1.0, 2, 3]).view(3, 1, 1)
    trace = LocalResponseNorm(size=2, alpha=2, beta=1, k=1).trace([maps], {}, Unit((1, 0, 0)))
    assert trace.value == pytest.approx(2 / (1 + 2 * (1 + 4) / 2))  # channels 0 and 1


def test_padding_by_hand() -> None:
    row = torch.tensor([1.0, 2, 3]).view(1, 1, 3)
    padded = {
        mode: [Pad(padding=((0, 0), (2, 1)), mode=mode).trace([row], {}, Unit((0, 0, i))).value for i in range(6)]
        for mode in ("constant", "reflect", "replicate", "circular")
    }
    assert padded == {
        "constant": [0, 0, 1, 2, 3, 0],
        "reflect": [3, 2, 1, 2, 3, 2],
        "replicate": [1, 1, 1, 2, 3, 3],
        "circular": [2, 3, 1, 2, 3, 1],
    }
    assert Pad(channels=(1, 0), value=7).trace([row], {}, Unit((0, 0, 0))).value == 7
    assert Crop(size=(1, 2)).trace([row], {}, Unit((0, 0, 1))).value == 2


def test_pools_by_hand() -> None:
    maps = torch.tensor([[3.0, 4, 0], [0, 0, 8]]).view(1, 2, 3)
    two = (2, 2)
    assert LpPool(norm_type=2, kernel_size=two).trace([maps], {}, Unit((0, 0, 0))).value == 5
    # The last window has one of two columns: as if it were there twice.
    last = LpPool(norm_type=2, kernel_size=two, stride=two, ceil_mode=True).trace([maps], {}, Unit((0, 0, 1)))
    assert last.value == pytest.approx((2 * 64) ** 0.5)
    row = torch.tensor([4.0, 8, 0]).view(1, 1, 3)
    values = [BlurPool(kernel_size=(1, 3)).trace([row], {}, Unit((0, 0, i))).value for i in (0, 1)]
    assert values == [(8 + 2 * 4 + 8) / 4, (8 + 0 + 8) / 4]


def test_coordinates_by_hand() -> None:
    maps = torch.zeros(1, 1, 5)
    values = [Coordinates().trace([maps], {}, Unit((channel, 0, i))).value for channel in (1, 2) for i in (0, 1, 4)]
    assert values == [0, 0, 0, -1, -0.5, 1]


def test_pixels_from_channels_by_hand() -> None:
    maps = torch.arange(4.0).view(4, 1, 1)
    shuffled = [PixelShuffle(upscale_factor=2).trace([maps], {}, Unit((0, i, j))).value for i in (0, 1) for j in (0, 1)]
    assert shuffled == [0, 1, 2, 3]
