"""Tiles as characters: read back into the numbers and colors they were drawn from."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from rich.console import Console
from rich.text import Text

from cnncli.cli.render.tiles import DIVERGING, MOST, SEQUENTIAL, Medium, digit_lines, tile_lines, xterm_colors
from cnncli.drawing.color import Scale
from cnncli.drawing.image import Tile

Pixels = npt.NDArray[np.uint8]

COLORS, PLAIN = Medium(80, colors=True), Medium(80, colors=False)
XTERM = Medium(80, colors=True, true_color=False)


def tile(rows: list[list[float]], limit: float = 1.0, label: str = "0") -> Tile:
    return Tile.of(np.array(rows), Scale(low=-limit, high=limit, signed=True), label=label)


def cells(line: Text) -> Iterator[tuple[list[int], list[int] | None]]:
    """The colors of the upper and lower halves of the half blocks of a line."""
    for character, console_style in ((line.plain[span.start : span.end], span.style) for span in line.spans):
        assert not isinstance(console_style, str)
        if character != "\u2580":
            continue
        assert console_style.color is not None
        assert console_style.color.triplet is not None
        below = console_style.bgcolor
        yield list(console_style.color.triplet), list(below.triplet) if below and below.triplet else None


def painted(lines: list[Text]) -> Pixels:
    """The pixels (H, W, 3) of lines of half blocks; H is even."""
    rows: list[list[list[int]]] = []
    for line in lines:
        halves = list(cells(line))
        rows.append([upper for upper, _ in halves])
        rows.append([lower for _, lower in halves if lower is not None])
    return np.array(rows, dtype=np.uint8)


def test_half_blocks_have_the_colors_of_the_tile_enlarged() -> None:
    shown = tile([[1.0, -1.0], [0.0, 0.5]])
    legend, label, *lines = tile_lines([shown], COLORS)
    assert legend.plain.startswith("-1 ")
    assert legend.plain.endswith(" 1")
    assert label.plain == "0"
    assert len(lines) == 4
    assert np.array_equal(painted(lines), shown.pixels.repeat(4, axis=0).repeat(4, axis=1))


def test_an_odd_last_row_has_nothing_behind_it() -> None:
    _, _, *lines = tile_lines([tile([[1.0] * 9] * 9)], COLORS)
    assert len(lines) == 5
    assert {lower is None for _, lower in cells(lines[-1])} == {True}


def test_the_bar_runs_from_end_to_end() -> None:
    legend, *_ = tile_lines([tile([[1.0]], limit=0.25)], COLORS)
    upper = [color for color, _ in cells(legend)]
    assert upper[0] == [18, 58, 128]
    assert upper[-1] == [138, 16, 36]
    assert (legend.plain[:6], legend.plain[-5:]) == ("-0.25 ", " 0.25")


def test_digits_by_hand() -> None:
    scale = Scale(low=-1.8, high=1.8, signed=True)  # a digit is 0.2
    rows = np.array([[1.8, -1.8, 0.2, -0.6, 0.09], [0.11, np.nan, np.inf, 9.0, -9.0]])
    assert [line.plain for line in digit_lines(rows, scale)] == [" 9-9 1-3 .", " 1 ? ? 9-9"]
    rising = Scale(low=0.0, high=9.0, signed=False)
    assert [line.plain for line in digit_lines(np.array([[0.0, 0.4, 1.0, 8.6]]), rising)] == [" . . 1 9"]
    nothing = Scale(low=0.0, high=0.0, signed=False)
    assert [line.plain for line in digit_lines(np.zeros((1, 2)), nothing)] == [" . ."]


def test_without_colors_the_legend_says_what_a_digit_is() -> None:
    lines = [line.plain for line in tile_lines([tile([[0.43, 0.0]], limit=0.43)], PLAIN)]
    assert lines == ["9 = 0.43, -9 = -0.43, . = about 0", "0", " 9 ."]
    rising = Tile.of(np.array([[3.0]]), Scale(low=0.0, high=3.0, signed=False), label="4")
    assert [line.plain for line in tile_lines([rising], PLAIN)] == ["9 = 3, . = about 0", "4", " 9"]
    zero = Tile.of(np.zeros((1, 1)), Scale(low=0.0, high=0.0, signed=True), label="4")
    assert [line.plain for line in tile_lines([zero], PLAIN)] == ["every value is 0", "4", " ."]


def test_tiles_stand_side_by_side_as_far_as_there_is_room() -> None:
    row = [tile([[0.1] * 5] * 2, label=str(i)) for i in range(7)]
    lines = [line.plain for line in tile_lines(row, PLAIN)][1:]
    # Tiles of 10 columns and 3 between: six of them take 75.
    assert lines[0].split() == ["0", "1", "2", "3", "4", "5"]
    assert lines[3:] == ["6", " 1 1 1 1 1", " 1 1 1 1 1"]
    assert max(map(len, lines)) <= 80


def test_another_scale_than_that_of_most_stands_in_the_label() -> None:
    image = Tile.image(torch.full((1, 2, 2), 255, dtype=torch.uint8), label="input")
    maps = [tile([[1.0]], label=str(i)) for i in range(2)]
    assert [line.plain for line in tile_lines([image, *maps], PLAIN)][1].split() == ["input", "0..255", "0", "1"]
    own = [tile([[1.0]], limit=limit, label=str(i)) for i, limit in enumerate((0.5, 2.0))]
    lines = [line.plain for line in tile_lines(own, PLAIN)]
    assert lines[0] == "9 = the end of each tile's own scale, . = about 0"
    assert lines[1].split() == ["0", "±0.5", "1", "±2"]


@pytest.mark.parametrize(("medium", "most"), [(PLAIN, 40), (COLORS, 80)])
def test_wide_maps_are_thinned_and_say_so(medium: Medium, most: int) -> None:
    wide = Tile.of(np.arange(200.0)[None], Scale(low=0.0, high=199.0, signed=False), label="0")
    *_, picture, note = tile_lines([wide], medium)
    step = -(-200 // most)
    assert note.plain == f"(one pixel in {step} is shown)"
    assert picture.cell_len == -(-200 // step) * (80 // most)


def test_the_number_of_tiles_is_limited() -> None:
    many = [tile([[1.0]], label=str(i)) for i in range(MOST + 1)]
    *_, last = tile_lines(many, PLAIN)
    assert last.plain == f"(the first {MOST} of {MOST + 1} tiles of the picture)"
    assert not any(f" {MOST} " in f" {line.plain} " for line in list(tile_lines(many, PLAIN))[:-1])


def test_the_256_colors_are_the_terminals_own_and_keep_the_sign() -> None:
    scale = Scale(low=-2.0, high=2.0, signed=True)
    shown = xterm_colors(np.array([-2.0, -0.4, 0.0, 0.4, 2.0, np.nan]), scale).tolist()
    assert shown[2] == [238, 238, 238]
    assert [color[2] > color[0] for color in shown[:2]] == [True, True]
    assert [color[0] > color[2] for color in shown[3:5]] == [True, True]
    assert shown[5] == [255, 0, 255]
    for red, green, blue in (*DIVERGING, *SEQUENTIAL):
        cube = {red, green, blue} <= {0, 95, 135, 175, 215, 255}
        assert cube or (red == green == blue and (red - 8) % 10 == 0)
    rising = xterm_colors(np.array([0.0, 3.0]), Scale(low=0.0, high=3.0, signed=False))
    assert rising.tolist() == [list(SEQUENTIAL[0]), list(SEQUENTIAL[-1])]
    nothing = Scale(low=0.0, high=0.0, signed=True)
    assert xterm_colors(np.zeros(1), nothing).tolist() == [[238, 238, 238]]


def test_in_256_colors_scales_are_drawn_in_them_and_pictures_left_alone() -> None:
    lines = list(tile_lines([tile([[0.2] * 8] * 8)], XTERM))
    assert set(map(tuple, painted(lines[2:])[:, :, :].reshape(-1, 3).tolist())) == {(255, 175, 175)}
    image = Tile.image(torch.tensor([200, 10, 10], dtype=torch.uint8)[:, None, None].expand(3, 8, 8), label="i")
    lines = list(tile_lines([image], XTERM))
    assert set(map(tuple, painted(lines[2:]).reshape(-1, 3).tolist())) == {(200, 10, 10)}


def test_lightness_of_the_256_colors_is_monotonic() -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])
    rising = (np.array(SEQUENTIAL) / 255) ** 2.2 @ weights
    assert (np.diff(rising) > 0).all()
    middle = len(DIVERGING) // 2
    light = (np.array(DIVERGING) / 255) ** 2.2 @ weights
    assert (np.diff(light[: middle + 1]) > 0).all()
    assert (np.diff(light[middle:]) < 0).all()


@pytest.mark.parametrize(
    ("system", "no_color", "expected"),
    [
        ("truecolor", False, (True, True)),
        ("256", False, (True, False)),
        ("standard", False, (False, False)),
        (None, False, (False, False)),
        ("truecolor", True, (False, True)),
    ],
)
def test_sixteen_colors_are_too_few(system: str | None, no_color: bool, expected: tuple[bool, bool]) -> None:
    console = Console(color_system=system, no_color=no_color, force_terminal=True, width=77)  # type: ignore[arg-type]  # any of them
    assert Medium.of(console).colors is expected[0]
    if expected[0]:
        assert Medium.of(console).true_color is expected[1]


def test_images_have_no_scale_in_color_and_one_in_digits() -> None:
    """An image's colors are its own; a bar of blue and yellow beside gray patches would say otherwise."""
    images = [Tile.image(torch.full((1, 8, 8), level, dtype=torch.uint8), label="image") for level in (0, 90)]
    for medium in (COLORS, XTERM):
        first, *_ = tile_lines(images, medium)
        assert first.plain.split() == ["image", "image"]
    legend, *_ = tile_lines([tile([[1.0, -1.0]]), *images], COLORS)
    assert (legend.plain[:3], legend.plain[-2:]) == ("-1 ", " 1")
    legend, *_ = tile_lines(images, PLAIN)
    assert legend.plain == "9 = 255, . = about 0"


@pytest.mark.parametrize(("width", "across"), [(80, 6), (40, 3), (12, 1)])
def test_a_matrix_keeps_its_rows_and_columns(width: int, across: int) -> None:
    """Six inputs of nine filters, 10 characters each: where six do not fit, the first ones of all come first."""
    matrix = [
        Tile.of(np.full((5, 5), 1.0), Scale(low=-1.0, high=1.0, signed=True), label=f"{row},{column}", row=row)
        for row in range(9)
        for column in range(6)
    ]
    lines = [line.plain for line in tile_lines(matrix, Medium(width, colors=False))]
    labels = [line.split() for line in lines[1:] if "," in line]
    expected = [
        [f"{row},{column}" for column in range(first, first + across)]
        for first in range(0, 6, across)
        for row in range(9)
    ]
    assert labels == expected
    assert max(map(len, lines[1:])) <= width


def test_a_large_matrix_is_cut_to_whole_rows() -> None:
    matrix = [
        Tile.of(np.ones((3, 3)), Scale(low=-1.0, high=1.0, signed=True), label=f"{row},{column}", row=row)
        for row in range(30)
        for column in range(16)
    ]
    _, *lines, last = [line.plain for line in tile_lines(matrix, Medium(200, colors=False))]
    assert last == f"({MOST // 16 * 16} of 480 tiles of the picture)"
    assert sum(line.count(",") for line in lines) == MOST // 16 * 16
