"""The images that are classified wrong, the most confident mistakes first."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnncli.drawing.canvas import Canvas
from cnncli.drawing.image import Tile
from cnncli.drawing.text import Words, joined
from cnncli.run import Run
from cnncli.views.confusion import Confusion
from cnncli.views.mistakes import Mistakes

WRONG = [7, 5, 4]
"""Most confident first: the brighter the pixel, the higher the confidence."""


def test_mistakes_come_surest_first(eight: Run) -> None:
    (found,) = Mistakes().pictures(eight)
    assert found.tag == "eval/mistakes"
    assert found.numbers == {"wrong": 3}
    labels = [tile.label.rpartition(",")[0] for tile in found.tiles]
    assert labels == ["test image 7: dog -> cat", "test image 5: cat -> owl", "test image 4: cat -> dog"]
    for tile, number in zip(found.tiles, WRONG, strict=True):
        assert tile.values.tolist() == eight.test.images[number, 0].tolist()
    sure = [float(tile.label.rpartition(" ")[2].rstrip("%")) / 100 for tile in found.tiles]
    expected = [np.exp(10) / (np.exp(10) + 2), np.exp(2300 / 255) / (np.exp(2300 / 255) + 2)]
    assert sure[:2] == pytest.approx(expected, abs=5e-4)


def test_json_lists_all_mistakes(eight: Run) -> None:
    """Also those that the sheet has no room for; confidences by hand from the logits, ten times the pixels."""
    (found,) = Mistakes(count=1).pictures(eight)
    mistakes = found.data["mistakes"]
    assert isinstance(mistakes, list)
    assert [(each["image"], each["true"], each["predicted"]) for each in mistakes] == [
        (7, "dog", "cat"), (5, "cat", "owl"), (4, "cat", "dog"),
    ]  # fmt: skip
    assert mistakes[0]["probability"] == pytest.approx(np.exp(10) / (np.exp(10) + 2), abs=5e-4)


def test_mistakes_are_on_the_sheet_and_counted(eight: Run) -> None:
    (found,) = Mistakes(count=2).pictures(eight)
    assert found.lines[0] == "3 of 8 test images are misclassified; the 2 most confident mistakes are shown"
    assert len(found.tiles) == 2
    for tile in found.tiles:
        assert isinstance(tile, Tile)
        enlarged = tile.pixels.repeat(28, axis=0).repeat(28, axis=1)  # 84 px for the longer side of 3
        windows = np.lib.stride_tricks.sliding_window_view(found.pixels, enlarged.shape)
        assert (windows == enlarged).all(axis=(-3, -2, -1)).any()


def test_below_each_mistake_stands_what_it_is_and_was_taken_for(eight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long names stand in two lines, and of a card the number of the image is left out."""
    written: list[str] = []
    write = Canvas.text

    def noted(canvas: Canvas, x: int, y: int, text: Words, **named: int) -> None:
        written.append(joined(text))
        write(canvas, x, y, text, **named)

    monkeypatch.setattr(Canvas, "text", noted)
    assert eight.preprocessing is not None
    preprocessing = replace(eight.preprocessing, classes=("cat", "dog", "a very long-eared owl"))
    list(Mistakes(count=2).pictures(replace(eight, preprocessing=preprocessing)))
    page = written[2:10]
    assert [text for text in page if not text.endswith("%")] == [
        "dog", "-> cat", "#7", "cat", "-> a very long-eared owl", "#5",
    ]  # fmt: skip
    written.clear()
    list(Mistakes(count=1).pictures(eight))
    assert [text for text in written if "->" in text and "true" not in text] == ["dog -> cat"] * 2


def test_nothing_is_wrong(run_of_three: Callable[..., Run], caplog: pytest.LogCaptureFixture) -> None:
    run = run_of_three([[200, 0, 0], [90, 80, 0], [0, 210, 0], [0, 0, 220]], [0, 0, 1, 2])
    assert list(Mistakes().pictures(run)) == []
    assert caplog.messages == ["all 4 test images are classified correctly: there are no mistakes to show"]
    (found,) = Confusion().pictures(run)
    assert list(found.lines) == ["100.00% of 4 test images are classified correctly"]
