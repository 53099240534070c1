"""Tiles where the picture says they are, and text where it can be read."""

import numpy as np
import pytest

from cnncli.drawing.canvas import BACKGROUND, Box, Canvas, text_width
from cnncli.drawing.color import Pixels, Scale
from cnncli.drawing.grid import Drawing, Strip, compose, room
from cnncli.drawing.layout import HEIGHT, WIDTH, Spacing, plan

SCALE = Scale(low=-0.25, high=0.25, signed=True)


def picture_of(tiles: Pixels, *, spacing: Spacing, title: str = "a layer", inset: Pixels | None = None) -> Drawing:
    """Tiles (rows, columns, h, w, 3) in strips of a row each."""
    rows, columns, height, width, _ = tiles.shape
    layout = plan(
        strips=rows,
        tiles=columns,
        tile=(height, width),
        room=room(captions=1, inset=inset is not None),
        spacing=spacing,
        least_scale=2,
    )
    strips = [Strip(str(i), {(i, j): tiles[i, j] for j in range(columns)}) for i in range(rows)]
    names = [str(j) for j in range(columns)] if spacing.top else []
    return compose(strips, layout, title=title, captions=["caption"], scale=SCALE, columns=names, inset=inset)


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "spacing", [Spacing(gap=1, left=14, top=12, between=6), Spacing(gap=4, above=12), Spacing(gap=0)]
)
def test_every_tile_is_where_its_box_is(spacing: Spacing) -> None:
    tiles = noise(4, 3, 5, 2)
    picture = picture_of(tiles, spacing=spacing)
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert set(picture.boxes) == {(i, j) for i in range(4) for j in range(3)}
    for key, box in picture.boxes.items():
        assert box.scale >= 2
        assert np.array_equal(picture.colors(box), tiles[key])
        whole = picture.pixels[box.y : box.bottom, box.x : box.right]
        assert np.array_equal(whole, np.kron(tiles[key], np.ones((box.scale, box.scale, 1), np.uint8)))


def test_rows_go_down_and_columns_go_across() -> None:
    boxes = picture_of(noise(3, 2, 4, 4), spacing=Spacing(gap=1, left=14, between=400)).boxes
    assert boxes[0, 0].x == boxes[1, 0].x == boxes[2, 0].x < boxes[0, 1].x
    assert boxes[0, 0].y == boxes[0, 1].y < boxes[1, 0].y < boxes[2, 0].y


def test_the_inset_keeps_clear_of_the_tiles() -> None:
    inset = noise(28, 28)
    picture = picture_of(noise(2, 2, 5, 5), spacing=Spacing(gap=4, left=10), inset=inset)
    assert picture.inset is not None
    assert picture.inset.scale == 2
    assert np.array_equal(picture.colors(picture.inset), inset)
    assert picture.inset.right < min(box.x for box in picture.boxes.values())


def test_the_bar_shows_both_ends_and_the_neutral_middle() -> None:
    picture = picture_of(noise(1, 1, 5, 5), spacing=Spacing(gap=1))
    row = picture.pixels[7, WIDTH // 2 :].tolist()
    blue, red = row.index([18, 58, 128]), row.index([138, 16, 36])
    assert blue < red
    middle = row[(blue + red) // 2]
    assert min(middle) >= 240


def test_ink_stays_between_the_edges() -> None:
    picture = picture_of(noise(2, 2, 5, 5), spacing=Spacing(gap=1, left=14, top=12), title="a long name " * 9)
    edges = (picture.pixels[:, 0], picture.pixels[:, -1], picture.pixels[-1])
    assert all((edge == BACKGROUND).all() for edge in edges)
    plain = picture_of(noise(2, 2, 5, 5), spacing=Spacing(gap=1, left=14, top=12), title="")
    _, columns, _ = np.nonzero(plain.pixels[:17] != BACKGROUND)  # the bar and its numbers alone
    right = np.s_[:17, columns.min() - 4 :]
    assert np.array_equal(picture.pixels[right], plain.pixels[right])


def test_long_text_is_shortened() -> None:
    short, long = Canvas(width=100, height=20), Canvas(width=100, height=20)
    short.text(0, 0, "one two", width=60)
    long.text(0, 0, "one two three four five six", width=60)
    assert text_width("one two") < 60
    assert (long.pixels[:, 64:] == BACKGROUND).all()
    assert not np.array_equal(short.pixels, long.pixels)


def test_a_tile_of_another_size_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        Canvas(width=9, height=9).tile(Box(x=0, y=0, height=2, width=2, scale=1), noise(3, 2))
