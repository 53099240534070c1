"""Letters that Pillow's own font lacks: drawn with a font of the system, or replaced, but never as boxes."""

import logging
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cnncli.drawing import fonts
from cnncli.drawing.canvas import BACKGROUND, Canvas
from cnncli.drawing.fonts import font, runs, text_length
from cnncli.drawing.text import Name, fit, text_width

CACHED = (fonts.runs, fonts._drawable, fonts._warn)


@pytest.fixture
def without_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system with no font."""
    monkeypatch.setattr(fonts, "_KNOWN", ())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for each in CACHED:
        each.cache_clear()
    yield
    for each in CACHED:
        each.cache_clear()


@pytest.mark.usefixtures("without_fonts")
def test_without_fonts_letters_are_replaced_with_one_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cnncli"):
        assert runs("Ångström, café") == [(None, "Angstrom, cafe")]
        assert caplog.messages == []
        assert runs("猫 cat") == [(None, "\\u732b cat")]
        assert runs("子猫") == [(None, "\\u5b50\\u732b")]
        assert runs("e\u0301") == [(None, "e")]
    (message,) = caplog.messages
    assert "no font of this system" in message
    assert text_length("猫", 10) == text_length("\\u732b", 10)
    assert text_width(fit(["class ", Name("猫" * 40), ", 98.63%"], 200)) <= 200


def test_letters_of_english_are_drawn_with_the_font_of_pillow() -> None:
    assert runs("Shirt, 98.6% …") == [(None, "Shirt, 98.6% …")]


def font_with(letter: str) -> fonts.FontFile:
    ((file, drawn),) = runs(letter)
    if file is None:
        pytest.skip(f"this system has no font with {letter}")
    assert drawn == letter
    return file


@pytest.mark.parametrize("letter", ["é", "я", "猫"])
def test_letters_are_drawn_with_a_font_of_the_system(letter: str) -> None:
    """As Pillow draws them with this font, on the base line of its own; and other than what a font lacks."""
    file = font_with(letter)
    chosen = ImageFont.truetype(file.path, size=20, index=file.index)
    own = font(20)
    assert isinstance(own, ImageFont.FreeTypeFont)
    image = Image.new("RGB", (60, 40), BACKGROUND)
    ImageDraw.Draw(image).text((5, 6 + own.getmetrics()[0]), letter, fill=(24, 24, 24), font=chosen, anchor="ls")
    canvas = Canvas(width=60, height=40)
    canvas.text(5, 6, letter, width=60, size=20)
    assert np.array_equal(canvas.pixels, np.array(image))
    assert bytes(chosen.getmask(letter)) != bytes(chosen.getmask("\U0010ffff"))
    assert text_width(letter, 20) == round(chosen.getlength(letter))


def test_words_of_several_fonts_stand_beside_each_other() -> None:
    file = font_with("猫")
    assert runs("a猫b") == [(None, "a"), (file, "猫"), (None, "b")]
    canvas = Canvas(width=120, height=60)
    canvas.text(5, 10, "a猫b", width=110, size=20)
    columns = (canvas.pixels != BACKGROUND).any(axis=(0, 2))
    assert abs(int(np.flatnonzero(columns)[-1]) - 5 - text_width("a猫b", 20)) <= 3
    assert np.count_nonzero(columns) > 30
