"""The colors of hand-picked values, and the way back from colors to values."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.drawing.color import DIVERGING, NEUTRAL, NOT_FINITE, SEQUENTIAL, Scale, diverging, sequential

WHITE, BLUE, RED, MAGENTA = [247, 247, 247], [18, 58, 128], [138, 16, 36], [255, 0, 255]
DARK, BRIGHT = [18, 16, 40], [253, 242, 160]


def test_diverging_at_its_landmarks() -> None:
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert diverging(values, 2.0).tolist() == [BLUE, [96, 158, 212], WHITE, [236, 128, 104], RED]


def test_values_beyond_the_scale_take_its_ends() -> None:
    assert diverging(np.array([-9.0, 9.0]), 2.0).tolist() == [BLUE, RED]
    assert sequential(np.array([-9.0, 9.0]), 0.0, 2.0).tolist() == [DARK, BRIGHT]


def test_values_that_are_not_finite_have_their_own_color() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.0])
    assert diverging(values, 1.0).tolist() == [MAGENTA, MAGENTA, MAGENTA, WHITE]
    assert sequential(values, 0.0, 1.0).tolist() == [MAGENTA, MAGENTA, MAGENTA, DARK]


def test_constant_values_never_divide_by_zero() -> None:
    assert diverging(np.zeros(2), 0.0).tolist() == [WHITE, WHITE]
    assert sequential(np.full(2, 3.0), 3.0, 3.0).tolist() == [DARK, DARK]
    assert diverging(np.array([-5e-324, 0.0, 5e-324]), 5e-324).tolist() == [BLUE, WHITE, RED]
    assert diverging(np.array([1e300]), 5e-324).tolist() == [RED]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(limit=st.floats(1e-30, 1e30), fraction=st.floats(-1, 1))
def test_signs_have_their_colors(limit: float, fraction: float) -> None:
    zero, minus, plus = diverging(np.array([0.0, -abs(fraction) * limit, abs(fraction) * limit]), limit)
    assert tuple(zero) == NEUTRAL
    assert minus[2] >= minus[0]
    assert plus[0] >= plus[2]


def test_colors_can_be_decoded(
    undiverging: Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]],
    unsequential: Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]],
) -> None:
    signed = np.linspace(-3, 3, 301)
    assert undiverging(diverging(signed, 3.0), 3.0) == pytest.approx(signed, abs=3 * 0.003)
    positive = np.linspace(0, 3, 301)
    assert unsequential(sequential(positive, 0.0, 3.0), 3.0) == pytest.approx(positive, abs=3 * 0.003)


def lightness(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CIE L* of sRGB colors (..., 3), from 0 to 100."""
    srgb = colors / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    result: npt.NDArray[np.float64] = np.where(
        luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27
    )
    return result


def test_sequential_brightens_evenly() -> None:
    steps = np.diff(lightness(sequential(np.linspace(0, 1, 21), 0.0, 1.0)))
    assert steps.min() > 3
    assert steps.max() < 6


def test_diverging_darkens_equally_on_both_sides() -> None:
    values = np.linspace(0, 1, 21)
    plus, minus = lightness(diverging(values, 1.0)), lightness(diverging(-values, 1.0))
    assert (np.diff(plus) < 0).all()
    assert (np.diff(minus) < 0).all()
    assert np.abs(plus - minus).max() < 5


def test_the_color_of_what_is_not_finite_is_far_from_both_scales() -> None:
    scales = np.concatenate([diverging(np.linspace(-1, 1, 201), 1.0), sequential(np.linspace(0, 1, 201), 0.0, 1.0)])
    assert np.abs(scales.astype(int) - NOT_FINITE).sum(axis=-1).min() > 150
    assert NOT_FINITE not in [color for _, color in (*DIVERGING, *SEQUENTIAL)]


def test_scales_of_values() -> None:
    values = np.array([-0.5, 2.0, np.nan, -np.inf])
    assert Scale.symmetric(values) == Scale(low=-2.0, high=2.0, signed=True)
    assert Scale.from_zero(values) == Scale(low=0.0, high=2.0, signed=False)
    assert str(Scale.symmetric(np.zeros(0)).low) == "0.0"
    assert Scale.from_zero(np.full(3, np.nan)).high == 0
    assert Scale.symmetric(values).gradient(3).tolist() == [[BLUE, WHITE, RED]]
    assert Scale.from_zero(values).gradient(2).tolist() == [[DARK, BRIGHT]]
