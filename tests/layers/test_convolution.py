"""Padding and bias of convolutions."""

import pytest
import torch
from torch import nn

from cnncli.module import CnnModule
from tests.networks import network_of


def module_of(layers: str) -> CnnModule:
    return CnnModule(network_of(layers, (4, 11, 9))).eval()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's own, about a copy
def test_same_padding_is_torchs() -> None:
    """An even kernel is padded as torch's own `padding="same"` pads it."""
    model = module_of("[{conv: {out_channels: 2, kernel_size: [4, 2], dilation: [1, 3], padding: same}}]")
    ours = model.get_submodule("conv1.conv")
    assert isinstance(ours, nn.Conv2d)
    theirs = nn.Conv2d(4, 2, (4, 2), dilation=(1, 3), padding="same")
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(1, 4, 11, 9)
    assert torch.equal(model(image), theirs(image))


def test_bias_is_off_where_a_norm_follows() -> None:
    """A norm of its own, or a norm layer behind, makes the bias useless; asked for, it stays."""
    model = module_of(
        "[{conv: {out_channels: 2, kernel_size: 1, norm: batch}}, {conv: {out_channels: 3, kernel_size: 1}}, "
        "batch_norm, "
        "{conv: {out_channels: 4, kernel_size: 1, bias: true, norm: batch}}, {conv: {out_channels: 5, kernel_size: 1}}]"
    )
    names = set(model.state_dict())
    assert {name for name in names if name.endswith("conv.bias")} == {"conv3.conv.bias", "conv4.conv.bias"}
