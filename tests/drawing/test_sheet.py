"""Sheets of sections: every panel is found again, nothing overlaps, and text stays on the sheet."""

from itertools import combinations

import numpy as np
import pytest
import torch

from cnncli.drawing.canvas import BACKGROUND, FRAME, Box, Canvas
from cnncli.drawing.image import enlargement, image_pixels, thinning
from cnncli.drawing.layout import CARD, PAGE
from cnncli.drawing.sheet import PART, Cell, Panel, Section, card, sheet


def noise(height: int, width: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


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
    picture = sheet(sections, title="title", captions=["words " * 60], side_by_side=side_by_side)
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


def test_sections_without_cells_only_speak() -> None:
    silent = sheet([Section(heading="dead")], title="t", captions=[])
    assert not silent.boxes
    assert (silent.pixels < 128).any(), "its letters"
    assert len(sheet([Section(heading="dead")] * 4, title="t", captions=[]).pixels) > len(silent.pixels)


def test_a_caption_is_broken_rather_than_cut() -> None:
    """Nothing is written in the last columns, and more words make more lines."""
    short, long = (sheet([], title="", captions=["pixel " * count]) for count in (5, 120))
    assert len(long.pixels) > len(short.pixels)
    assert (long.pixels[:, -2:] == BACKGROUND).all()


def test_a_mark_surrounds_just_its_rows_and_columns() -> None:
    panel = Panel(pixels=noise(8, 9), scale=3, marked=((2, 4), (0, 5)))
    picture = sheet([Section(cells=[Cell(panels=[panel])])], title="", captions=[])
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
        pixels = card(first, most, title="what it is")
        assert pixels.shape == (CARD.height, CARD.width, 3)
        assert titles[-1] == title
        tiles = (pixels[:, 3:12] == noise(45, 9)[0]).all(axis=(1, 2)).sum()
        assert tiles == min(most, 3)
    assert card(
        lambda _: [Section(cells=[Cell(panels=[Panel(pixels=noise(400, 9), scale=1)])])], 1, title=""
    ).shape == (
        CARD.height,
        CARD.width,
        3,
    )
