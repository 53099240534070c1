"""The numbers of the worked examples, on the pages that teach them; all expected numbers are worked out by hand."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cnncli.lessons import LECTURE
from cnncli.lessons.page import Block, Figures, Grid, Page, Step

Plain = Callable[[Page], str]


def page_of(name: str, **options: str) -> Page:
    """The page of a topic, with options as on the command line."""
    topics: dict[str, Any] = {topic.name: topic for topic in LECTURE}
    page: Page = topics[name](**options).page()
    return page


def grids(blocks: Iterable[Block], title: str) -> list[list[str]]:
    """The rows of every grid of that title, in the order of the page."""
    found = []
    for block in blocks:
        if isinstance(block, Step):
            found += grids(block.blocks, title)
        if isinstance(block, Figures):
            parts = [part for part in block.parts if isinstance(part, Grid) and part.title == title]
            found += [[" ".join(row) for row in part.cells] for part in parts]
    return found


def test_correlation(plain: Plain) -> None:
    page = page_of("correlation")
    text = plain(page)
    for line in (
        "0x0 + 1x1 + 3x2 + 4x3 = 19",
        "1x0 + 2x1 + 4x2 + 5x3 = 25",
        "3x0 + 4x1 + 6x2 + 7x3 = 37",
        "4x0 + 5x1 + 7x2 + 8x3 = 43",
        "height and width: floor((3 + 2x0 - 1x(2 - 1) - 1) / 1) + 1 = 2",
    ):
        assert line in text
    assert grids(page.blocks, "output")[-1] == ["19 25", "37 43"]
    assert "cross-correlation" in text


def test_convolution_and_when_it_equals_cross_correlation(plain: Plain) -> None:
    page = page_of("convolution")
    text = plain(page)
    # The flipped kernel [[3, 2], [1, 0]] over the corner: 0x3 + 1x2 + 3x1 + 4x0 = 5.
    assert "0x3 + 1x2 + 3x1 + 4x0 = 5" in text
    assert grids(page.blocks, "flipped kernel") == [["3 2", "1 0"]]
    assert grids(page.blocks, "learned, cross-correlation") == [["0.00 1.00", "2.00 3.00"]]
    assert grids(page.blocks, "learned, convolution") == [["3.00 2.00", "1.00 0.00"]]
    assert "It does not hold for the kernel above." in " ".join(text.split())
    assert "It also holds for the kernel above." in " ".join(
        plain(page_of("convolution", kernel="[[1,2],[2,1]]")).split()
    )


def test_channels(plain: Plain) -> None:
    page = page_of("channels")
    text = plain(page)
    assert "0x0 + 1x1 + 3x2 + 4x3 = 19" in text
    assert "1x1 + 2x2 + 4x3 + 5x4 = 37" in text
    assert "19 + 37 = 56" in text
    assert grids(page.blocks, "output channel 0") == [["56 72", "104 120"]]
    assert grids(page.blocks, "output channel 1") == [["76 100", "148 172"]]
    assert grids(page.blocks, "output channel 2") == [["96 128", "192 224"]]
    for shape in ("2 x 3 x 3", "2 x 2 x 2", "3 x 2 x 2 x 2", "3 x 2 x 2"):
        assert shape in text


def test_kernel_counts(plain: Plain) -> None:
    text = plain(page_of("kernel"))
    assert "3 x 2 x 2 x 2 = 24" in text
    assert "parameters: 24 + 3 = 27" in text
    assert "conv2       16      6   5x5    2,400      16  16 x 10 x 10" in text  # 16 x 6 x 25
    assert "first number: 56 + 1 = 57" in text


def test_one_by_one(plain: Plain) -> None:
    text = plain(page_of("1x1"))
    assert "output channel 0: 0x1 + 1x0 + 8x(-1) = -8" in text
    assert "output channel 1: 0x1 + 1x1 + 8x1 = 9" in text
    # X - (8 - X) = 2X - 8 and X + (X + 1) + (8 - X) = X + 9, pixel by pixel.
    assert "-8 -6 -4 -2  0  2  4  6  8" in text
    assert " 9 10 11 12 13 14 15 16 17" in text
    # 256 x 256 x 9; 256 x 64, 64 x 64 x 9 and 64 x 256.
    for count in ("589,824", "16,384", "36,864", "69,632", "520,192 weights saved, 8.5 times fewer"):
        assert count in text


def test_padding(plain: Plain) -> None:
    page = page_of("padding")
    text = plain(page)
    assert "without padding    3x3     2x2" in text
    assert "padding 1          3x3     4x4" in text
    assert "18x18   41%" in text  # 18 x 18 / (28 x 28) = 0.413
    assert grids(page.blocks, "without padding") == [["1 2 1", "2 4 2", "1 2 1"]]


def test_stride(plain: Plain) -> None:
    page = page_of("stride")
    text = plain(page)
    for line in ("0x0 + 0x1 + 1x2 + 2x3 = 8", "0x0 + 6x1 + 0x2 + 0x3 = 6", "7x0 + 8x1 + 0x2 + 0x3 = 8"):
        assert line in text
    assert grids(page.blocks, "output")[-1] == ["0 8", "6 8"]
    assert "column 27 is never read" in text


def test_dilation(plain: Plain) -> None:
    text = plain(page_of("dilation"))
    assert "0x0 + 2x1 + 6x2 + 8x3 = 38" in text
    assert "1, 2, 4         3, 7, 15     15 of 15" in text
    assert "2, 2, 2         5, 9, 13      7 of 13" in text


def test_pooling(plain: Plain) -> None:
    page = page_of("pooling")
    text = plain(page)
    for line in (
        "max(0, 1, 3, 4) = 4",
        "(0 + 1 + 3 + 4) / 4 = 2",
        "max(1, 2, 4, 5) = 5",
        "(1 + 2 + 4 + 5) / 4 = 3",
        "max(3, 4, 6, 7) = 7",
        "(3 + 4 + 6 + 7) / 4 = 5",
        "max(4, 5, 7, 8) = 8",
        "(4 + 5 + 7 + 8) / 4 = 6",
        "2 channels in, 2 channels out",
        "shifted by 1: 6 of 6 outputs unchanged",
    ):
        assert line in text
    assert grids(page.blocks, "max of channel 1") == [["5 6", "8 9"]]


def test_padding_of_a_pool_is_never_the_maximum_and_counts_as_zero(plain: Plain) -> None:
    text = plain(page_of("pooling", input="[[-1,-2],[-3,-4]]", padding="1", stride="2"))
    assert "max(-1) = -1" in text
    assert "(0 + 0 + 0 + (-1)) / 4 = -0.25" in text


def test_backward(plain: Plain) -> None:
    page = page_of("backward")
    text = plain(page)
    assert "dL/dK[0, 0] = 0x1 + 1x2 + 3x3 + 4x4 = 27" in text
    assert "dL/dX[1, 1] = 1x3 + 2x2 + 3x1 + 4x0 = 10" in text
    assert "largest difference from the numbers above: 0" in text
    assert grids(page.blocks, "dL/dX") == [["0 1 2", "2 10 10", "6 17 12"]]


def test_learning_the_edge_detector(plain: Plain) -> None:
    page = page_of("learn-kernel")
    text = plain(page)
    assert "target output" in text
    assert "Every weight is within 0.01 of the target" in text
    assert grids(page.blocks, "learned") == [["1.000 -1.000"]]


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return [topic().page() for topic in LECTURE]


def test_every_page_fits_80_columns_of_ascii(pages: list[Page], plain: Plain) -> None:
    for page in pages:
        for line in plain(page).splitlines():
            assert len(line) <= 80, (page.title, line)
            assert line.isascii(), (page.title, line)


def test_every_page_suggests_what_to_try_next(pages: list[Page], plain: Plain) -> None:
    assert len(pages) == 14
    for page in pages:
        assert "try next:\n  cnncli " in plain(page)
