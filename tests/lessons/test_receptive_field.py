"""Receptive fields in tables and drawn on the input."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnncli.config.config import bundled_configs
from cnncli.errors import UsageError
from cnncli.lessons.page import Figures, LetterMap, Page
from cnncli.lessons.receptive_field import ReceptiveFieldGrowth

Plain = Callable[[Page], str]


def drawing(page: Page) -> tuple[str, ...]:
    (found,) = (
        part.rows
        for block in page.blocks
        if isinstance(block, Figures)
        for part in block.parts
        if isinstance(part, LetterMap)
    )
    return found


def test_lenet5_layer_by_layer(plain: Plain) -> None:
    text = plain(ReceptiveFieldGrowth().page())
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ") and line.split()}
    # Sizes 5, 6, 14, 16 and jumps 1, 2, 2, 4.
    assert [rows[name][5] for name in ("conv1", "avg_pool1", "conv2", "avg_pool2")] == ["5x5", "6x6", "14x14", "16x16"]
    assert [rows[name][6] for name in ("conv1", "avg_pool1", "conv2", "avg_pool2")] == ["1", "2", "2", "4"]


def test_the_drawing_by_hand() -> None:
    # Unit 0,0 of conv2 sees pixels -2 to 11, of which 0 to 11 are real; avg_pool1 in its middle (4, 5 of 0 .. 11).
    page = ReceptiveFieldGrowth(layer="conv2", at="0,0").page()
    rows = drawing(page)
    assert len(rows) == 28
    assert all(set(row[12:]) == {"."} and "." not in row[:12] for row in rows[:12])
    assert all(set(row) == {"."} for row in rows[12:])
    assert sum(row.count("1") for row in rows) == 5 * 5


def test_a_corner_unit_also_sees_padding(plain: Plain) -> None:
    text = plain(ReceptiveFieldGrowth(layer="conv1", at="0,0").page())
    assert "sees 9 of 784 pixels (1%)" in text
    assert "its receptive field is 5x5. The rest of it is padding" in text


def test_units_that_see_everything(plain: Plain) -> None:
    text = plain(ReceptiveFieldGrowth(layer="linear1").page())
    assert "sees 784 of 784 pixels (100%)" in text
    assert "Every unit of this layer sees the whole input." in text


def test_gaps_are_drawn(tmp_path: Path) -> None:
    config = tmp_path / "holes.yaml"
    config.write_text(
        "data: {name: digits}\n"
        "model: {layers: [{conv: {out_channels: 1, kernel_size: 2, dilation: 3}}, flatten, logits]}\n"
    )
    rows = drawing(ReceptiveFieldGrowth(config=str(config), at="1,2").page())
    assert rows == ("........", "..1..1..", "........", "........", "..1..1..", "........", "........", "........")


def test_a_layer_is_drawn_only_where_the_target_sees_it(tmp_path: Path) -> None:
    config = tmp_path / "apart.yaml"
    config.write_text(
        "data: {name: digits}\n"
        "model:\n"
        "  layers:\n"
        "    - conv: {out_channels: 1, kernel_size: 1}\n"
        "    - conv: {out_channels: 1, kernel_size: [1, 2], dilation: 3}\n"
        "    - flatten\n"
        "    - logits\n"
    )
    # conv2 does not read the unit of conv1 in the middle of the two pixels.
    rows = drawing(ReceptiveFieldGrowth(config=str(config), layer="conv2", at="1,2").page())
    assert rows == ("........", "..2..2..", *["........"] * 6)


def test_large_inputs_are_drawn_smaller(plain: Plain) -> None:
    page = ReceptiveFieldGrowth(layer="conv1", at="0,0", assignments=["data.size=224"]).page()
    text = plain(page)
    assert "Each character stands for 6x6 pixels." in text
    assert drawing(page)[0].startswith("1.")
    assert len(drawing(page)) == 38


@pytest.mark.parametrize(
    ("layer", "at", "message"),
    [
        ("conv3", None, "--layer: there is no layer conv3. Did you mean conv"),
        ("conv2", "10,0", "--at: conv2 has 10x10 units, so there is none at 10,0"),
        ("linear1", "1,0", "--at: linear1 has 1x1 units"),
    ],
)
def test_layers_and_units_that_do_not_exist(layer: str, at: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReceptiveFieldGrowth(layer=layer, at=at).page()


@pytest.mark.parametrize("name", bundled_configs())
def test_every_bundled_config_fits_80_columns(name: str, plain: Plain) -> None:
    page = ReceptiveFieldGrowth(config=name).page()
    assert max(map(len, plain(page).splitlines())) <= 80, plain(page)
