"""The torch modules of layers against those of torch and torchvision."""

import pytest
import torch
from torchvision.ops import StochasticDepth

from cnncli.layers.modules import DropImages


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
