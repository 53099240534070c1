"""The torch modules of layers against those of torch and torchvision."""

import pytest
import torch
from torch.nn import functional
from torchvision.ops import StochasticDepth

from cnncli.layers.modules import AttentionOverPositions, ChannelRmsNorm, DropImages, MaxOfChannels
from cnncli.layers.pooling import BlurPool


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


@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_that_of_torch_over_positions(bias: bool) -> None:
    maps, ours = torch.randn(2, 6, 3, 2), AttentionOverPositions(6, 3, qkv_bias=bias, out_bias=bias)
    theirs = torch.nn.MultiheadAttention(6, 3, bias=bias, batch_first=True)
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias", "out_proj.weight": "out.weight"}
    names["out_proj.bias"] = "out.bias"
    for each in ours.parameters():
        torch.nn.init.normal_(each)
    theirs.load_state_dict({name: ours.state_dict()[names[name]] for name in theirs.state_dict()})
    positions = maps.flatten(2).transpose(1, 2)
    expected, _ = theirs(positions, positions, positions)
    torch.testing.assert_close(ours(maps).flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_attention_begins_like_that_of_torch() -> None:
    ours, theirs = AttentionOverPositions(64, 4, qkv_bias=True, out_bias=True), torch.nn.MultiheadAttention(64, 4)
    for one, other in (("qkv.weight", "in_proj_weight"), ("out.weight", "out_proj.weight")):
        own, torchs = ours.get_parameter(one), theirs.get_parameter(other)
        assert own.abs().max().item() == pytest.approx(torchs.abs().max().item(), rel=0.01)  # uniform, same bounds
        assert own.std().item() == pytest.approx(torchs.std().item(), rel=0.05)
    assert not any(ours.get_parameter(name).any() for name in ("qkv.bias", "out.bias"))


def test_rms_norm_in_mixed_precision_is_that_of_single_precision() -> None:
    norm, maps = ChannelRmsNorm(4, eps=0.1), torch.randn(2, 4, 3, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = norm(maps)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, norm(maps.float()))


def test_rms_norm_is_that_of_each_position() -> None:
    maps, norm = torch.randn(2, 4, 3, 2), ChannelRmsNorm(4, eps=0.1)
    torch.nn.init.normal_(norm.weight)
    positions = maps.movedim(1, 3).reshape(-1, 4)
    expected = functional.rms_norm(positions, (4,), norm.weight, 0.1)
    torch.testing.assert_close(norm(maps).movedim(1, 3).reshape(-1, 4), expected)


def test_a_blurred_pixel_spreads_as_binomial_coefficients() -> None:
    maps = torch.zeros(1, 1, 9, 9)
    maps[0, 0, 4, 4] = 1
    blur = BlurPool(kernel_size=(3, 5), stride=(1, 1)).build((1, 9, 9))
    expected = torch.outer(torch.tensor([1, 2, 1]), torch.tensor([1, 4, 6, 4, 1])) / 64
    torch.testing.assert_close(blur(maps)[0, 0, 3:6, 2:7], expected)
