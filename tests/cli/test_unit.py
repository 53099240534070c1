"""`cnncli unit` and `cnncli pixel` as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cnncli.cli.app import app
from cnncli.errors import UsageError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_a_unit_and_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "field.png"
    text = printed("unit", "lenet5", "conv2", "0,0", "--picture", str(picture))
    assert "inside the image: rows 0 to 11, columns 0 to 11 (12 x 12)" in text
    assert "with padding: rows -2 to 11, columns -2 to 11 (14 x 14)" in text
    assert "padding: 26.5% of that" in text  # 1 - 144 / 196
    # The drawing in the terminal: the receptive fields of conv2, avg_pool1 and conv1 inside one another.
    assert {"1", "2", "3", "·"} <= set("".join(line for line in text.splitlines() if line.count("· ") > 3))
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 4


def test_units_that_see_a_pixel() -> None:
    lines = printed("pixel", "lenet5", "10,0").splitlines()
    assert " ".join(lines[3].split()) == "conv1 rows 8-12, columns 0-2 1.9%"


def test_units_and_pixels_as_json() -> None:
    """conv1: 5x5, padded by 2. Unit i of conv2 sees the pixels from 2 i - 2 to 2 i + 11."""
    (unit,) = json.loads(printed("unit", "lenet5", "conv1", "0,0", "--json"))
    assert unit == {
        "layer": "conv1",
        "unit": [0, 0],
        "unclipped": [[-2, 2], [-2, 2]],
        "clipped": [[0, 2], [0, 2]],
        "pixels": [[0, 1, 2], [0, 1, 2]],
        "padding": 1 - 9 / 25,
    }
    (layer,) = json.loads(printed("pixel", "lenet5", "3,3", "--layer", "conv2", "--json"))
    assert layer == {"layer": "conv2", "units": [[0, 1, 2], [0, 1, 2]], "share": 9 / 100}


def test_features_have_no_positions() -> None:
    shown = printed("pixel", "lenet5", "3,3")
    assert "all units" in next(line for line in shown.splitlines() if line.startswith("flatten1"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["unit", "lenet5", "conv1", "here"],
        ["unit", "lenet5", "conv1", "28,0"],
        ["unit", "lenet5", "conv9", "0,0"],
        ["pixel", "lenet5", "28,0"],
        ["pixel", "lenet5", "3"],
        ["pixel", "lenet5", "3,3", "--layer", "conv9"],
    ],
)
def test_invalid_arguments(arguments: list[str]) -> None:
    error = run(*arguments).exception
    assert isinstance(error, UsageError)
    assert error.remedy or "Did you mean" in error.message


def test_several_units_are_drawn_in_one_picture(tmp_path: Path) -> None:
    text = printed("unit", "lenet5", "conv2", "0,0", "9,9", "--picture", str(tmp_path / "two.png"))
    assert "conv2, unit 0,0" in text
    assert "conv2, unit 9,9" in text
    assert (tmp_path / "two.png").is_file()
