"""Categories look different, to people with any kind of color vision."""

from itertools import pairwise

import numpy as np

from cnncli.drawing.canvas import Canvas
from cnncli.drawing.categories import COLORS, COUNT, draw_marker
from tests.color_vision import least_difference


def test_colors_differ_for_every_kind_of_vision() -> None:
    red_and_green = [(214, 39, 40), (44, 160, 44)]
    assert least_difference(red_and_green)["deuteranopia"] < 12 < least_difference(red_and_green)["normal"]
    differences = least_difference(COLORS)
    assert min(differences.values()) > 12, differences


def test_no_two_categories_have_the_same_marker_and_color() -> None:
    drawn = []
    for number in range(COUNT):
        canvas = Canvas(width=20, height=20)
        draw_marker(canvas, number, 10, 10, size=4)
        drawn.append(canvas.pixels)
    assert len({each.tobytes() for each in drawn}) == COUNT
    # Without color, neighbors are told apart by their shapes.
    shapes = [(each != 255).any(axis=-1) for each in drawn]
    for one, other in pairwise(shapes):
        assert np.count_nonzero(one != other) > 10
