"""Single units and pixels against figures computed by hand."""

from fractions import Fraction
from itertools import pairwise

import pytest

import cnncli
from cnncli.errors import UsageError
from cnncli.inspection.table import LayerTable, inspect_network
from cnncli.inspection.units import (
    dependent_units,
    nested_receptive_fields,
    reads_per_pixel,
    reads_per_position,
    unit_receptive_field,
)
from cnncli.windows import Adaptive, Sliding
from tests.networks import network_of


@pytest.fixture(scope="module")
def lenet5() -> LayerTable:
    return cnncli.inspect("lenet5")


def test_an_inner_unit(lenet5: LayerTable) -> None:
    """conv2: start -2, jump 2, size 14; unit 2 sees 2 to 15, unit 5 sees 8 to 21."""
    field = unit_receptive_field(lenet5, "conv2", (2, 5))
    assert field.unclipped == field.clipped == ((2, 15), (8, 21))
    assert field.padding == 0


def test_a_unit_in_the_corner(lenet5: LayerTable) -> None:
    """Of 14 x 14 pixels, 12 x 12 lie inside the image."""
    field = unit_receptive_field(lenet5, "conv2", (0, 0))
    assert (field.unclipped, field.clipped) == (((-2, 11), (-2, 11)), ((0, 11), (0, 11)))
    assert field.padding == 1 - Fraction(12 * 12, 14 * 14)


def test_a_unit_whose_padding_comes_from_the_other_end() -> None:
    """3x3 with circular padding: unit 0 reads pixel 8 of 9 as well, but its window spans three."""
    layer = "{conv: {out_channels: 2, kernel_size: 3, padding: 1, padding_mode: circular}}"
    table = inspect_network(network_of(f"[{layer}]", (1, 9, 9)), "test")
    field = unit_receptive_field(table, "conv1", (0, 4))
    assert field.pixels == ((0, 1, 8), (3, 4, 5))
    assert (field.unclipped, field.clipped) == (((-1, 1), (3, 5)), ((0, 8), (3, 5)))
    assert table["conv1"].coverage == Fraction(9, 81)
    (hint,) = [hint for hint in table.hints if hint.name == "whole-input"]
    assert hint.says == "no unit spans the whole input: at most 3 of 9 pixels"


@pytest.mark.parametrize(("layer", "unit"), [("conv9", (0, 0)), ("conv2", (0, 10)), ("conv2", (0,))])
def test_missing_layers_and_units(lenet5: LayerTable, layer: str, unit: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        unit_receptive_field(lenet5, layer, unit)


def test_units_that_see_a_pixel(lenet5: LayerTable) -> None:
    """conv1 unit i sees i - 2 to i + 2; pool unit i sees 2i - 2 to 2i + 3: pixel 10 in 8-12, and in 4-6."""
    found = {each.layer: each for each in dependent_units(lenet5, (10, 0))}
    assert found["conv1"].units == ((8, 9, 10, 11, 12), (0, 1, 2))
    assert found["avg_pool1"].units == ((4, 5, 6), (0, 1))
    assert found["conv1"].share == Fraction(15, 784)
    assert found["logits1"].share == 1
    with pytest.raises(UsageError):
        dependent_units(lenet5, (28, 0))


def test_units_and_pixels_agree(lenet5: LayerTable) -> None:
    """Both directions agree."""
    for row in range(0, 28, 5):
        (found,) = [each for each in dependent_units(lenet5, (row, 13)) if each.layer == "avg_pool2"]
        for unit in range(5):
            clipped = unit_receptive_field(lenet5, "avg_pool2", (unit, 0)).clipped
            assert clipped is not None
            assert (unit in found.units[0]) is (clipped[0][0] <= row <= clipped[0][1])


def test_receptive_fields_are_nested(lenet5: LayerTable) -> None:
    fields = nested_receptive_fields(lenet5, "avg_pool2", (2, 2))
    assert [field.layer for field in fields] == ["avg_pool2", "conv2", "avg_pool1", "conv1"]
    for outer, inner in pairwise(fields):
        assert outer.unclipped is not None
        assert inner.unclipped is not None
        for (first, last), (start, end) in zip(outer.unclipped, inner.unclipped, strict=True):
            assert first <= start <= end <= last


def test_the_border_is_read_less_often() -> None:
    window = Sliding(kernel=2)
    assert reads_per_position(window, 3) == (1, 2, 1)
    assert reads_per_pixel((window, window), (3, 3)) == ((1, 2, 1), (2, 4, 2), (1, 2, 1))


def test_padding_reads_all_positions_equally_often() -> None:
    assert reads_per_position(Sliding(kernel=2, before=1, after=1), 3) == (2, 2, 2)


def test_a_stride_may_not_reach_the_end() -> None:
    assert reads_per_position(Sliding(kernel=3, stride=2), 28)[-2:] == (1, 0)


def test_bins_read_every_position() -> None:
    assert reads_per_position(Adaptive(units=2), 5) == (1, 1, 2, 1, 1)
