"""Classic filters, and the user's own numbers: what is read, and what is refused with a helpful message."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnncli.errors import UsageError
from cnncli.lessons.numbers import BLUR, CLASSIC_FILTERS, EDGE, SHARPEN, SOBEL_X, SOBEL_Y, read_numbers, read_pair
from cnncli.lessons.reference import corr2d


def read(text: str | Path, *dimensions: int) -> list[object]:
    result: list[object] = read_numbers(str(text), option="--input", dimensions=dimensions or (2,)).tolist()
    return result


def test_lists() -> None:
    assert read("[[0,1],[2.5,-3e-1]]") == [[0, 1], [2.5, -0.3]]
    assert read("[[[1]],[[2]]]", 3) == [[[1]], [[2]]]


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2], [3, 4]], dtype=np.int16))
    assert read(tmp_path / "a.npy") == [[1, 2], [3, 4]]
    (tmp_path / "a.csv").write_text("\ufeff1, 2\n\n3,4.5\n", encoding="utf-8")
    assert read(tmp_path / "a.csv") == [[1, 2], [3, 4.5]]
    Image.fromarray(np.array([[0, 128], [255, 7]], dtype=np.uint8)).save(tmp_path / "a.PNG")
    assert read(tmp_path / "a.PNG") == [[0, 128], [255, 7]]
    assert read(tmp_path / "a.PNG", 3) == [[[0, 128], [255, 7]]]
    Image.fromarray(np.array([[[1, 2, 3]]], dtype=np.uint8)).save(tmp_path / "rgb.png")
    assert read(tmp_path / "rgb.png", 3) == [[[1]], [[2]], [[3]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1,2],[3]]", "--input: ragged: item 0 has 2 numbers, item 1 has 1 numbers"),
        ("[[1,2],3]", "--input: ragged"),
        ("[[1],[[2]]]", r"--input: ragged: item 0 has 1 numbers, item 1 has the shape 1x1"),
        ('[[1,"a"]]', r'--input\[0\]\[1\]: "a" is not a number'),
        ("[[true]]", r"--input\[0\]\[0\]: true is not a number"),
        ("[[null]]", "null is not a number"),
        ("[[1,NaN]]", r"--input\[0\]\[1\]: is NaN"),
        ("[[1,-Infinity]]", r"--input\[0\]\[1\]: is infinite"),
        ("[[1e999]]", "is infinite"),
        ("[[" + "9" * 30 + "]]", "too large"),
        ("[[1,x]]", "not nested lists, at character 5"),
        ("[" * 100_000, "nested too deeply|not nested lists"),
        ("[[]]", "has no numbers"),
        ("[1,2]", "has 1 dimension"),
        ("[[[1]]]", "has 3 dimensions"),
        ("[[1e10]]", "has numbers beyond 1,000,000,000"),
        ("a" * 5000 + ".csv", "file not found"),
        ("hello", "'hello' is neither nested lists of numbers nor a .npy, .csv or .png file"),
        ("", "'' is neither"),
        ("missing.npy", "file not found: missing.npy"),
        ("[" + ",".join(["[" + ",".join("0" * 300) + "]"] * 300) + "]", "has 90,000 numbers"),
    ],
)
def test_lists_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        read(text)
    assert error.value.exit_code == 2
    assert error.value.remedy


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    def refused(name: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            read(tmp_path / name)

    (tmp_path / "text.npy").write_text("hello")
    refused("text.npy", "is not a .npy file of numbers")
    np.save(tmp_path / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    refused("object.npy", "is not a .npy file of numbers")
    np.save(tmp_path / "complex.npy", np.array([[1j]]))
    refused("complex.npy", "does not hold real numbers")
    np.save(tmp_path / "large.npy", np.zeros((300, 300), dtype=np.uint8))
    refused("large.npy", "holds 90,000 numbers")
    np.save(tmp_path / "nan.npy", np.array([[np.nan]]))
    refused("nan.npy", "is NaN")
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    refused("words.csv", "not rows of comma-separated numbers: could not convert string 'a' to float64 at row 0")
    (tmp_path / "ragged.csv").write_text("1,2\n3\n")
    refused("ragged.csv", "the number of columns changed from 2 to 1 at row 2$")
    (tmp_path / "empty.csv").write_text("\n")
    refused("empty.csv", "has no numbers")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe1")
    refused("binary.csv", "is not a readable text file")
    (tmp_path / "large.csv").write_text("1,2\n" * 600_000)
    refused("large.csv", "2,400,000 bytes long")
    (tmp_path / "text.png").write_text("hello")
    refused("text.png", "is not an image")
    Image.new("L", (300, 300)).save(tmp_path / "large.png")
    refused("large.png", "has 300 x 300 pixels, 90,000 numbers")
    Image.new("L", (60, 60)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:50])
    refused("cut.png", "cut.png")


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_an_image_of_100_megapixels_is_refused_without_decoding(tmp_path: Path, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / "huge.png")
    with pytest.raises(UsageError, match="has more than 89,478,485 pixels"):
        read(tmp_path / "huge.png")


def test_pairs() -> None:
    assert read_pair("2", option="--stride", minimum=1) == (2, 2)
    assert read_pair("3,2", option="--stride", minimum=1) == (3, 2)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "a", "", "1,2,3", "1,", "99999999"])
def test_pairs_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match=r"--stride: .* is neither an integer of at least 1"):
        read_pair(text, option="--stride", minimum=1)


STEP = torch.tensor([[0.0, 0, 1, 1]] * 3)
"""Dark on the left, bright on the right."""


def test_edge_filters_detect_their_edges_only() -> None:
    assert corr2d(STEP, torch.tensor(SOBEL_X)).tolist() == [[4, 4]]
    assert corr2d(STEP, torch.tensor(SOBEL_Y)).tolist() == [[0, 0]]
    assert corr2d(STEP.T, torch.tensor(SOBEL_Y)).tolist() == [[4], [4]]
    assert corr2d(STEP[:1], torch.tensor(EDGE).float()).tolist() == [[0, -1, 0]]


@pytest.mark.parametrize("kernel", [BLUR, SHARPEN, CLASSIC_FILTERS["emboss"]])
def test_weights_add_up_to_one(kernel: tuple[tuple[float, ...], ...]) -> None:
    assert sum(map(sum, kernel)) == 1
