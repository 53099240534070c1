"""The torch modules of layers against those of torch and torchvision."""

import pytest
import torch
from torch.nn import functional
from torchvision.ops import StochasticDepth

from cnncli.layers.modules import ChannelRmsNorm, DropImages, MaxOfChannels


@pytest.mark.parametrize("shape", [(9, 4, 3, 2), (9, 4)], ids=["maps", "vectors"])
def test_images_are_dropped_like_those_of_torchvision(shape: tuple[int, ...]) -> None:
    maps = torch.randn(shape)
    results = []
    for module in (DropImages(0.4), StochasticDepth(0.4, mode="row")):
        torch.manual_seed(0)
        results.append(module(maps))
    assert torch.equal(*results)
    dropped = results[0].flatten(1).eq(0).all(1)
    assert 0 < dropped.sum() < 9
    torch.testing.assert_close(results[0][~dropped], maps[~dropped] / 0.6)


def test_the_largest_of_neighboring_channels() -> None:
    maps = torch.randn(2, 6, 3, 2)
    expected = functional.max_pool3d(maps[:, None], (3, 1, 1))[:, 0]
    assert torch.equal(MaxOfChannels(3)(maps), expected)


def test_rms_norm_is_that_of_each_position() -> None:
    maps, norm = torch.randn(2, 4, 3, 2), ChannelRmsNorm(4, eps=0.1)
    torch.nn.init.normal_(norm.weight)
    positions = maps.movedim(1, 3).reshape(-1, 4)
    expected = functional.rms_norm(positions, (4,), norm.weight, 0.1)
    torch.testing.assert_close(norm(maps).movedim(1, 3).reshape(-1, 4), expected)
