"""Dead filters in pictures: marked where they are and nowhere else, without touching the color of a value."""

import numpy as np
import pytest
import torch

from cnncli.drawing.canvas import MARK, Box
from cnncli.drawing.color import Pixels, Scale
from cnncli.drawing.grid import Picture
from cnncli.views.dead_filters import dead_note
from cnncli.views.feature_maps import feature_map_picture
from cnncli.views.kernels import kernel_picture


def kernels(shape: tuple[int, ...], dead: tuple[int, ...] | None) -> Picture:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return kernel_picture(weight, title="layer", dead=dead)


def around(picture: Picture, box: Box) -> Pixels:
    """The line of pixels around a tile."""
    part = picture.pixels[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1]
    return np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])


def green(pixels: Pixels) -> int:
    return int((pixels == MARK).all(axis=-1).sum())


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (8, 4, 3, 3), (8, 4, 1, 1)])
def test_every_value_keeps_its_color(shape: tuple[int, ...]) -> None:
    marked, plain = kernels(shape, (2, 5)), kernels(shape, ())
    assert marked.boxes == plain.boxes, "nothing moves when a filter dies"
    for key, box in plain.boxes.items():
        assert np.array_equal(marked.colors(box), plain.colors(box)), key


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (8, 4, 3, 3)])
def test_dead_filters_are_framed(shape: tuple[int, ...]) -> None:
    picture = kernels(shape, (2, 5))
    for (output, _), box in picture.boxes.items():
        assert (around(picture, box) == MARK).all() == (output in (2, 5))


def test_where_there_is_no_gap_a_bar_stands_beside_the_row() -> None:
    picture = kernels((8, 4, 1, 1), (2, 5))
    for output in range(8):
        box = picture.boxes[output, 0]
        beside = picture.pixels[box.y : box.bottom, box.x - 4 : box.x - 2]
        assert (beside == MARK).all() == (output in (2, 5))


def test_dead_channels_are_framed() -> None:
    maps = torch.rand(6, 5, 5)
    maps[[1, 4]] = 0
    picture = feature_map_picture(maps, image=torch.rand(1, 8, 8), title="layer", dead=(1, 4))
    for (channel,), box in picture.boxes.items():
        assert (around(picture, box) == MARK).all() == (channel in (1, 4))


def test_where_none_is_dead_nothing_is_green() -> None:
    assert green(kernels((8, 4, 3, 3), ()).pixels) == green(kernels((8, 4, 3, 3), None).pixels) == 0


def test_the_caption_counts() -> None:
    assert dead_note(None, of=8, what="filters") == []
    assert dead_note((), of=8, what="filters") == ["0 of 8 filters dead"]
    assert dead_note((2, 5), of=8, what="filters") == ["2 of 8 filters dead: outlined"]


@pytest.mark.parametrize("scale", [Scale(low=-1, high=1, signed=True), Scale(low=0, high=1, signed=False)])
def test_the_mark_is_no_color_of_a_scale(scale: Scale) -> None:
    distances = np.abs(scale.gradient(511)[0].astype(int) - MARK).max(axis=-1)
    assert distances.min() > 40
