"""Padding and bias of convolutions."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnncli.module import CnnModule
from cnncli.windows import PaddingMode
from tests.networks import lay_out_text, network_of


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


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_that_repeats_pixels_is_torchs(mode: PaddingMode) -> None:
    """Also with an even kernel and `same`, where a module pads before the convolution."""
    for kernel_size, padding in ("3", "2"), ("[4, 3]", "same"):
        options = f"kernel_size: {kernel_size}, padding: {padding}, padding_mode: {mode}"
        model = module_of(f"[{{conv: {{out_channels: 2, {options}}}}}]")
        ours = model.get_submodule("conv1.conv")
        theirs = nn.Conv2d(
            4, 2, (3, 3) if padding == "2" else (4, 3), padding=2 if padding == "2" else "same", padding_mode=mode
        )
        theirs.load_state_dict(ours.state_dict())
        image = torch.randn(1, 4, 11, 9)
        assert torch.equal(model(image), theirs(image))


@pytest.mark.parametrize(
    ("mode", "padding", "message"),
    [
        ("reflect", "[11, 0]", "reflected padding of 11 needs more than 11 pixels, but the height of its input is 11"),
        ("reflect", "[0, 9]", "but the width of its input is 9; use less padding or replicate"),
        ("circular", "[0, 10]", "circular padding of 10 needs as many pixels, but the width of its input is 9"),
    ],
)
def test_more_padding_than_pixels_to_repeat(mode: str, padding: str, message: str) -> None:
    """Torch refuses the same."""
    options = f"kernel_size: 3, padding: {padding}, padding_mode: {mode}"
    _, problems = lay_out_text(f"model: {{layers: [{{conv: {{out_channels: 2, {options}}}}}]}}", (4, 11, 9))
    assert [message in problem for problem in problems] == [True], problems
    pads = [each for size in reversed(json.loads(padding)) for each in (size, size)]
    with pytest.raises(RuntimeError, match="dding"):
        functional.pad(torch.zeros(1, 4, 11, 9), pads, mode=mode)


def test_bias_is_off_where_a_norm_follows() -> None:
    """A norm of its own, or a norm layer behind, makes the bias useless; asked for, it stays."""
    model = module_of(
        "[{conv: {out_channels: 2, kernel_size: 1, norm: batch}}, {conv: {out_channels: 3, kernel_size: 1}}, "
        "batch_norm, "
        "{conv: {out_channels: 4, kernel_size: 1, bias: true, norm: batch}}, {conv: {out_channels: 5, kernel_size: 1}}]"
    )
    names = set(model.state_dict())
    assert {name for name in names if name.endswith("conv.bias")} == {"conv3.conv.bias", "conv4.conv.bias"}


@pytest.mark.parametrize(
    ("layers", "has_bias"),
    [
        ("[{conv: {out_channels: 2, kernel_size: 3, norm: instance}}]", False),
        ("[{conv: {out_channels: 2, kernel_size: 3}}, instance_norm]", False),
        ("[{conv: {out_channels: 2, kernel_size: 3, norm: rms}}]", True),
        ("[{conv: {out_channels: 2, kernel_size: 3}}, rms_norm]", True),
    ],
)
def test_a_norm_that_subtracts_a_mean_replaces_the_bias(layers: str, has_bias: bool) -> None:
    assert (module_of(layers).get_submodule("conv1.conv").bias is not None) == has_bias
