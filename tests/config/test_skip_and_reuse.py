"""Long connections (`skip`) and layers with the weights of earlier ones (`reuse`): names, shapes, costs, messages."""

import pytest

from cnncli.config.network import Network
from cnncli.layers import Conv
from cnncli.limits import MAX_LAYERS
from tests.networks import lay_out_text, network_of_text

DEFAULTS = "defaults: {conv: {kernel_size: 3, padding: same}}"


def network(layers: str, blocks: str = "{}", shape: tuple[int, int, int] = (1, 8, 8)) -> Network:
    return network_of_text(f"model: {{{DEFAULTS}, blocks: {blocks}, layers: {layers}}}", shape)


def problems(layers: str, blocks: str = "{}") -> list[str]:
    return lay_out_text(f"model: {{{DEFAULTS}, blocks: {blocks}, layers: {layers}}}", (1, 8, 8))[1]


@pytest.mark.parametrize(
    ("merge", "expected"), [("concat", (7, 8, 8)), ("add", None), ("multiply", None), ("max", None), ("mean", None)]
)
def test_a_skip_joins_the_layer_before_it_and_an_earlier_one(merge: str, expected: tuple[int, ...] | None) -> None:
    channels = 3 if expected else 4
    found = network(f"[{{conv: {channels}}}, relu, {{conv: 4}}, {{skip: {{from: conv1, merge: {merge}}}}}]").nodes[-1]
    assert (found.name, found.layer.type, found.inputs) == ("skip1", merge, ("conv2", "conv1"))
    assert found.shape == (expected or (4, 8, 8))
    assert found.skip_from == "conv1"


def test_sources_of_skips() -> None:
    """The image, a named layer, the end of a block, of a residual and of a branch, and a layer inside of it."""
    blocks = "{pair: {layers: [{conv: 2}, {conv: 2}]}}"
    layers = (
        "[pair, {residual: [{conv: {out_channels: 2, name: inner}}]}, "
        "{branch: {merge: add, name: fork, paths: [[{conv: 2}], [pair]]}}, {conv: {out_channels: 2, name: last}}"
    )
    for source in ("input", "pair1", "residual1", "residual1.inner", "fork", "fork.path2.pair1", "pair1.conv1"):
        layers += f", {{skip: {{from: {source}, merge: multiply}}}}"
    skips = [node for node in network(layers + "]", blocks).nodes if node.skip_from is not None]
    assert [node.inputs[1] for node in skips] == [
        "input",
        "pair1.conv2",
        "residual1.add",
        "residual1.inner",
        "fork.add",
        "fork.path2.pair1.conv2",
        "pair1.conv1",
    ]


def test_names_are_looked_up_in_the_block_first_and_then_around_it() -> None:
    blocks = (
        "{up: {params: {from: required}, layers: [{conv: 2}, {skip: {from: $from, merge: concat}}, {conv: 2}, "
        "{skip: {from: conv1, merge: concat}}]}}"
    )
    nodes = network("[{conv: 2}, {conv: 2}, {conv: 2}, {up: conv2}]", blocks).nodes
    found = {node.name: node.skip_from for node in nodes if node.skip_from is not None}
    assert found == {"up1.skip1": "conv2", "up1.skip2": "up1.conv1"}


def test_a_skip_inside_a_repeat_always_starts_at_the_same_layer() -> None:
    nodes = network("[{conv: 2}, {repeat: {times: 3, layers: [{conv: 2}, {skip: {from: conv1, merge: add}}]}}]").nodes
    assert [node.inputs for node in nodes if node.skip_from] == [
        ("conv2", "conv1"),
        ("conv3", "conv1"),
        ("conv4", "conv1"),
    ]


def test_a_convolution_that_a_skip_reads_before_a_norm_keeps_its_bias() -> None:
    read, unread = (
        network(f"[{{conv: 2}}, batch_norm, {end}]").nodes[0] for end in ("{skip: {from: conv1, merge: add}}", "relu")
    )
    assert (read.description.params, unread.description.params) == (20, 18)


def test_a_reused_layer_costs_multiplications_but_no_parameters() -> None:
    """9 * 4 * 4 weights and 4 biases once; 9 * 4 * 4 multiplications at 8 x 8 and at 4 x 4 positions."""
    nodes = network("[{conv: 4}, {conv: 4}, {max_pool: 2}, {reuse: conv2}]").nodes
    first, again = nodes[1], nodes[3]
    assert (again.name, again.layer.type, again.inputs) == ("reuse1", "conv", ("max_pool1",))
    assert again.reuses == "conv2"
    assert (first.description.params, again.description.params, again.description.buffer_bytes) == (148, 0, 0)
    assert (first.description.macs, again.description.macs) == (144 * 64, 144 * 16)


def test_a_reused_structure_has_layers_of_the_same_names() -> None:
    blocks = "{stage: {layers: [{residual: [{conv: {out_channels: 2, norm: batch}}, relu]}, {conv: 2}]}}"
    nodes = network("[{conv: 2}, {stage: {name: first}}, {reuse: {layer: first, name: again}}, {reuse: again}]", blocks)
    names = ["residual1.conv1", "residual1.relu1", "residual1.add", "conv1"]
    assert [node.name for node in nodes.nodes[1:]] == [
        f"{prefix}.{name}" for prefix in ("first", "again", "reuse2") for name in names
    ]
    assert [node.reuses for node in nodes.nodes[5:]] == 2 * ["first.residual1.conv1", None, None, "first.conv1"]
    assert nodes.nodes[9].inputs == ("again.conv1",)


def test_layers_with_the_same_weights_all_have_a_bias_or_none_has() -> None:
    def biases(layers: str) -> list[bool | None]:
        return [node.layer.bias for node in network(layers).nodes if isinstance(node.layer, Conv)]

    assert biases("[{conv: 2}, batch_norm, {conv: 2}, batch_norm, {reuse: conv2}, batch_norm]") == [False] * 3
    assert biases("[{conv: 2}, batch_norm, {conv: 2}, batch_norm, {reuse: conv2}, relu]") == [False, None, None]


def test_settings_of_the_original_hold() -> None:
    """`lr_scale` and the like of the structure around a reused layer do not apply: its weights have one setting."""
    nodes = network("[{conv: 1}, {repeat: {times: 1, lr_scale: 0.5, layers: [{reuse: conv1}]}}]").nodes
    assert nodes[1].layer == nodes[0].layer


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("{conv: 4}, relu, {skip: {from: con1, merge: add}}", "unknown layer: con1. Did you mean conv1?"),
        ("{conv: 4}, relu, {reuse: con1}", "unknown layer: con1. Did you mean conv1?"),
        (
            "relu, {skip: {from: conv1, merge: add}}, {conv: 4}",
            "conv1 is not before this place; name an earlier layer",
        ),
        ("relu, {reuse: conv1}, {conv: 4}", "conv1 is not before this place; name an earlier layer"),
        ("relu, {skip: {from: skip1, merge: add}}", "skip1 is not before this place; name an earlier layer"),
        (
            "relu, {residual: {name: r, main: [relu, {skip: {from: r, merge: add}}]}}",
            "r is around this place; name a layer before it",
        ),
        (
            "{conv: 4}, {skip: {from: conv1, merge: add}}",
            "skip1 receives conv1 already; from is the name of an earlier layer",
        ),
        (
            "{conv: 4}, {max_pool: 2}, {skip: {from: conv1, merge: concat}}",
            "skip1 joins max_pool1 and conv1: paths whose height or width differ cannot be concatenated: 4 x 4 x 4 and "
            "4 x 8 x 8; for the same size, put upsample: {size: [8, 8]} before it",
        ),
        (
            "{conv: 4}, {conv: 3}, {skip: {from: conv1, merge: add}}",
            "skip1 joins conv2 and conv1: paths of different shapes cannot be added: 3 x 8 x 8 and 4 x 8 x 8; for the "
            "same channels, put conv: {out_channels: 4, kernel_size: 1} before it",
        ),
        (
            "{conv: 4}, flatten, {skip: {from: conv1, merge: add}}",
            "skip1 joins flatten1 and conv1: paths of different shapes cannot be added: 256 and 4 x 8 x 8",
        ),
        ("relu, {skip: {form: input, merge: add}}", "unknown field. Did you mean from?"),
        ("{conv: 4}, relu, {skip: conv1}", "merge is required"),
        ("{conv: 4}, relu, {reuse: relu1}", "relu1 has no weights to reuse; write its layers again"),
        ("{conv: 4}, {reuse: input}", "input has no weights to reuse; write its layers again"),
        (
            "{conv: 4}, {reuse: conv1}",
            "reuse1 receives 4 x 8 x 8 from conv1, but the weights of conv1 are for an input of 1 x 8 x 8; give both "
            "the same number of channels",
        ),
        (
            "flatten, {linear: 5}, {reuse: linear1}",
            "reuse1 receives 5 from linear1, but the weights of linear1 are for an input of 64; give both the same "
            "number of features",
        ),
        (
            "{residual: [{conv: 1}]}, {branch: {merge: concat, paths: [[identity], [identity]]}}, {reuse: residual1}",
            "reuse1.conv1 receives 2 x 8 x 8 from branch1.concat, but the weights of residual1.conv1 are for an input "
            "of 1 x 8 x 8; give both the same number of channels",
        ),
        (
            "{residual: {main: [{conv: 1}, relu], shortcut: auto, activation: prelu}}, {conv: 1}, "
            "{reuse: residual1.add}",
            "residual1.add joins several inputs; reuse residual1",
        ),
    ],
)
def test_messages(layers: str, message: str) -> None:
    assert problems(f"[{layers}]") == [message]


def test_a_shortcut_that_needs_weights_where_there_are_none() -> None:
    """The residual block is the identity and a sum for 4 x 8 x 8, but needs a convolution to halve the size."""
    main = "{conv: {out_channels: 4, kernel_size: 1, stride: 1}}, {adaptive_avg_pool: 4}"
    layers = f"[{{conv: 4}}, {{adaptive_avg_pool: 4}}, {{residual: [{main}]}}, {{upsample: 2}}, {{reuse: residual1}}]"
    (message,) = problems(layers)
    assert message == (
        "reuse1.shortcut receives 4 x 8 x 8 from upsample1, and needs weights, but residual1 has none in this place"
    )


def test_names_after_a_layer_that_does_not_fit_are_not_reported() -> None:
    assert len(problems("[flatten, {conv: 4}, {skip: {from: nothing, merge: add}}, {reuse: nothing}]")) == 1


def test_reused_layers_count_as_layers() -> None:
    """Each line doubles the network: the limit is reached before anything is laid out without end."""
    branch = "{branch: {merge: add, name: b%d, paths: [[{reuse: %s}], [{reuse: %s}]]}}"
    layers = ["{conv: 1}", *(branch % (i, *2 * ["conv1" if not i else f"b{i - 1}"]) for i in range(40))]
    assert {*problems(f"[{', '.join(layers)}]")} == {f"more than {MAX_LAYERS:,} layers, reused ones included"}


def test_short_forms_are_reused_and_joined_like_blocks() -> None:
    layers = (
        "[{conv: 4}, {separable_conv: {out_channels: 4, kernel_size: 3, padding: same}}, "
        "{depthwise_conv: {kernel_size: 3, padding: same}}, {skip: {from: separable_conv1, merge: add}}, "
        "{reuse: separable_conv1}, {reuse: depthwise_conv1}]"
    )
    nodes = network(layers).nodes
    assert nodes[4].inputs == ("depthwise_conv1", nodes[2].name)
    assert [(node.name, node.reuses) for node in nodes[5:]] == [
        ("reuse1.depthwise", "separable_conv1.depthwise"),
        ("reuse1.pointwise", "separable_conv1.pointwise"),
        ("reuse2", "depthwise_conv1"),
    ]
