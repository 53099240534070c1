"""Receptive fields in units of a hidden layer, against the network with NaN in one row or column of that layer."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cnncli.config.config import read_config
from cnncli.config.network import Network
from cnncli.inspection.graph import Graph, GraphNode, graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields, receptive_fields_from
from cnncli.layers import Reach
from cnncli.layers.base import Unknown
from cnncli.module import CnnModule
from cnncli.windows import Sliding
from tests.nan_probe import zero_weights_stop_nan

ODD = """\
data: {name: digits, size: 21}
model:
  defaults: {conv: {kernel_size: 3, activation: relu}}
  layers:
    - conv: {out_channels: 2, dilation: 3}
    - residual: {main: [{conv: {out_channels: 2, padding: same}}, {conv: {out_channels: 2, padding: same}}]}
    - branch: {merge: concat, paths: [[{conv: {out_channels: 1, kernel_size: [1, 5], padding: same}}], [identity]]}
    - adaptive_avg_pool: 4
    - upsample: 3
    - conv_transpose: {out_channels: 2, kernel_size: 2, stride: 2}
    - max_pool: {kernel_size: 3, stride: 2, ceil_mode: true}
    - flatten
    - logits
"""


def network_of(text: str, folder: Path) -> Network:
    config = folder / "net.yaml"
    config.write_text(text, encoding="utf-8")
    return read_config(str(config), data_dir=folder).network


def probed(network: Network, source: str, axis: int) -> dict[str, list[int]]:
    """For each later layer and unit of an axis, the mask of rows or columns of `source` that it depends on."""
    model = CnnModule(network).eval()
    shapes = {"input": network.input_shape, **{node.name: node.shape for node in network.nodes}}
    masks: dict[str, list[int]] = {}
    for place in range(shapes[source][1 + axis]):
        values: dict[str, Tensor] = {"input": torch.zeros(1, *network.input_shape)}
        planted = torch.zeros(1, *shapes[source])
        planted.select(2 + axis, place).fill_(float("nan"))
        values[source] = planted
        for node in network.nodes:
            if node.name != source:
                with torch.no_grad(), zero_weights_stop_nan():
                    values[node.name] = model.layer(node)(*(values[name] for name in node.inputs))
        for node in network.nodes:
            value = values[node.name].isnan()
            lit = value[0].any(0).any(1 - axis) if value.ndim == 4 else value.any().reshape(1)
            kept = masks.setdefault(node.name, [0] * len(lit))
            for unit, hit in enumerate(lit.tolist()):
                kept[unit] |= hit << place
    return masks


@pytest.mark.parametrize("config", ["odd", "lenet5", "resnet-mnist"])
def test_every_pair_of_layers_against_nan(config: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if config == "odd":
        network = network_of(ODD, tmp_path)
    else:
        network = read_config(config, data_dir=tmp_path, assignments=["data.name=digits", "data.size=20"]).network
    graph = graph_of(network, "net")
    sources = ["input", *(node.name for node in network.nodes if len(node.shape) == 3)]
    compared = 0
    for source in sources:
        computed = receptive_fields_from(graph, source)
        for axis in (0, 1):
            measured = probed(network, source, axis)
            for name, masks in measured.items():
                if name == source:
                    continue
                if name not in computed:
                    assert not any(masks), (source, name)
                    continue
                fields = computed[name]
                assert isinstance(fields, ReceptiveFields)
                assert list(fields.axes[axis].masks) == masks, (source, name, axis)
                compared += 1
    assert compared > len(sources)


def test_from_the_input_they_are_the_receptive_fields(tmp_path: Path) -> None:
    graph = graph_of(network_of(ODD, tmp_path), "net")
    whole = receptive_fields(graph)
    del whole["input"]
    assert receptive_fields_from(graph, "input") == whole


def test_two_convolutions_by_hand() -> None:
    def conv(name: str, read: str, size: int) -> GraphNode:
        window = Sliding(kernel=3, before=0, after=0)
        return GraphNode(
            name=name, type="conv", inputs=(read,), shape=(1, size, size), reads=(window, window), params=0, macs=0
        )

    nodes = (conv("a", "input", 6), conv("b", "a", 4), conv("c", "b", 2))
    fields = receptive_fields_from(Graph(name="net", input_shape=(1, 8, 8), nodes=nodes), "a")
    assert list(fields) == ["b", "c"]
    b, c = fields["b"], fields["c"]
    assert isinstance(b, ReceptiveFields)
    assert isinstance(c, ReceptiveFields)
    assert b.axes[0].masks == (0b000111, 0b001110, 0b011100, 0b111000)
    assert c.axes[1].masks == (0b011111, 0b111110)


def test_a_broadcast_gate_is_unknown() -> None:
    """A squeeze-and-excite gate: every position of the product depends on the whole gate."""
    window = Sliding(kernel=1)

    def node(name: str, *inputs: str, positions: tuple[int, ...], **given: object) -> GraphNode:
        fields: dict[str, object] = {"type": "x", "params": 0, "macs": 0, "reads": Reach.SAME, **given}
        return GraphNode(name=name, inputs=inputs, shape=(1, *positions), **fields)  # type: ignore[arg-type]

    nodes = (
        node("map", "input", positions=(5, 5)),
        node("pool", "map", positions=(1, 1), reads=Reach.ALL),
        node("gate", "pool", positions=(1, 1), reads=(window, window)),
        node("product", "map", "gate", positions=(5, 5)),
    )
    graph = Graph(name="net", input_shape=(1, 5, 5), nodes=nodes)
    assert isinstance(receptive_fields_from(graph, "map")["product"], ReceptiveFields)
    assert isinstance(receptive_fields_from(graph, "pool")["product"], Unknown)
