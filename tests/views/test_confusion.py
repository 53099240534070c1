"""The confusion matrix: its colors, its positions, its lines."""

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cnncli.drawing.canvas import BACKGROUND, Canvas
from cnncli.drawing.color import NEUTRAL
from cnncli.drawing.layout import CARD_LETTERING, HEIGHT, WIDTH
from cnncli.drawing.sheet import Drawing
from cnncli.inspection.formatting import plain
from cnncli.run import Run
from cnncli.views.confusion import Confusion, draw_confusion, text_lines

DIGITS = [str(digit) for digit in range(10)]


LONG = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def corner(picture: Drawing, true: int, predicted: int) -> list[int]:
    """The color of a cell, beside its number."""
    box = picture.boxes[true, predicted]
    color: list[int] = picture.pixels[box.y, box.x].tolist()
    return color


def counts(classes: int, *, images: int = 1000) -> Any:
    generator = np.random.default_rng(0)
    found = generator.multinomial(images // 20, np.full(classes, 1 / classes), size=classes)
    return found + np.eye(classes, dtype=np.int64) * (images - images // 20)


@pytest.mark.parametrize("classes", [10, 30])
def test_colors_are_the_square_root_of_the_share_of_the_row(classes: int, unsequential: Callable[..., Any]) -> None:
    matrix = counts(classes)
    matrix[2] *= 7  # a class with more images has the same shares
    matrix[4, 5], matrix[5, 4] = 300, 0
    picture = draw_confusion(matrix, [str(i) for i in range(classes)], title="", letters=CARD_LETTERING)
    for true in range(classes):
        for predicted in range(classes):
            share = matrix[true, predicted] / matrix[true].sum()
            color = corner(picture, true, predicted)
            if share:
                decoded = 1 - float(unsequential(np.array(color), 1.0))
                assert decoded == pytest.approx(share**0.5, abs=0.01), (true, predicted)
            else:
                assert color == list(NEUTRAL)


def test_rows_are_true_and_columns_predicted() -> None:
    """One class is always predicted as another, which stands on its right, and never the other way round."""
    matrix = np.array([[0, 5, 0], [0, 5, 0], [0, 0, 5]])
    picture = draw_confusion(matrix, ["a", "b", "c"], title="", letters=CARD_LETTERING)
    assert picture.boxes[0, 1].x > picture.boxes[0, 0].x
    assert picture.boxes[1, 0].y > picture.boxes[0, 0].y
    assert corner(picture, 0, 1) != list(NEUTRAL)
    assert corner(picture, 1, 0) == list(NEUTRAL)


def test_counts_are_in_their_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[tuple[float, float], str] = {}
    monkeypatch.setattr(Canvas, "middle", lambda canvas, x, y, text, **named: written.update({(x, y): text}))
    matrix = np.array([[7, 5, 0], [2, 6, 1], [0, 3, 9]])
    picture = draw_confusion(matrix, ["a", "b", "c"], title="", letters=CARD_LETTERING)
    middles = {key: ((box.x + box.right) / 2, (box.y + box.bottom) / 2) for key, box in picture.boxes.items()}
    assert written == {middles[int(t), int(p)]: str(matrix[t, p]) for t, p in np.argwhere(matrix)}


@pytest.mark.parametrize("names", [DIGITS, LONG], ids=["digits", "long names"])
def test_ten_classes_have_their_numbers_in_a_card(names: list[str]) -> None:
    matrix = counts(10)
    if names is DIGITS:
        matrix[0] = [1135, *[0] * 9]  # the widest number of MNIST
    picture = draw_confusion(matrix, names, title="", letters=CARD_LETTERING)
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert_numbers_in_cells(picture, matrix)


def test_long_names_and_long_numbers_make_a_wider_picture() -> None:
    matrix = counts(10, images=100_000)
    picture = draw_confusion(matrix, LONG, title="", letters=CARD_LETTERING)
    assert picture.pixels.shape[1] > WIDTH
    assert picture.boxes[9, 9].right < picture.pixels.shape[1] - 20
    assert_numbers_in_cells(picture, matrix)


def assert_numbers_in_cells(picture: Drawing, matrix: Any) -> None:
    for (true, predicted), box in picture.boxes.items():
        cell = picture.colors(box)
        drawn = (cell != cell[0, 0]).any(axis=2)
        assert drawn.any() == bool(matrix[true, predicted]), (true, predicted)
        assert not drawn[:, 0].any(), "the number runs into the next cell"
        assert not drawn[0].any()


@pytest.mark.parametrize("classes", [26, 47, 62, 120])
def test_many_classes_have_colors_only(classes: int) -> None:
    picture = draw_confusion(counts(classes), [f"class {i}" for i in range(classes)], title="", letters=CARD_LETTERING)
    for box in picture.boxes.values():
        cell = picture.colors(box)
        assert min(cell.shape[:2]) >= 3
        assert (cell == cell[0, 0]).all()
    if classes <= 47:
        assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    last = picture.boxes[classes - 1, classes - 1]
    assert last.bottom <= len(picture.pixels)
    assert last.right <= len(picture.pixels[0])


def test_labels_of_many_classes_do_not_touch() -> None:
    """Between two lines of labels on the left there are blank rows: as many lines as labels that have room."""
    picture = draw_confusion(counts(47), ["I" * 3] * 47, title="", letters=CARD_LETTERING)
    first, last = picture.boxes[0, 0], picture.boxes[46, 46]
    left = picture.pixels[first.y - 10 : last.bottom, : first.x - 6]
    inked = (left != BACKGROUND).any(axis=(1, 2))
    assert np.count_nonzero(inked[1:] & ~inked[:-1]) == 47 // 4 + 1


def test_a_class_without_images() -> None:
    matrix = np.array([[3, 0], [0, 0]])
    picture = draw_confusion(matrix, ["a", "b"], title="", letters=CARD_LETTERING)
    assert corner(picture, 1, 0) == corner(picture, 1, 1) == list(NEUTRAL)


def test_confusion(eight: Run) -> None:
    (found,) = Confusion().pictures(eight)
    assert found.tag == "eval/confusion"
    assert found.numbers == {"accuracy": 5 / 8}
    assert list(found.lines) == [
        "62.50% of 8 test images are classified correctly",
        "cat predicted as dog: 1 of 4 (25.0%)",
        "cat predicted as owl: 1 of 4 (25.0%)",
        "dog predicted as cat: 1 of 2 (50.0%)",
    ]
    assert found.data == {"classes": ["cat", "dog", "owl"], "confusion": [[2, 1, 1], [1, 1, 0], [0, 0, 2]]}


NAMED = [f"a long and windy name of class {i} of many" for i in range(50)]


def svg_texts(picture: Drawing) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(picture.canvas.svg(title=""))
    return list(root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_a_file_has_every_count_and_every_name(classes: int) -> None:
    """Each name is beside its row and above its column, in one line, shortened but with its number."""
    matrix = counts(classes)
    picture = draw_confusion(matrix, NAMED[:classes], title="title")
    texts = [each.text or "" for each in svg_texts(picture)]
    numbers = sorted(int(text) for text in texts if text.isdecimal())
    assert numbers == sorted(matrix[matrix > 0].tolist())
    names = [text for text in texts if text.startswith("a long")]
    assert len(names) == 2 * classes
    assert all("…" in name and name.endswith("of many") for name in names)
    assert_numbers_in_cells(picture, matrix)
    height, width = picture.pixels.shape[:2]
    assert height < 1300
    assert width < 1600


def test_a_file_of_a_hundred_classes_has_a_name_for_each() -> None:
    picture = draw_confusion(counts(100), [f"class {i}" for i in range(100)], title="")
    names = [each.text or "" for each in svg_texts(picture) if (each.text or "").startswith("class")]
    assert sorted(names) == sorted(2 * [f"class {i}" for i in range(100)])


def test_lines_of_a_terminal_are_the_matrix() -> None:
    """Read back from the text: errors are numbers, and correct predictions are in brackets."""
    matrix = counts(10)
    matrix[3, 4] = 0
    head, columns, *rows = [plain(line) for line in text_lines(matrix, LONG, 80)]
    assert "columns: predicted" in head
    assert columns.split() == [*DIGITS, "right"]
    for true, row in enumerate(rows):
        start = f"{true} {LONG[true]} "
        assert row.startswith(start)
        cells = row.removeprefix(start).split()[:10]
        assert [int(each.strip("[]").replace(".", "0")) for each in cells] == matrix[true].tolist()
        assert [each.startswith("[") for each in cells] == [predicted == true for predicted in range(10)]
        assert len(row) <= 80


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_of_a_terminal_that_is_too_narrow_list_the_errors(width: int) -> None:
    matrix = counts(50)
    matrix[7] = 0
    matrix[7, 7], matrix[7, 31], matrix[7, 2] = 90, 9, 1
    lines = [plain(line) for line in text_lines(matrix, NAMED, width)]
    assert len(lines) == 51
    assert all(len(line) <= width for line in lines)
    assert lines[8].split("  ")[0].startswith("7 ")
    assert "100    90%" in lines[8]
    assert re.search(r"  31 a.*many: 9", lines[8])
    assert ("2 a long" in lines[8]) == (width == 200)
