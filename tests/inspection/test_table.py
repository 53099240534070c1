"""Rows against published figures: receptive fields from Araujo et al. (Distill, 2019), costs from the papers."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from cnncli.inspection.columns import window_text
from cnncli.inspection.formatting import as_tree
from cnncli.inspection.graph import Graph, GraphNode, graph_of
from cnncli.inspection.receptive_field import ReceptiveField
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import LayerTable, Row, inspect_graph
from cnncli.windows import Adaptive, Gathered, Sliding
from tests.networks import network_of_text

LENET5 = """
model:
  defaults: {conv: {activation: tanh}, linear: {activation: tanh}}
  layers:
    - conv: {out_channels: 6, kernel_size: 5, padding: same}
    - avg_pool: 2
    - conv: {out_channels: 16, kernel_size: 5}
    - avg_pool: 2
    - conv: {out_channels: 120, kernel_size: 5}
"""
VGG16 = """
model:
  defaults: {conv: {kernel_size: 3, padding: 1, activation: relu}, linear: {activation: relu}}
  blocks:
    stage:
      params: {out_channels: required, convs: required}
      layers:
        - repeat: {times: $convs, layers: [{conv: $out_channels}]}
        - max_pool: 2
  layers:
    - stage: {out_channels: 64, convs: 2}
    - stage: {out_channels: 128, convs: 2}
    - stage: {out_channels: 256, convs: 3}
    - stage: {out_channels: 512, convs: 3}
    - stage: {out_channels: 512, convs: 3}
    - flatten
    - linear: 4096
    - dropout: 0.5
    - linear: 4096
    - dropout: 0.5
    - logits
"""
ALEXNET = """
model:
  defaults: {conv: {activation: relu}}
  layers:
    - conv: {out_channels: 64, kernel_size: 11, stride: 4, padding: 2}
    - max_pool: {kernel_size: 3, stride: 2}
    - conv: {out_channels: 192, kernel_size: 5, padding: 2}
    - max_pool: {kernel_size: 3, stride: 2}
    - conv: {out_channels: 384, kernel_size: 3, padding: 1}
    - conv: {out_channels: 256, kernel_size: 3, padding: 1}
    - conv: {out_channels: 256, kernel_size: 3, padding: 1}
    - max_pool: {kernel_size: 3, stride: 2}
"""
RESNET = """
model:
  defaults: {{conv: {{kernel_size: 3, padding: same, norm: batch, activation: relu}}}}
  blocks:
    basic:
      params: {{out_channels: required, stride: 1}}
      layers:
        - residual:
            main:
              - conv: {{out_channels: $out_channels, stride: $stride}}
              - conv: {{out_channels: $out_channels, activation: none}}
            activation: relu
  layers:
    - conv: {{out_channels: 64, kernel_size: 7, stride: 2}}
    - max_pool: {{kernel_size: 3, stride: 2, padding: 1}}
    - repeat: {{times: {0}, layers: [{{basic: 64}}]}}
    - basic: {{out_channels: 128, stride: 2}}
    - repeat: {{times: {1}, layers: [{{basic: 128}}]}}
    - basic: {{out_channels: 256, stride: 2}}
    - repeat: {{times: {2}, layers: [{{basic: 256}}]}}
    - basic: {{out_channels: 512, stride: 2}}
    - repeat: {{times: {3}, layers: [{{basic: 512}}]}}
    - global_avg_pool
    - logits
"""


def inspect_text(text: str, shape: tuple[int, int, int], classes: int = 1000) -> LayerTable:
    """The table of a `model:` section, which need not end with logits."""
    return inspect_graph(graph_of(network_of_text(text, shape, classes), "test"))


def receptive_field(row: Row) -> ReceptiveField:
    """The receptive field of a row, which is known."""
    return row.receptive_field


def sizes(rows: tuple[Row, ...]) -> list[int]:
    """Sizes of receptive fields, which agree on both axes here."""
    fields = [receptive_field(row) for row in rows]
    for field in fields:
        assert field.size[0] == field.size[1]
    return [field.size[0] for field in fields]


def last(rows: list[Row]) -> tuple[int, Fraction | int, int]:
    """Size, jump and padding (-start) of the last row."""
    field = receptive_field(rows[-1])
    assert field.jump is not None
    assert field.start is not None
    return field.size[0], field.jump[0], -field.start[0]


def test_lenet5() -> None:
    rows = inspect_text(LENET5, (1, 28, 28)).rows
    assert sizes(rows) == [5, 6, 14, 16, 32]
    assert [receptive_field(row).jump for row in rows] == [(Fraction(j), Fraction(j)) for j in (1, 2, 2, 4, 4)]


def test_vgg16() -> None:
    inspection = inspect_text(VGG16, (3, 224, 224))
    pools = [row for row in inspection.rows if row.type == "max_pool"]
    assert sizes(tuple(pools)) == [6, 16, 44, 100, 212]
    assert last(pools) == (212, 32, 90)
    assert inspection.macs == 15_470_264_320
    assert inspection.params == 138_357_544


def test_alexnet() -> None:
    assert last(list(inspect_text(ALEXNET, (3, 224, 224)).rows)) == (195, 32, 66)


@pytest.mark.parametrize(
    ("repeats", "size", "padding", "stages", "macs", "params"),
    [
        ((2, 1, 1, 1), 435, 217, [43, 99, 211, 435], 1_814_073_344, 11_689_512),
        ((3, 3, 5, 2), 899, 449, [], None, 21_797_672),
    ],
    ids=["resnet18", "resnet34"],
)
def test_resnets(
    repeats: tuple[int, ...], size: int, padding: int, stages: list[int], macs: int | None, params: int
) -> None:
    inspection = inspect_text(RESNET.format(*repeats), (3, 224, 224))
    adds = [row for row in inspection.rows if row.type == "add"]
    assert last(adds) == (size, 32, padding)
    assert inspection.params == params
    if stages:
        assert sizes(tuple(adds[1::2])) == stages
        assert inspection.macs == macs


def test_dilations() -> None:
    layers = [f"{{conv: {{out_channels: 1, kernel_size: 3, dilation: {d}}}}}" for d in (1, 2, 4)]
    assert sizes(inspect_text(f"model: {{layers: [{', '.join(layers)}]}}", (1, 28, 28)).rows) == [3, 7, 15]


def test_the_published_json() -> None:
    """The first layer of LeNet-5."""
    first = json.loads(json.dumps(as_json(inspect_text(LENET5, (1, 28, 28)))))["layers"][0]
    published: dict[str, Any] = {
        "name": "conv1",
        "type": "conv",
        "inputs": ["input"],
        "output_shape": [6, 28, 28],
        "params": 156,
        "macs": 117600,
        "receptive_field": {
            "size": [5, 5],
            "jump": [1, 1],
            "start": [-2, -2],
            "end": [2, 2],
            "center": [0.0, 0.0],
        },
        "notes": [],
    }
    assert {key: first[key] for key in published if key != "receptive_field"} == {
        key: value for key, value in published.items() if key != "receptive_field"
    }
    field = first["receptive_field"]
    assert {key: field[key] for key in published["receptive_field"]} == published["receptive_field"]


def test_receptive_fields_are_global_after_flatten() -> None:
    rows = as_json(inspect_text("model: {layers: [{max_pool: 2}, flatten, logits]}", (1, 8, 6)))["layers"]
    for row in rows[1:]:
        assert row["receptive_field"]["global"] is True
        assert row["receptive_field"]["size"] == [8, 6]


def test_units_that_differ_have_a_note() -> None:
    """Seven positions in three bins: 0-2, 2-4, 4-6 of three each; into four: 0-1, 1-3, 3-5, 5-6, of two or three."""
    layers = as_json(inspect_text("model: {layers: [{adaptive_avg_pool: 4}]}", (1, 7, 7)))["layers"]
    field, notes = layers[0]["receptive_field"], layers[0]["notes"]
    assert field["size"] == [3, 3]
    assert field["jump"] == [1.75, 1.75]
    assert field["start"] is None
    assert notes == ["receptive fields are not evenly spaced: units see 2 to 3 pixels; the table gives the largest"]


def test_a_size_with_padding_is_not_taken_for_pixels_of_the_image() -> None:
    """Every unit sees both of two pixels: size 3 with the padding of the convolution, 4 for two such units."""
    layers = "[{conv: {out_channels: 1, kernel_size: 3, padding: 1}}, {conv_transpose: {out_channels: 1, "
    text = f"model: {{layers: {layers}kernel_size: 4, stride: 2, padding: 1}}}}]}}"
    layer = as_json(inspect_text(text, (1, 2, 2)))["layers"][1]
    assert layer["receptive_field"]["size"] == [4, 4]
    assert layer["notes"] == [
        "receptive fields are not evenly spaced: units see 2 pixels of the image; the table counts padding as well"
    ]


def test_upsampling_halves_the_jump() -> None:
    layers = as_json(inspect_text("model: {layers: [{upsample: 2}]}", (1, 4, 4)))["layers"]
    assert layers[0]["receptive_field"]["jump"] == [0.5, 0.5]
    assert layers[0]["receptive_field"]["size"] == [1, 1]


NORMED = """
model:
  layers:
    - conv: {out_channels: 8, kernel_size: 3, norm: {group: 2}}
    - conv: {out_channels: 8, kernel_size: 3, stride: 2}
    - group_norm: 4
    - conv: {out_channels: 8, kernel_size: 3}
"""


def test_global_statistics_keep_the_local_receptive_field() -> None:
    """With group norm every unit sees everything; without its statistics 3, then 5, then 5 + 2 * 2 = 9 pixels."""
    rows = inspect_text(NORMED + "    - flatten\n    - logits\n", (1, 28, 28)).rows
    assert [receptive_field(row).is_global for row in rows] == [True] * 6
    assert [receptive_field(row).local for row in rows] == [(3, 3), (5, 5), (5, 5), (9, 9), None, None]
    assert [window_text(row.windows) for row in rows[:3]] == ["3/1/0/1", "3/2/0/1", ""]
    assert [row.name for row in rows if any("mean and variance" in note for note in row.notes)] == [
        "conv1",
        "group_norm1",
    ]


def test_windows_in_the_table() -> None:
    """k/s/p/d if an axis has a kernel, else a word."""
    same, three = Sliding(kernel=1), Sliding(kernel=3, before=1, after=1)
    assert window_text((three, three)) == "3/1/1/1"
    assert window_text((three, same)) == "3x1/1/1x0/1"
    assert window_text((replace(three, padding_mode="reflect"), same)) == "3x1/1/1x0/1 reflect"
    assert window_text((Sliding(kernel=1, before=0, after=-8), same)) == "cut 0+8 x 1"
    assert window_text((Gathered(((0, 1, 2),) * 3), same)) == "all x 1"
    assert window_text((Gathered(((2,), (0,), (1,))),) * 2) == "picks"
    assert window_text((Adaptive(units=4), Adaptive(units=5))) == "to 4x5"


def test_the_json_has_a_kernel_for_all_axes_or_none() -> None:
    graph = Graph(
        name="test",
        input_shape=(1, 6, 6),
        nodes=(
            GraphNode(
                name="mean",
                type="mean",
                inputs=("input",),
                shape=(1, 1, 6),
                reads=(Gathered((tuple(range(6)),)), Sliding(kernel=1)),
                params=0,
                macs=0,
            ),
        ),
    )
    (row,) = as_json(inspect_graph(graph))["layers"]
    assert row["kernel_size"] is row["stride"] is row["padding"] is row["dilation"] is None


def test_names_as_a_tree() -> None:
    names = [
        "conv",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer1.0.down.0",
        "layer1.1.conv1",
        "layer1.1.add",
        "a.b",
        "c",
    ]
    shown = [line for scopes, name in as_tree(names) for line in (*scopes, name)]
    assert shown == [
        *("conv", "layer1", " .0", "  .conv1", "  .conv2", "  .down.0"),
        *(" .1", "  .conv1", "  .add", "a.b", "c"),
    ]
