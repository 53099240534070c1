"""Receptive fields in the page against `inspection`, the arrangement by hand."""

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.config.config import read_config
from cnncli.inspection.graph import graph_of
from cnncli.inspection.table import inspect_graph
from cnncli.inspection.units import unit_receptive_field
from cnncli.report.network import arrangement, network_data, runs


def data_and_inspection(config: str) -> tuple[dict[str, Any], Any]:
    network = read_config(config, data_dir=Path("nowhere"), assignments=["data.name=digits"]).network
    graph = graph_of(network, config)
    return network_data(graph), inspect_graph(graph)


@given(st.sets(st.integers(0, 80)))
def test_runs_hold_the_positions_of_a_mask(positions: set[int]) -> None:
    flat = runs(sum(1 << position for position in positions))
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    assert {each for first, last in pairs for each in range(first, last + 1)} == positions
    assert all(before[1] + 1 < after[0] for before, after in pairwise(pairs))


def test_runs_by_hand() -> None:
    assert runs(0) == []
    assert runs(0b1) == [0, 0]
    assert runs(0b110110) == [1, 2, 4, 5]


@pytest.mark.parametrize("config", ["lenet5", "resnet-mnist", "inception", "dilated", "nin"])
def test_receptive_fields_equal_those_of_inspection(config: str) -> None:
    data, inspection = data_and_inspection(config)
    compared = 0
    for layer in data["layers"]:
        name, shape = layer["name"], layer["shape"]
        axes = [data["axes"][number] for number in data["receptive_fields"][name]["input"]]
        rows, columns = shape[1:] if len(shape) == 3 else (1, 1)
        for unit in product({0, 1, rows // 2, rows - 1} & set(range(rows)), {0, columns - 1}):
            expected = unit_receptive_field(inspection, name, unit)
            by_axis = [axis["runs"][i] for axis, i in zip(axes, unit, strict=True)]
            clipped = tuple((each[0], each[-1]) for each in by_axis) if all(by_axis) else None
            assert clipped == expected.clipped, (name, unit)
            exact = [set(range(n)) for n in inspection.input_shape[1:]]
            for axis, each, whole in zip(inspection.receptive_fields[name].axes, by_axis, exact, strict=True):
                mask = axis.masks[unit[axis is not inspection.receptive_fields[name].axes[0]]]
                positions = {p for a, b in zip(each[::2], each[1::2], strict=True) for p in range(a, b + 1)}
                assert positions == {p for p in whole if mask >> p & 1}
            padded = [shifted(axis["closed_form"], i) for axis, i in zip(axes, unit, strict=True)]
            assert (tuple(padded) if all(padded) else None) == expected.unclipped, (name, unit)
            compared += 1
    assert compared > 20


def shifted(closed_form: dict[str, Any] | None, unit: int) -> tuple[int, int] | None:
    if closed_form is None:
        return None
    turn, remainder = divmod(unit, len(closed_form["patterns"]))
    first, last = closed_form["patterns"][remainder]
    return first + turn * closed_form["step"], last + turn * closed_form["step"]


def test_receptive_fields_on_earlier_layers_by_hand() -> None:
    """LeNet-5: a unit of conv2 reads 5x5 units of avg_pool1, each of which reads 2x2 of conv1."""
    data, _ = data_and_inspection("lenet5")
    assert set(data["receptive_fields"]["conv2"]) == {"input", "conv1", "avg_pool1"}
    for source, unit, expected in (("avg_pool1", 3, [3, 7]), ("conv1", 3, [6, 15]), ("conv1", 0, [0, 9])):
        row, column = data["receptive_fields"]["conv2"][source]
        assert data["axes"][row]["runs"][unit] == expected
        assert data["axes"][column]["runs"][unit] == expected
    # After flatten everything is read, unless a pool drops rows and columns.
    assert [data["axes"][number]["runs"] for number in data["receptive_fields"]["linear1"]["conv1"]] == [[[0, 27]]] * 2


def test_positions_that_no_layer_reads_are_in_no_receptive_field_after_flatten(tmp_path: Path) -> None:
    config = tmp_path / "net.yaml"
    config.write_text(
        "data: {name: digits, size: 8}\n"
        "model: {layers: [{conv: {out_channels: 1, kernel_size: 3, stride: 2}}, flatten, logits]}\n"
    )
    data = network_data(graph_of(read_config(str(config), data_dir=tmp_path).network, "net"))
    (row, _) = data["receptive_fields"]["logits1"]["input"]
    assert data["axes"][row]["runs"] == [[0, 6]]  # 3x3 with stride 2 on 8: the last one is never read


def test_arrangement_of_residual_blocks() -> None:
    residual, _ = data_and_inspection("resnet-mnist")
    assert residual["arrangement"] == [
        "conv1",
        {"paths": [["basic1.residual1.conv1", "basic1.residual1.conv2"], []], "join": "basic1.residual1.add"},
        {
            "paths": [["basic2.residual1.conv1", "basic2.residual1.conv2"], ["basic2.residual1.shortcut"]],
            "join": "basic2.residual1.add",
        },
        {
            "paths": [["basic3.residual1.conv1", "basic3.residual1.conv2"], ["basic3.residual1.shortcut"]],
            "join": "basic3.residual1.add",
        },
        "global_avg_pool1",
        "logits1",
    ]


def test_arrangement_of_nested_paths(tmp_path: Path) -> None:
    config = tmp_path / "net.yaml"
    config.write_text(
        "data: {name: digits}\n"
        "model:\n"
        "  defaults: {conv: {kernel_size: 3, padding: same}}\n"
        "  layers:\n"
        "    - residual: {main: [{residual: {main: [{conv: 1}]}}, {conv: 1}]}\n"
        "    - flatten\n"
        "    - logits\n"
    )
    (outer, *rest) = arrangement(graph_of(read_config(str(config), data_dir=tmp_path).network, "net"))
    assert rest == ["flatten1", "logits1"]
    (main, shortcut) = outer["paths"]
    assert shortcut == []
    assert [main[0]["join"], main[1]] == ["residual1.residual1.add", "residual1.conv1"]
    assert main[0]["paths"] == [["residual1.residual1.conv1"], []]
