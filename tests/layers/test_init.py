"""Initial weights: torch's own functions with the same random numbers, filters by hand, and gratings."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import init

from cnncli.module import CnnModule, seeded_module
from tests.networks import lay_out_text, network_of

SHAPE = (4, 9, 9)
X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
DOWN_RIGHT = [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]
DOWN_LEFT = [[0, -1, -2], [1, 0, -1], [2, 1, 0]]


def weights(layer: str, shape: tuple[int, ...] = SHAPE) -> dict[str, Tensor]:
    """The initial state dict of a layer, the only one that draws random numbers beyond those of torch's modules."""
    return seeded_module(network_of(f"[{layer}]", shape), 0).state_dict()


@pytest.mark.parametrize(
    ("choice", "torchs"),
    [
        ("kaiming_normal", init.kaiming_normal_),
        (
            "{kaiming_normal: {mode: fan_out, nonlinearity: tanh}}",
            lambda each: init.kaiming_normal_(each, mode="fan_out", nonlinearity="tanh"),
        ),
        ("{kaiming_uniform: {a: 0.5}}", lambda each: init.kaiming_uniform_(each, a=0.5)),
        ("xavier_normal", init.xavier_normal_),
        ("{xavier_uniform: 2}", lambda each: init.xavier_uniform_(each, gain=2)),
        ("orthogonal", init.orthogonal_),
        ("{orthogonal: {gain: 3}}", lambda each: init.orthogonal_(each, gain=3)),
        ("lsuv", init.orthogonal_),  # before it is scaled
        ("normal", lambda each: init.normal_(each, std=0.01)),
        ("{normal: 0.3}", lambda each: init.normal_(each, std=0.3)),
        ("{uniform: 0.2}", lambda each: init.uniform_(each, -0.2, 0.2)),
        ("zeros", init.zeros_),
        ("{constant: -1.5}", lambda each: init.constant_(each, -1.5)),
    ],
)
def test_torchs_functions(choice: str, torchs: Callable[[Tensor], Tensor]) -> None:
    network = network_of(
        f"[{{conv: {{out_channels: 6, kernel_size: 3, groups: 2, init: {choice}}}}}, flatten, "
        f"{{linear: {{out_features: 5, init: {choice}}}}}, {{logits: {{init: {choice}}}}}]",
        SHAPE,
    )
    ours = seeded_module(network, 7).state_dict()
    torch.manual_seed(7)
    expected = CnnModule(network).state_dict()
    for name in ("conv1.conv", "linear1.linear", "logits1"):
        assert torch.equal(ours[f"{name}.weight"], torchs(expected[f"{name}.weight"])), name
        assert not ours[f"{name}.bias"].any()


def test_without_init_the_weights_are_torchs() -> None:
    network = network_of("[{conv: {out_channels: 6, kernel_size: 3}}, flatten, logits]", SHAPE)
    torch.manual_seed(3)
    expected = CnnModule(network).state_dict()
    assert all(torch.equal(each, expected[name]) for name, each in seeded_module(network, 3).state_dict().items())


@pytest.mark.parametrize("groups", [1, 2])
def test_kernels_of_a_transposed_convolution(groups: int) -> None:
    """Each output channel reads 4 / groups channels: that is the fan-in of its kernels."""
    layer = f"{{conv_transpose: {{out_channels: 400, kernel_size: 3, groups: {groups}, init: kaiming_normal}}}}"
    found = weights(layer)["conv_transpose1.conv.weight"]
    assert found.std().item() == pytest.approx(math.sqrt(2 / (4 / groups * 9)), rel=0.03)
    few = layer.replace("400", "8").replace("kaiming_normal", "orthogonal")
    network = network_of(f"[{few}]", SHAPE)  # 8 kernels of 36 or 18 numbers
    kernels = seeded_module(network, 0).kernels()["conv_transpose1"].flatten(1)
    torch.testing.assert_close(kernels @ kernels.T, torch.eye(8))


def test_sobel() -> None:
    found = weights("{conv: {out_channels: 8, kernel_size: 3, init: sobel}}", (1, 9, 9))["conv1.conv.weight"]
    x, y, right, left = (torch.tensor(each, dtype=torch.float32) for each in (X, Y, DOWN_RIGHT, DOWN_LEFT))
    assert torch.equal(found[:, 0], torch.stack([x, y, right, left, -x, -y, -right, -left]))
    several = weights("{conv: {out_channels: 2, kernel_size: 3, init: sobel}}")["conv1.conv.weight"]
    assert torch.equal(several, torch.stack([x, y])[:, None].expand(2, 4, 3, 3) / 4)


def test_gabor_filters_answer_to_their_gratings() -> None:
    """Of all gratings, a filter pair (cosine and sine) answers most to the one of its direction and wavelength."""
    layer = "{conv: {out_channels: 16, kernel_size: 15, init: {gabor: {wavelength: 8}}}}"
    bank = weights(layer, (1, 20, 20))["conv1.conv.weight"][:, 0].double().numpy()  # 4 directions x 2 phases x 2
    assert np.allclose(bank.mean(axis=(1, 2)), 0, atol=1e-6)
    assert np.allclose((bank**2).sum(axis=(1, 2)), 1, atol=1e-6)
    y, x = np.mgrid[-7:8, -7:8]
    gratings = [
        np.exp(2j * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
        for wavelength in (8, 8 / math.sqrt(2))
        for angle in np.arange(4) * np.pi / 4
    ]
    answers = np.array([[abs((kernel * grating).sum()) for grating in gratings] for kernel in bank])
    assert answers.argmax(axis=1).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]
    turned = bank[:, ::-1, ::-1]
    assert np.allclose(bank[[0, 1, 2, 3, 8, 9, 10, 11]], turned[[0, 1, 2, 3, 8, 9, 10, 11]], atol=1e-6)  # even
    assert np.allclose(bank[4:8], -turned[4:8], atol=1e-6)  # odd


def test_identity() -> None:
    images = torch.randn(2, 4, 9, 9)
    for layer in ("conv: {out_channels: 4, kernel_size: 3, padding: same, groups: 2, init: identity}",
                  "conv_transpose: {out_channels: 4, kernel_size: 3, padding: 1, init: identity}"):  # fmt: skip
        assert torch.equal(seeded_module(network_of(f"[{{{layer}}}]", SHAPE), 0)(images), images)
    found = weights("flatten, {linear: {out_features: 3, init: identity}}")["linear1.linear.weight"]
    assert torch.equal(found, torch.eye(3, 324))


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ("conv: {out_channels: 4, kernel_size: 5, init: sobel}", "sobel needs kernels of 3 x 3"),
        ("conv: {out_channels: 9, kernel_size: 3, init: sobel}", "8 directions, but the layer has 9 kernels"),
        ("conv: {out_channels: 2, kernel_size: [1, 5], init: gabor}", "gabor needs kernels of 3 x 3 or more"),
        ("conv: {out_channels: 17, kernel_size: 3, init: gabor}", "use more orientations"),
        ("conv: {out_channels: 17, kernel_size: 3, init: {gabor: {wavelength: 1}}}", "greater than or equal to 2"),
        ("conv: {out_channels: 1, kernel_size: 3, init: constant}", "value is required"),
        ("conv: {out_channels: 1, kernel_size: 3, init: {normal: 0}}", "greater than 0"),
        ("conv: {out_channels: 1, kernel_size: 3, init: kaimming_normal}", "Did you mean kaiming_normal?"),
    ],
)
def test_what_does_not_fit(layer: str, problem: str) -> None:
    _, (message,) = lay_out_text(f"model: {{layers: [{{{layer}}}, relu]}}", SHAPE)
    assert problem in message
