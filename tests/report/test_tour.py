"""Tours that a teacher writes: what the page gets, and what is refused with its line."""

import re
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs

import pytest

import cnncli.report
from cnncli.config.config import read_config
from cnncli.config.network import Network
from cnncli.errors import ConfigError
from cnncli.report.tour import Part, read_tour

TOUR = """\
title: How LeNet-5 reads a digit
steps:
  - text: Draw a 7.
    part: input
  - title: A unit
    text: "One unit of the second convolution & what it sees: 5 x 5 units of 6 maps"
    layer: conv2
    filter: 3
    at: [5, 7]
    image: 12
  - text: The same image after 844 steps.
    layer: logits1
    filter: 9
    image: 4
    step: 844
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return read_config("lenet5", data_dir=tmp_path_factory.mktemp("data")).network


def written(folder: Path, text: str) -> Path:
    path = folder / "tour.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_steps_and_their_links(network: Network, tmp_path: Path) -> None:
    tour = read_tour(written(tmp_path, TOUR), network)
    assert tour["title"] == "How LeNet-5 reads a digit"
    assert [step["title"] for step in tour["steps"]] == [None, "A unit", None]
    assert tour["steps"][1]["text"].startswith("One unit of the second convolution & what")
    assert [parse_qs(step["link"]) for step in tour["steps"]] == [
        {"part": ["input"]},
        {"layer": ["conv2"], "filter": ["3"], "at": ["5,7"], "image": ["12"]},
        {"layer": ["logits1"], "filter": ["9"], "step": ["844"], "image": ["4"]},
    ]
    assert tour["images"] == [4, 12]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("layer: conv2", "layer: conv3", 7, "unknown layer: conv3. Did you mean conv2?"),
        ("filter: 3", "filter: 16", 8, "conv2 has 16 channels, 0 to 15"),
        ("at: [5, 7]", "at: [10, 7]", 9, "the maps of conv2 have 10 rows and 10 columns"),
        ("filter: 9", "at: [0, 0]", 13, "the units of logits1 have no position; omit at"),
        ("    layer: conv2\n", "", 7, "filter needs the name of a layer"),
        ("part: input", "part: inptu", 4, "Did you mean input?"),
        ("image: 12", "image: -1", 10, "0"),
        ("text: Draw a 7.", "txt: Draw a 7.", 3, "Did you mean text?"),
        ("title: How LeNet-5 reads a digit\n", "", 1, "title"),
    ],
)
def test_mistakes_are_refused_with_their_line(
    old: str, new: str, line: int, message: str, network: Network, tmp_path: Path
) -> None:
    assert old in TOUR
    path = written(tmp_path, TOUR.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        read_tour(path, network)
    assert f"{path}:{line}:" in error.value.message
    assert message in error.value.message


def test_the_example_of_the_docs(network: Network, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "play.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n# tour.yaml\n(title: .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(read_tour(written(tmp_path, example), network)["steps"]) == 3


def test_the_parts_are_sections_of_the_page() -> None:
    script = (Path(cnncli.report.__file__).parent / "assets" / "play" / "shell-messages.js").read_text(encoding="utf-8")
    for part in get_args(Part):
        assert re.search(rf'^ +"?{part}"?: ', script, re.MULTILINE), part


def test_files_that_are_no_tour(network: Network, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tour not found") as error:
        read_tour(tmp_path / "missing.yaml", network)
    assert "--tour" in (error.value.remedy or "")
    with pytest.raises(ConfigError, match="a tour must be a mapping with the keys title and steps"):
        read_tour(written(tmp_path, "- text: a list\n"), network)
    with pytest.raises(ConfigError, match="steps"):
        read_tour(written(tmp_path, "title: empty\nsteps: []\n"), network)
