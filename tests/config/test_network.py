"""The network of a config: names, blocks, defaults, shortcuts."""

import pytest

from cnncli.config.network import RESERVED, Network, Node
from cnncli.layers import Add, BatchNorm, Conv
from cnncli.layers.norm import GroupNorm
from cnncli.module import CnnModule
from tests.networks import lay_out_text, network_of_text


def network(model: str, shape: tuple[int, int, int] = (1, 28, 28)) -> Network:
    """The network of a `model:` section."""
    return network_of_text("model:\n" + "\n".join(f"  {line}" for line in model.splitlines()), shape)


def names(model: str) -> list[str]:
    """Names of the nodes."""
    return [node.name for node in network(model).nodes]


def conv(node: Node) -> Conv:
    """The node's layer, a convolution."""
    assert isinstance(node.layer, Conv)
    return node.layer


def test_names_number_layers_by_type() -> None:
    assert names("layers: [{conv: {out_channels: 2, kernel_size: 1}}, relu, {max_pool: 2}, relu, flatten, logits]") == [
        "conv1",
        "relu1",
        "max_pool1",
        "relu2",
        "flatten1",
        "logits1",
    ]


def test_naming_a_layer_renames_no_other() -> None:
    assert names("layers: [{max_pool: {name: first, kernel_size: 2}}, {max_pool: 2}]") == ["first", "max_pool2"]


def test_names_inside_blocks_and_branches() -> None:
    model = """\
defaults: {conv: {kernel_size: 1}}
blocks: {pair: {params: {width: 3}, layers: [{conv: $width}, {conv: $width}]}}
layers:
  - pair
  - pair: {name: second, width: 4}
  - branch: {merge: concat, paths: [[{conv: 2}], [pair]]}
  - residual: [{conv: 7}]"""
    assert names(model) == [
        "pair1.conv1",
        "pair1.conv2",
        "second.conv1",
        "second.conv2",
        "branch1.path1.conv1",
        "branch1.path2.pair1.conv1",
        "branch1.path2.pair1.conv2",
        "branch1.concat",
        "residual1.conv1",
        "residual1.shortcut",
        "residual1.add",
    ]


def test_parameters_replace_whole_scalars() -> None:
    model = """\
blocks:
  stage:
    params: {channels: required, size: 3, times: 2}
    layers: [{repeat: {times: $times, layers: [{conv: {out_channels: $channels, kernel_size: $size}}]}}]
layers: [{stage: 4}, {stage: {channels: 5, size: [1, 2], times: 1}}]"""
    nodes = network(model).nodes
    assert [(conv(node).out_channels, conv(node).kernel_size) for node in nodes] == [
        (4, (3, 3)),
        (4, (3, 3)),
        (5, (1, 2)),
    ]


def test_fields_of_a_layer_override_defaults() -> None:
    model = """\
defaults: {conv: {kernel_size: 3, padding: same, norm: batch}}
layers: [{conv: 2}, {conv: {out_channels: 2, padding: 0, norm: none}}]"""
    first, second = (conv(node) for node in network(model).nodes)
    assert (first.kernel_size, first.padding, first.norm) == ((3, 3), "same", BatchNorm())
    assert (second.kernel_size, second.padding, second.norm) == ((3, 3), (0, 0), None)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("layers: [{residual: [{conv: {name: add, out_channels: 1, kernel_size: 1}}]}]", "residual1.add"),
        ("layers: [{residual: [{conv: {name: shortcut, out_channels: 4, kernel_size: 1}}]}]", "residual1.shortcut"),
    ],
)
def test_a_given_name_may_not_equal_a_generated_one(model: str, name: str) -> None:
    _, problems = lay_out_text(f"model:\n  {model}\n", (1, 8, 8))
    assert any(f"duplicate name {name}" in each for each in problems)


@pytest.mark.parametrize(
    "model",
    [
        "layers: [{conv: {out_channels: 4, kernel_size: 3}}, batch_norm, flatten, logits]",
        "blocks: {c: {layers: [{conv: {out_channels: 4, kernel_size: 3}}]}}\nlayers: [c, batch_norm, flatten, logits]",
        "blocks: {n: {layers: [batch_norm]}}\nlayers: [{conv: {out_channels: 4, kernel_size: 3}}, n, flatten, logits]",
    ],
    ids=["flat", "out of a block", "into a block"],
)
def test_bias_is_off_before_a_norm_even_across_blocks(model: str) -> None:
    """9 * 4 weights without bias, 2 * 4 of the norm, and 4 * 6 * 6 * 10 + 10 of the logits."""
    params = sum(node.description.params for node in network(model, (1, 8, 8)).nodes)
    assert params == 36 + 8 + 1450


def test_a_shortcut_is_the_identity_if_shapes_agree() -> None:
    nodes = network("layers: [{residual: [{conv: {out_channels: 1, kernel_size: 3, padding: same}}]}]").nodes
    assert [node.name for node in nodes] == ["residual1.conv1", "residual1.add"]
    assert nodes[-1].inputs == ("residual1.conv1", "input")
    assert isinstance(nodes[-1].layer, Add)


@pytest.mark.parametrize(("side", "stride", "expected"), [(28, 2, 14), (27, 2, 14), (27, 3, 9), (28, 3, 10)])
def test_an_automatic_shortcut_strides_as_the_main_path(side: int, stride: int, expected: int) -> None:
    model = f"layers: [{{residual: [{{conv: {{out_channels: 4, kernel_size: 3, stride: {stride}, padding: same}}}}]}}]"
    shortcut = network(model, (1, side, side)).nodes[1]
    assert shortcut.name == "residual1.shortcut"
    assert shortcut.shape == (4, expected, expected)
    assert conv(shortcut).kernel_size == (1, 1)
    assert conv(shortcut).stride == (stride, stride)
    assert conv(shortcut).norm == BatchNorm()


def test_an_automatic_shortcut_has_the_norm_of_the_main_path() -> None:
    model = "layers: [{residual: [{conv: {out_channels: 4, kernel_size: 1, norm: {group: 2}}}]}]"
    assert conv(network(model).nodes[1]).norm == GroupNorm(num_groups=2)


def test_numbered_names_sort_in_order_of_computation() -> None:
    numbered = list(network("layers: [{repeat: {times: 100, layers: [relu]}}]").numbered().values())
    assert numbered[0] == "001_relu1"
    assert numbered == sorted(numbered)


def test_attributes_of_modules_are_reserved_names() -> None:
    """Every public attribute of a network's module."""
    module = CnnModule(network("layers: [relu]"))
    public = {name for name in dir(module) if not name.startswith("_")} - {"relu1"}
    assert public - RESERVED == set()
