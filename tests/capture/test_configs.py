"""The table of a config equals the table of the torch module built from it."""

import random
from pathlib import Path

import pytest

from cnncli.capture.graph import capture, graph_of_capture
from cnncli.config.config import bundled_configs, read_config
from cnncli.config.network import Network
from cnncli.inspection.graph import Graph, graph_of
from cnncli.inspection.table import inspect_graph
from cnncli.module import CnnModule
from cnncli.windows import Sliding
from tests.networks import lay_out_text

LAYERS = (
    "{conv: {out_channels: 4, kernel_size: 3, stride: [2, 1], padding: [1, 2], norm: batch, activation: relu}}",
    "{conv: {out_channels: 4, kernel_size: [4, 3], padding: same, dilation: [1, 2], activation: gelu}}",
    "{conv: {out_channels: 8, kernel_size: 2, groups: 2, bias: false}}",
    "{conv: {out_channels: 4, kernel_size: 1, norm: {group: 2}}}",
    "{conv: {out_channels: 4, kernel_size: 3, padding: same, norm: layer, activation: hardswish}}",
    "{conv_transpose: {out_channels: 4, kernel_size: 3, stride: 2, output_padding: 1, norm: batch}}",
    "{max_pool: {kernel_size: [3, 2], stride: 2, padding: 1, ceil_mode: true}}",
    "{max_pool: {kernel_size: 2, stride: 1, dilation: 2}}",
    "{avg_pool: {kernel_size: 2, stride: 1}}",
    "{adaptive_avg_pool: [5, 7]}",
    "{adaptive_max_pool: 6}",
    "{upsample: {size: [9, 11], mode: bilinear}}",
    "{upsample: 2}",
    "batch_norm",
    "layer_norm",
    "instance_norm",
    "rms_norm",
    "{branch: {merge: concat, paths: [[glu], [{maxout: 2}]]}}",
    "{drop_path: 0.2}",
    "{separable_conv: {out_channels: 4, kernel_size: 3, norm: rms}}",
    "{residual: [{instance_norm: true}, {self_attention: 2}]}",
    "relu",
    "{dropout: 0.3}",
    "identity",
    "{residual: {main: [{conv: {out_channels: 4, kernel_size: 3, padding: same}}], activation: relu}}",
    "{residual: {main: [{conv: {out_channels: 8, kernel_size: 3, stride: 2, padding: same, norm: batch}}]}}",
    "{branch: {merge: concat, paths: [[{conv: {out_channels: 4, kernel_size: 5, padding: same}}], [relu]]}}",
    "{branch: {merge: add, paths: [[tanh], [sigmoid], [{max_pool: {kernel_size: 3, stride: 1, padding: 1}}]]}}",
)
ENDS = ("flatten, {linear: {out_features: 6, norm: batch, activation: tanh}}, logits", "global_avg_pool, logits")


def network_of(layers: str) -> Network | None:
    """The network, or None if the layers do not fit together."""
    network, problems = lay_out_text(f"model:\n  layers: [{layers}]\n", (4, 12, 15))
    return None if problems else network


POINTWISE = (Sliding(kernel=1), Sliding(kernel=1))


def table(graph: Graph) -> list[object]:
    """Everything that must be equal; `parts` and types have different names in configs and in torch."""
    inspection = inspect_graph(graph)
    nodes = {node.name: node for node in graph.nodes}
    same = {row.name: row.inputs[0] for row in inspection.rows if row.type == "identity"}

    def source(name: str) -> str:
        return source(same[name]) if name in same else name

    return [
        (
            row.name,
            set(map(source, row.inputs)),
            row.output_shape,
            row.windows
            if row.known_receptive_field and not row.known_receptive_field.is_global and row.windows != POINTWISE
            else (),
            row.params,
            row.trainable,
            row.macs,
            row.activation_bytes,
            row.known_receptive_field,
            nodes[row.name].groups,
            nodes[row.name].buffer_bytes,
        )
        for row in inspection.rows
    ]


def check(network: Network) -> None:
    module = CnnModule(network)
    captured = capture(module, network.input_shape, scopes=[node.name for node in network.nodes])
    made_by_torch = graph_of_capture(module, captured, network.input_shape, "test")
    assert table(made_by_torch) == table(graph_of(network, "test"))


@pytest.mark.parametrize("name", bundled_configs())
def test_every_bundled_config(name: str) -> None:
    check(read_config(name, data_dir=Path("data")).network)


@pytest.mark.slow
def test_random_networks() -> None:
    """Every layer kind turns up, and about one draw in three fits together."""
    draws = random.Random(0)
    fitting = 0
    for _ in range(400):
        layers = [draws.choice(LAYERS) for _ in range(draws.randint(1, 6))]
        network = network_of(", ".join([*layers, draws.choice(ENDS)]))
        if network is not None:
            fitting += 1
            check(network)
    assert fitting >= 100
