"""A canvas drawn at several sizes and as SVG, and text that is shortened where it does not fit."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnncli.drawing.canvas import BACKGROUND, Box, Canvas
from cnncli.drawing.color import Pixels
from cnncli.drawing.svg import MOST_CELLS
from cnncli.drawing.text import LEAST_NAME, Name, fit, fit_name, joined, least_width, shortened, text_width, wrap

SVG = "{http://www.w3.org/2000/svg}"


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def drawn() -> Canvas:
    """Something of everything."""
    canvas = Canvas(width=90, height=70)
    canvas.tile(Box(x=4, y=20, height=3, width=5, scale=2), noise(3, 5))
    canvas.tile(Box(x=30, y=20, height=13, width=14, scale=1), noise(13, 14))
    canvas.rectangle(60, 22, width=7, height=5, color=(1, 2, 3))
    canvas.frame(Box(x=60, y=40, height=6, width=6, scale=1), (9, 8, 7), width=2)
    canvas.text(2, 0, "one & two < three", width=88)
    canvas.right_aligned(88, 60, "12.5%")
    canvas.upward(80, 50, "up")
    canvas.dot(50, 50, radius=3, color=(200, 0, 0), ring=(0, 0, 0))
    canvas.polygon([(10, 50), (20, 50), (15, 60)], color=(0, 0, 200))
    canvas.line((30, 60), (40, 66), color=(0, 100, 0))
    return canvas


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_enlarged_tiles_and_frames_have_exactly_that_size(scale: int) -> None:
    canvas = drawn()
    pixels = canvas.enlarged(scale)
    assert pixels.shape == (70 * scale, 90 * scale, 3)
    for x, y, tile, factor in ((4, 20, noise(3, 5), 2 * scale), (30, 20, noise(13, 14), scale)):
        whole = tile.repeat(factor, axis=0).repeat(factor, axis=1)
        found = pixels[y * scale : y * scale + whole.shape[0], x * scale : x * scale + whole.shape[1]]
        assert np.array_equal(found, whole)
    for color, area in (((1, 2, 3), 35), ((9, 8, 7), 10 * 10 - 6 * 6)):
        assert (pixels == color).all(axis=-1).sum() == area * scale**2


def test_enlarged_text_is_drawn_and_not_enlarged() -> None:
    """Its edges are finer than the pixels of the small one, and it has the same place."""
    canvas = Canvas(width=60, height=20)
    canvas.text(3, 4, "Wave 830", width=60)
    small, large = canvas.pixels, canvas.enlarged(4)
    assert not np.array_equal(large, small.repeat(4, axis=0).repeat(4, axis=1))
    inked = [np.argwhere((pixels != BACKGROUND).any(axis=-1)) for pixels in (small, large)]
    for edge in (np.min, np.max):
        assert np.allclose(edge(inked[0], axis=0), edge(inked[1], axis=0) / 4, atol=2)


def test_text_upward_has_the_pixels_of_text_turned() -> None:
    flat, upward = Canvas(width=60, height=60), Canvas(width=60, height=60)
    flat.anchored(5, 30, "turn", anchor="start")
    upward.upward(30, 55, "turn")
    turned = np.rot90(flat.pixels)
    inked = [np.argwhere((pixels != BACKGROUND).any(axis=-1)) for pixels in (turned, upward.pixels)]
    assert np.allclose(inked[0].min(axis=0), inked[1].min(axis=0), atol=1)
    assert np.allclose(inked[0].max(axis=0), inked[1].max(axis=0), atol=1)


def parsed(canvas: Canvas, title: str = "a < b", scale: int = 1) -> ElementTree.Element:
    return ElementTree.fromstring(canvas.svg(title=title, scale=scale))


def test_svg_has_its_size_and_says_what_it_shows() -> None:
    root = parsed(drawn(), scale=3)
    assert (root.attrib["width"], root.attrib["height"], root.attrib["viewBox"]) == ("270", "210", "0 0 90 70")
    assert root.find(f"{SVG}title").text == "a < b"  # type: ignore[union-attr]  # it has one
    assert root.attrib["role"] == "img"


def test_svg_has_text_as_text_in_the_width_that_was_measured() -> None:
    texts = {each.text: each for each in parsed(drawn()).iter(f"{SVG}text")}
    assert set(texts) == {"one & two < three", "12.5%", "up"}
    assert int(texts["12.5%"].attrib["textLength"]) == text_width("12.5%")
    assert texts["12.5%"].attrib["text-anchor"] == "end"
    assert "rotate(-90)" in texts["up"].attrib["transform"]


def test_cells_of_small_tiles_are_rectangles_and_large_tiles_are_images() -> None:
    assert 13 * 14 > MOST_CELLS >= 3 * 5
    root = parsed(drawn())
    cells = {
        (int(each.attrib["x"]), int(each.attrib["y"])): (each.attrib["fill"], each.attrib["width"])
        for each in root.iter(f"{SVG}rect")
        if "x" in each.attrib
    }
    for row in range(3):
        for column in range(5):
            color = "#{:02x}{:02x}{:02x}".format(*noise(3, 5)[row, column])
            assert cells[4 + 2 * column, 20 + 2 * row] == (color, "2")
    (image,) = root.iter(f"{SVG}image")
    content = base64.b64decode(image.attrib["href"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.array(Image.open(io.BytesIO(content))), noise(13, 14))


def test_svg_requests_nothing() -> None:
    text = drawn().svg(title="x")
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text
    assert "url(" not in text


def test_a_name_is_shortened_in_its_middle() -> None:
    assert shortened("Golden retriever", 9) == "Gold…ever"
    assert shortened("short", 9) == "short"
    line = fit(["predicted ", Name("a very long class name, 17"), ", 98.63%"], 150)
    assert line.startswith("predicted a")
    assert line.endswith("17, 98.63%")
    assert "…" in line
    assert text_width(line) <= 150


NAMES = st.text("abcdef 0123456789_-", min_size=1, max_size=60).map(Name)


@given(NAMES, st.floats(0.001, 99_999), st.integers(20, 400))
def test_numbers_beside_names_are_never_cut_off(name: Name, number: float, width: int) -> None:
    words = ["class ", name, f": {number:.4g}"]
    line = fit(words, width)
    if least_width(words) <= width:
        assert text_width(line) <= width
        assert line.endswith(f": {number:.4g}")
        assert line.startswith("class ")


@given(st.lists(st.from_regex(r"[0-9]{1,9}|[a-z]{1,9}", fullmatch=True), min_size=1, max_size=20), st.integers(80, 300))
def test_words_are_omitted_whole(words: list[str], width: int) -> None:
    line = fit(" ".join(words), width)
    assert text_width(line) <= width
    kept = line.removesuffix("…").split()
    assert kept == words[: len(kept)]


@given(st.lists(st.from_regex(r"[0-9.%]{1,8}|[a-z]{1,80}", fullmatch=True), max_size=20), st.integers(90, 300))
def test_wrapped_lines_fit_and_keep_every_number(words: list[str], width: int) -> None:
    lines = list(wrap(" ".join(words), width))
    assert all(text_width(line) <= width for line in lines)
    assert [word for line in lines for word in line.split() if word[0] in "0123456789.%"] == [
        word for word in words if word[0] in "0123456789.%"
    ]


@given(st.text("abc ", min_size=1, max_size=80).map(str.strip).filter(bool), st.integers(0, 200))
def test_names_keep_a_few_characters(name: str, width: int) -> None:
    line = fit_name(name, width)
    assert len(line) >= min(len(name), LEAST_NAME) - 2
    assert text_width(line) <= max(width, text_width(shortened(name, LEAST_NAME)))


def test_parts_of_a_line_are_joined() -> None:
    assert joined(["a", Name("b")]) == "ab"
    assert joined("ab") == "ab"
