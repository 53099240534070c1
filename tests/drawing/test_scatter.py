"""Points in the plane: where they lie and which colors they have."""

import numpy as np
import pytest

from cnncli.drawing.canvas import INK, Box
from cnncli.drawing.layout import HEIGHT, WIDTH
from cnncli.views.embedding import class_colors, placed, scatter_picture

BOX = Box(x=10, y=20, height=100, width=200, scale=1)


def test_points_lie_on_one_scale_with_y_upwards() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    (x0, y0), (x1, y1), (x2, y2) = placed(points, BOX)
    assert y0 == y1 > y2
    assert x0 == x2 < x1
    assert x1 - x0 == y0 - y2
    assert y2 >= 20 + 4
    assert y0 <= 120 - 4


@pytest.mark.parametrize("points", [[[3.0, 3.0]], [[0.0, 0.0], [5.0, 0.0]], [[0.0, -1e9], [0.0, 1e9]]])
def test_points_without_extent_lie_inside(points: list[list[float]]) -> None:
    for x, y in placed(np.array(points), BOX):
        assert 10 < x < 210
        assert 20 < y < 120


@pytest.mark.parametrize("count", [2, 10, 26, 47])
def test_colors_differ(count: int) -> None:
    colors = np.array(class_colors(count)).astype(int)
    assert len(colors) == count
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2) + np.eye(count, dtype=int) * 1000
    assert distances.min() >= (100 if count <= 10 else 20)
    assert (np.abs(colors - 255).sum(axis=1) > 100).all(), "not to be told from the paper"


def test_two_clusters() -> None:
    """Each lies on its side, in its color; the ringed point is the one with ink."""
    points = np.concatenate([np.full((20, 2), -5.0), np.full((20, 2), 5.0)]) + np.arange(40)[:, None] / 100
    labels = np.repeat([0, 1], 20)
    ringed = np.arange(40) == 25
    pixels = scatter_picture(points, labels, ringed, ["a", "b"], title="two", caption="clusters")
    assert pixels.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    inside = pixels[60:-9, 10:540]
    left, right = (np.argwhere((inside == color).all(axis=2)) for color in class_colors(2))
    assert len(left) > 30
    assert len(right) > 30
    assert left[:, 1].max() < right[:, 1].min()
    assert left[:, 0].min() > right[:, 0].max(), "up is up"
    rings = np.argwhere((inside == INK).all(axis=2))
    assert len(rings) > 8
    assert rings[:, 1].min() > left[:, 1].max()
    without = scatter_picture(points, labels, np.zeros(40, bool), ["a", "b"], title="two", caption="clusters")
    assert not (without[60:-9, 10:540] == INK).all(axis=2).any()


def test_more_classes_than_the_legend_has_room_for() -> None:
    names = [f"a class with a long name, {number}" for number in range(300)]
    pixels = scatter_picture(np.zeros((1, 2)), np.array([299]), np.array([False]), names, title="", caption="")
    assert pixels.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert (pixels[60:-9, 10:300] == class_colors(300)[299]).all(axis=2).any()
