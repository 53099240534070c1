"""Windows and closed forms against torch and against figures worked out by hand."""

from fractions import Fraction

import pytest
import torch
from torch.nn import functional

from cnncli.windows import (
    Adaptive,
    AxisReceptiveField,
    ClosedForm,
    Gathered,
    Padded,
    Pattern,
    Resampled,
    Sliding,
    Transposed,
    Window,
)


def chain(size: int, *windows: Window) -> AxisReceptiveField:
    field = AxisReceptiveField.of_input(size)
    for window in windows:
        field = field.through(window)
    return field


def positions_read(operate: torch.nn.Module, size: int) -> list[set[int]]:
    """The positions that each unit reads, found with ones in a linear operation; maps are (size, 1, size, 1)."""
    maps = torch.eye(size)[:, None, :, None]
    return [set(column.nonzero().flatten().tolist()) for column in operate(maps)[:, 0, :, 0].T]


@pytest.mark.parametrize("size", [1, 2, 5, 13, 28])
@pytest.mark.parametrize("units", [1, 2, 3, 11, 28, 37])
@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [
        ("nearest", False),
        ("nearest-exact", False),
        ("linear", False),
        ("linear", True),
        ("cubic", False),
        ("cubic", True),
    ],
)
def test_resampling_is_torchs(size: int, units: int, mode: str, align_corners: bool) -> None:
    options = {"align_corners": align_corners} if mode in ("linear", "cubic") else {}
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)

    class Interpolate(torch.nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(maps, size=(units, 1), mode=name, **options)

    window = Resampled(units=units, mode=mode, align_corners=align_corners)  # type: ignore[arg-type]  # a parameter
    assert [set(window.reads(unit, size)) for unit in range(units)] == positions_read(Interpolate(), size)


def test_interpolation_at_a_position_reads_that_one_alone() -> None:
    """5 to 9 positions with `align_corners`: unit 2 i lies at position i, where its neighbors have the weight 0."""
    for mode, between in (("linear", (1, 2)), ("cubic", (0, 1, 2, 3))):
        window = Resampled(units=9, mode=mode, align_corners=True)  # type: ignore[arg-type]  # a parameter
        assert [tuple(window.reads(unit, 5)) for unit in (2, 3)] == [(1,), between]
        form = chain(5, window).closed_form
        assert form is not None
        assert [pattern.size for pattern in form.patterns] == [1, len(between)]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (0, 3), (-1, 2)])
def test_padding_is_torchs(mode: str, before: int, after: int) -> None:
    class Pad(torch.nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return functional.pad(maps, (0, 0, before, after), mode=mode)

    window = Padded(before=before, after=after, mode=mode)  # type: ignore[arg-type]  # a parameter
    reads = [{each for each in window.reads(unit, 6) if 0 <= each < 6} for unit in range(window.output_size(6))]
    assert reads == positions_read(Pad(), 6)


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_ceil_mode_is_torchs(kernel: int, stride: int) -> None:
    """Sizes from 3 to 11; a last window that would start in the padding at the end is left out."""
    pad = kernel // 2
    window = Sliding(kernel=kernel, stride=stride, before=pad, after=pad, ceil_mode=True)
    for size in range(3, 12):
        pooled = functional.max_pool1d(torch.zeros(1, 1, size), kernel, stride, pad, ceil_mode=True)
        assert window.output_size(size) == pooled.shape[-1]


def test_the_stem_of_resnet_in_closed_form() -> None:
    """7/2 padded by 3, then 3/2 padded by 1 (ResNet's stem): size 11, jump 4, from pixel -5."""
    form = chain(224, Sliding(kernel=7, stride=2, before=3, after=3), Sliding(kernel=3, stride=2, before=1)).closed_form
    assert form == ClosedForm((Pattern(-5, 2**11 - 1),), 4)
    assert form.center == 0


def test_center_of_alternating_patterns() -> None:
    """Doubled by nearest: units 2q and 2q + 1 see pixel q. Moved back by 0 and 1/2, their centers are 0 and -1/2."""
    form = chain(8, Resampled(units=16)).closed_form
    assert form == ClosedForm((Pattern(0, 1), Pattern(0, 1)), 1)
    assert form.center == Fraction(-1, 4)


def test_doubling_halves_the_jump() -> None:
    field = chain(8, Resampled(units=16), Sliding(kernel=3, before=1, after=1))
    assert field.jump == Fraction(1, 2)
    # Units 2q read pixels q - 1 and q, units 2q + 1 read q and q + 1.
    assert field.closed_form == ClosedForm((Pattern(-1, 0b11), Pattern(0, 0b11)), 1)


def test_a_pool_undoes_an_upsampling() -> None:
    field = chain(8, Resampled(units=16), Sliding(kernel=2, stride=2))
    assert field.closed_form == ClosedForm.of_input()


def test_transposed_units_without_input() -> None:
    field = chain(3, Transposed(kernel=1, stride=3))
    assert field.masks == (0b001, 0, 0, 0b010, 0, 0, 0b100)
    assert [field.interval(unit) for unit in (0, 1)] == [(0, 0), None]


def test_unequal_bins() -> None:
    """Seven positions in four bins: 0-1, 1-3, 3-5, 5-6."""
    field = chain(7, Adaptive(units=4))
    assert [field.interval(unit) for unit in range(4)] == [(0, 1), (1, 3), (3, 5), (5, 6)]
    assert field.closed_form is not None
    assert (field.closed_form.size, field.jump) == (3, Fraction(7, 4))


def test_holes_of_dilation() -> None:
    """Three 3x3 with dilation 2 read 7 of the 13 positions they span."""
    form = chain(28, *[Sliding(kernel=3, dilation=2)] * 3).closed_form
    assert form is not None
    assert (form.patterns[0].used, form.patterns[0].size) == (7, 13)


def test_paths_with_different_jumps_have_no_closed_form_but_exact_units() -> None:
    one, other = chain(9, Adaptive(units=3)), chain(9, Sliding(kernel=5, stride=2))
    union = AxisReceptiveField.union([one, other])
    assert union.closed_form is None
    assert [union.interval(unit) for unit in range(3)] == [(0, 4), (2, 6), (4, 8)]
    assert {path.jump for path in union.smallest_paths} == {2, 3}


def test_smallest_and_largest_over_paths() -> None:
    """A residual block: the identity beside a kernel of 5, then a kernel of 3."""
    start = chain(28, Sliding(kernel=3, before=1, after=1))
    union = AxisReceptiveField.union([start, start.through(Sliding(kernel=5, before=2, after=2))])
    after = union.through(Sliding(kernel=3, before=1, after=1))
    assert [path.size for path in (*after.smallest_paths, *after.largest_paths)] == [5, 9]
    assert after.closed_form is not None
    assert after.closed_form.size == 9


def test_scale_of_gathered_positions() -> None:
    """Rolled by one or read backwards, four positions lie 1 apart; two windows of two 2 in four, 2/3 on average."""
    rolled, backwards = Gathered(((3,), (0,), (1,), (2,))), Gathered(((3,), (2,), (1,), (0,)))
    assert [window.scale(4) for window in (rolled, backwards)] == [1, 1]
    assert Gathered(((0, 1), (0, 1), (2, 3), (2, 3))).scale(4) == Fraction(2, 3)
