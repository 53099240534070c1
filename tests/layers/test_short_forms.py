"""Layers of a config that stand for others: the network is that of the layers written out."""

import pytest

from cnncli.config.network import Network
from tests.networks import lay_out_text, network_of, network_of_text

SHAPE = (4, 9, 8)
OPTIONS = "kernel_size: [3, 2], stride: [2, 1], padding: 1, padding_mode: reflect, dilation: [1, 2]"


def facts(network: Network) -> list[object]:
    """Everything about the layers but their names."""
    names = {name: number for number, name in enumerate(["input", *(node.name for node in network.nodes)])}
    return [(node.layer, [names[each] for each in node.inputs], node.description) for node in network.nodes]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("{depthwise_conv: 3}", "{conv: {out_channels: 4, kernel_size: 3, groups: 4}}"),
        (
            f"{{depthwise_conv: {{{OPTIONS}, depth_multiplier: 2, norm: batch, activation: relu, lr_scale: 2}}}}",
            f"{{conv: {{out_channels: 8, groups: 4, {OPTIONS}, norm: batch, activation: relu, lr_scale: 2}}}}",
        ),
        (
            "{separable_conv: {out_channels: 6, kernel_size: 3}}",
            "{conv: {out_channels: 4, kernel_size: 3, groups: 4, bias: false}}, "
            "{conv: {out_channels: 6, kernel_size: 1}}",
        ),
        (
            f"{{separable_conv: {{out_channels: 6, {OPTIONS}, depth_multiplier: 3, depthwise_norm: batch, "
            "depthwise_activation: relu6, norm: {group: 2}, activation: silu, freeze: true, init: orthogonal}}",
            f"{{conv: {{out_channels: 12, groups: 4, {OPTIONS}, norm: batch, activation: relu6, freeze: true, "
            "init: orthogonal}}, {conv: {out_channels: 6, kernel_size: 1, norm: {group: 2}, activation: silu, "
            "freeze: true, init: orthogonal}}",
        ),
        (
            "{separable_conv: {out_channels: 6, kernel_size: 3, depthwise_activation: relu, bias: false}}",
            "{conv: {out_channels: 4, kernel_size: 3, groups: 4, bias: false, activation: relu}}, "
            "{conv: {out_channels: 6, kernel_size: 1, bias: false}}",
        ),
        (
            "{residual: [{separable_conv: {out_channels: 6, kernel_size: 1, norm: layer}}]}",
            "{residual: [{conv: {out_channels: 4, kernel_size: 1, groups: 4, bias: false}}, "
            "{conv: {out_channels: 6, kernel_size: 1, norm: layer}}]}",
        ),
    ],
)
def test_the_layers_that_it_stands_for(short: str, long: str) -> None:
    assert facts(network_of(f"[{short}]", SHAPE)) == facts(network_of(f"[{long}]", SHAPE))


def test_names_and_defaults() -> None:
    network = network_of_text(
        "model: {defaults: {separable_conv: {kernel_size: 3, activation: relu}}, layers: "
        "[{depthwise_conv: 1}, {separable_conv: 5}, {separable_conv: {out_channels: 2, name: last}}]}",
        SHAPE,
    )
    assert [(node.name, node.shape) for node in network.nodes] == [
        ("depthwise_conv1", (4, 9, 8)),
        ("separable_conv1.depthwise", (4, 7, 6)),
        ("separable_conv1.pointwise", (5, 7, 6)),
        ("last.depthwise", (5, 5, 4)),
        ("last.pointwise", (2, 5, 4)),
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[flatten, {depthwise_conv: 3}]", "depthwise_conv1 receives 288 from flatten1: depthwise_conv needs an image"),
        ("[{depthwise_conv: 10}]", "a kernel of 10 x 10 does not fit"),
        (
            "[{depthwise_conv: {kernel_size: 1, depth_multiplier: 1_000_000}}]",
            "times 4 channels is more than",
        ),
        ("[{separable_conv: {out_channels: 5, kernel_size: 10}}]", "separable_conv1.depthwise receives 4 x 9 x 8"),
        ("[identity, SeparableConv2D]", "unknown layer: SeparableConv2D. Did you mean separable_conv?"),
    ],
)
def test_refusals(layers: str, message: str) -> None:
    _, (problem,) = lay_out_text(f"model: {{layers: {layers}}}", SHAPE)
    assert message in problem
