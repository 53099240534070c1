"""Tiles and panels are where the drawing says they are, and text is legible and stays on the sheet."""

from itertools import combinations

import numpy as np
import pytest
import torch

from cnncli.drawing.canvas import BACKGROUND, FRAME, Box, Canvas
from cnncli.drawing.color import Pixels, Scale
from cnncli.drawing.image import enlargement, image_pixels, thinning
from cnncli.drawing.layout import CARD, HEIGHT, PAGE, WIDTH, Spacing, plan
from cnncli.drawing.sheet import (
    PART,
    Cell,
    Drawing,
    Panel,
    Section,
    Strip,
    draw_card,
    draw_sections,
    draw_tiles,
    tile_room,
)
from cnncli.drawing.text import text_width

SCALE = Scale(low=-0.25, high=0.25, signed=True)


def picture_of(tiles: Pixels, *, spacing: Spacing, title: str = "a layer", inset: Pixels | None = None) -> Drawing:
    """Tiles (rows, columns, h, w, 3) in strips of a row each."""
    rows, columns, height, width, _ = tiles.shape
    layout = plan(
        strips=rows,
        tiles=columns,
        tile=(height, width),
        room=tile_room(captions=1, inset=inset is not None),
        spacing=spacing,
        least_scale=2,
    )
    strips = [Strip(str(i), {(i, j): tiles[i, j] for j in range(columns)}) for i in range(rows)]
    names = [str(j) for j in range(columns)] if spacing.top else []
    return draw_tiles(strips, layout, title=title, captions=["caption"], scale=SCALE, columns=names, inset=inset)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


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


def test_a_tile_must_have_the_size_of_its_box() -> None:
    with pytest.raises(AssertionError):
        Canvas(width=9, height=9).tile(Box(x=0, y=0, height=2, width=2, scale=1), noise(3, 2))


def apart(a: Box, b: Box) -> bool:
    return a.right <= b.x or b.right <= a.x or a.bottom <= b.y or b.bottom <= a.y


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("size", [(5, 5), (3, 20), (28, 28), (90, 60)])
def test_every_panel_is_there_whole(size: tuple[int, int], side_by_side: bool) -> None:
    sections = [
        Section(
            heading=f"section {number}",
            cells=[
                Cell(
                    panels=[Panel(pixels=noise(*size, seed=index), scale=2), Panel(pixels=noise(4, 4), scale=3)],
                    above="above",
                    below=["a very long line of text that has no room here", "short"],
                )
                for index in range(7)
            ],
        )
        for number in range(2)
    ]
    picture = draw_sections(sections, title="title", captions=["words " * 60], side_by_side=side_by_side)
    assert picture.pixels.shape[1] <= PAGE.width
    assert picture.boxes.keys() == {(s, c, p) for s in range(2) for c in range(7) for p in range(2)}
    for (_, cell, panel), box in picture.boxes.items():
        assert box.right < picture.pixels.shape[1]
        assert box.bottom < len(picture.pixels)
        expected = noise(*size, seed=cell) if panel == 0 else noise(4, 4)
        assert np.array_equal(picture.colors(box), expected)
        enlarged = picture.pixels[box.y : box.bottom, box.x : box.right]
        assert np.array_equal(enlarged, expected.repeat(box.scale, axis=0).repeat(box.scale, axis=1))
    assert all(apart(a, b) for a, b in combinations(picture.boxes.values(), 2))


def test_sections_without_cells_have_their_text_only() -> None:
    silent = draw_sections([Section(heading="dead")], title="t", captions=[])
    assert not silent.boxes
    assert (silent.pixels < 128).any(), "its letters"
    assert len(draw_sections([Section(heading="dead")] * 4, title="t", captions=[]).pixels) > len(silent.pixels)


def test_captions_are_wrapped() -> None:
    """Nothing is written in the last columns, and more words make more lines."""
    short, long = (draw_sections([], title="", captions=["pixel " * count]) for count in (5, 120))
    assert len(long.pixels) > len(short.pixels)
    assert (long.pixels[:, -2:] == BACKGROUND).all()


def test_a_mark_surrounds_just_its_rows_and_columns() -> None:
    panel = Panel(pixels=noise(8, 9), scale=3, marked=((2, 4), (0, 5)))
    picture = draw_sections([Section(cells=[Cell(panels=[panel])])], title="", captions=[])
    box = picture.boxes[0, 0, 0]
    where = np.argwhere((picture.pixels == PART).all(axis=-1)) - (box.y, box.x)
    assert (where.min(axis=0).tolist(), where.max(axis=0).tolist()) == ([2 * 3 - 1, -1], [5 * 3, 6 * 3])
    assert len(where) == 2 * (3 * 3 + 6 * 3) + 4
    assert (picture.pixels[box.y - 1, box.x + 5 :][0] == FRAME).all()


def test_enlarging_and_thinning() -> None:
    assert [enlargement(size, 32) for size in ((5, 5), (16, 3), (28, 28), (40, 2))] == [6, 2, 1, 1]
    assert [thinning(size, 96) for size in ((28, 28), (96, 1), (97, 1), (224, 224))] == [1, 1, 2, 3]


def test_images_in_gray_in_color_and_as_fractions() -> None:
    gray = image_pixels(torch.tensor([[[0, 200]]], dtype=torch.uint8))
    assert gray.tolist() == [[[0] * 3, [200] * 3]]
    color = image_pixels(torch.tensor([0.0, 0.5, 2.0]).view(3, 1, 1))
    assert color.tolist() == [[[0, 128, 255]]]
    many = torch.randint(256, (2, 5, 3, 4, 6), dtype=torch.uint8)
    assert image_pixels(many).tolist() == many.permute(0, 1, 3, 4, 2).tolist()
    assert image_pixels(many[:, :, :1])[1, 2, ..., 1].tolist() == many[1, 2, 0].tolist()


def test_a_card_has_one_size_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections of one panel of 45 px: three fit below the title in 215 px, at a fourth they do not."""
    titles: list[str] = []
    write = Canvas.text

    def noted(canvas: Canvas, x: int, y: int, text: str, **named: int) -> None:
        titles.extend([text] if y == 0 else [])
        write(canvas, x, y, text, **named)

    monkeypatch.setattr(Canvas, "text", noted)

    def first(count: int) -> list[Section]:
        return [Section(cells=[Cell(panels=[Panel(pixels=noise(45, 9), scale=1)])])] * count

    for most, title in ((2, "what it is"), (40, "3 of 40: what it is")):
        pixels = draw_card(first, most, title="what it is")
        assert pixels.shape == (CARD.height, CARD.width, 3)
        assert titles[-1] == title
        tiles = (pixels[:, 3:12] == noise(45, 9)[0]).all(axis=(1, 2)).sum()
        assert tiles == min(most, 3)
    assert draw_card(
        lambda _: [Section(cells=[Cell(panels=[Panel(pixels=noise(400, 9), scale=1)])])], 1, title=""
    ).shape == (
        CARD.height,
        CARD.width,
        3,
    )
