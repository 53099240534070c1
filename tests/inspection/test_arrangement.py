"""Layer tables grouped by module, folded, selected and sorted."""

import pytest
from torch import Tensor, nn

from cnncli.capture.graph import graph_of_module
from cnncli.errors import UsageError
from cnncli.inspection.arrangement import (
    By,
    SortKey,
    folded,
    grouped,
    only,
    share_lines,
    shares,
    shares_as_json,
    sorted_by,
)
from cnncli.inspection.formatting import plain, table_lines
from cnncli.inspection.serialization import as_json
from cnncli.inspection.table import LayerTable, inspect_graph


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(images).relu())
        return result.relu()


@pytest.fixture(scope="module")
def table() -> LayerTable:
    """A stem, a stage of one block that widens and four that are alike, and a head."""
    stage = nn.Sequential(Block(4, 8), *(Block(8, 8) for _ in range(4)))
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 4, 3))
    model.add_module("stage", stage)
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(8, 3))
    return inspect_graph(graph_of_module(model, (1, 12, 14), "model"))


def test_groups_have_the_sums_of_their_layers_and_the_field_of_the_last(table: LayerTable) -> None:
    rows = {row.name: row for row in grouped(table, 1)}
    assert list(rows) == ["stem", "stage", "pool", "head"]
    assert rows["stem"].type == "conv"
    stage = rows["stage"]
    # First block: 4 * 8 * 9 + 8 and 8 * 8 + 8; four others: 8 * 8 * 9 + 8 and 8 * 8 + 8.
    assert (stage.type, stage.params) == ("10 layers", 296 + 72 + 4 * (584 + 72))
    assert stage.macs == 10 * 12 * (288 + 64 + 4 * (576 + 64))
    assert stage.receptive_field == table["stage.4.second"].receptive_field
    assert stage.receptive_field.size == (13, 13)  # 3, and 2 more for each of the five blocks
    assert stage.activation_bytes == 10 * 4 * 8 * 10 * 12
    assert stage.output_shape == (8, 10, 12)
    assert [row.name for row in grouped(table, 2)][1:6] == [f"stage.{i}" for i in range(5)]
    for depth in (1, 2, 3):
        assert as_json(grouped(table, depth))["totals"] == as_json(table)["totals"]
    assert grouped(table, 3).rows == table.rows


def test_repeated_blocks_are_one_row(table: LayerTable) -> None:
    rows = {row.name: row for row in folded(table)}
    assert list(rows) == [
        "stem", "stage.0.first", "stage.0.second", "stage.1.first", "stage.1.second", "stage.2-4", "pool", "head"
    ]  # fmt: skip
    repeated = rows["stage.2-4"]
    assert (repeated.type, repeated.params) == ("3 x stage.1", 3 * (584 + 72))
    assert repeated.receptive_field == table["stage.4.second"].receptive_field
    assert as_json(folded(table))["totals"] == as_json(table)["totals"]
    lines = [plain(line) for line in table_lines(folded(table))]
    assert any(line.startswith(" .2-4") and "3 x stage.1" in line for line in lines)


def test_blocks_that_differ_in_anything_shown_are_not_folded() -> None:
    for change in (nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 3, padding=1, stride=2), nn.MaxPool2d(3)):
        same = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)) for _ in range(2)]
        other = nn.Sequential(change, nn.Conv2d(2, 2, 1))
        table = inspect_graph(graph_of_module(nn.Sequential(same[0], other, same[1]), (2, 30, 30), "model"))
        assert folded(table).rows == table.rows


def test_a_single_repetition() -> None:
    blocks = (nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(3))) for _ in range(2))
    table = inspect_graph(graph_of_module(nn.Sequential(*blocks), (2, 5, 5), "model"))
    assert [(row.name, row.type) for row in folded(table)][-1] == ("1", "as 0")


def test_selected_rows_are_what_the_totals_count(table: LayerTable) -> None:
    chosen = only(table, ["stage.*.second", "head"])
    assert [row.name for row in chosen] == [*(f"stage.{i}.second" for i in range(5)), "head"]
    assert chosen.params == 5 * 72 + 27
    assert "6 of 13 layers" in chosen.notes[-1]
    assert chosen.memory == table.memory
    with pytest.raises(UsageError, match=r"no layer matches stage\.9"):
        only(table, ["head", "stage.9*"])


@pytest.mark.parametrize("key", ["params", "macs", "memory", "rf"])
def test_sorted(key: SortKey, table: LayerTable) -> None:
    def value(row: dict[str, object]) -> object:
        return {
            "params": row["params"],
            "macs": row["macs"],
            "memory": row["activation_bytes"],
            "rf": max(row["receptive_field"]["size"]),  # type: ignore[index]  # a dictionary in JSON
        }[key]

    rows = as_json(sorted_by(table, key))["layers"]
    assert [value(row) for row in rows] == sorted((value(row) for row in rows), reverse=True)  # type: ignore[type-var]
    assert sorted(row["name"] for row in rows) == sorted(row.name for row in table)


@pytest.mark.parametrize(("by", "names"), [("type", ["conv", "adaptive_avg_pool", "linear"]), ("module", None)])
def test_shares_add_up(by: By, names: list[str] | None, table: LayerTable) -> None:
    found = shares(table, by)
    assert [each.name for each in found] == (names or ["stem", "stage", "pool", "head"])
    assert sum(each.layers for each in found) == len(table)
    assert sum(each.params for each in found) == table.params
    assert sum(each.macs for each in found) == table.macs
    assert sum(each.activation_bytes for each in found) == sum(row.activation_bytes or 0 for row in table)
    assert [each["params"] for each in shares_as_json(table, by, 1)["groups"]] == [each.params for each in found]


def test_the_longest_bar_has_twenty_blocks(table: LayerTable) -> None:
    lines = [plain(line) for line in share_lines(table, "module", 1)]
    stage = next(line for line in lines if line.startswith("stage"))
    assert "█" * 20 in stage
    assert "█" * 21 not in stage
    narrow = [plain(line) for line in share_lines(table, "module", 1, width=80)]
    assert not any("█" in line for line in narrow)
    assert max(map(len, narrow)) <= 80


@pytest.mark.parametrize("width", [50, 60, 80, 100])
@pytest.mark.parametrize("tree", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, tree: bool, table: LayerTable) -> None:
    """Columns of least importance are left out, and names shortened in the middle; none is folded in mid-word."""
    name = "a_rather_long_name_of_a_module.with_another_long_name"
    model = nn.Sequential()
    model.add_module(name.split(".")[0], nn.Sequential())
    model.get_submodule(name.split(".")[0]).add_module(name.split(".")[1], nn.Conv2d(3, 4, 3))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(4 * 222 * 222, 10))
    long = inspect_graph(graph_of_module(model, (3, 224, 224), "model"))
    for each in (table, long):
        lines = [plain(line) for line in table_lines(each, width=width, tree=tree, prose_width=width)]
        assert max(map(len, lines)) <= width
    lines = [plain(line) for line in table_lines(long, width=width, tree=tree)]
    [row] = [line for line in lines if "long_name" in line or "…" in line]
    assert row.split()[0].endswith("ame")
    assert all(each in "".join(lines) for each in ("params", "MACs", "RF", "output"))
