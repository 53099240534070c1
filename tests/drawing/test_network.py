"""Drawings of networks, read as XML."""

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn
from typer.testing import CliRunner

import cnncli
from cnncli.cli.app import app
from cnncli.drawing.network import draw_network
from cnncli.inspection.arrangement import folded, grouped
from cnncli.inspection.table import LayerTable

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def boxes(drawing: ElementTree.Element) -> dict[str, Box]:
    """Left, top, right and bottom of each box, by its first line of text."""
    found: dict[str, Box] = {}
    texts = drawing.findall(f"{SVG}text")
    for rect in drawing.findall(f"{SVG}rect"):
        x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        inside = [
            text.text or ""
            for text in texts
            if x < float(text.attrib["x"]) < x + width and y < float(text.attrib["y"]) < y + height
        ]
        found[inside[0]] = (x, y, x + width, y + height)
    return found


def connected(drawing: ElementTree.Element, places: dict[str, Box]) -> set[tuple[str, str]]:
    """Which boxes the curves connect, followed from the bottom of one to the top of another."""
    lines = []
    for path in drawing.iter(f"{SVG}path"):
        numbers = [float(each) for each in re.findall(r"-?[\d.]+", path.attrib["d"])]
        end = (numbers[-2], numbers[-1]) if "C" in path.attrib["d"] else (numbers[0], numbers[-1])
        lines.append(((numbers[0], numbers[1]), end))

    def is_at(point: tuple[float, float], x: float, y: float) -> bool:
        return abs(point[0] - x) < 0.2 and abs(point[1] - y) < 0.2

    pairs: set[tuple[str, str]] = set()
    for name, (left, _, right, bottom) in places.items():
        reached = [end for start, end in lines if is_at(start, (left + right) / 2, bottom)]
        while reached:
            point = reached.pop()
            below = [
                other
                for other, (x1, top, x2, _) in places.items()
                if is_at(point, (x1 + x2) / 2, top) and other != name
            ]
            pairs.update((name, other) for other in below)
            if not below:
                reached += [end for start, end in lines if is_at(start, *point)]
    return pairs


@pytest.mark.parametrize("config", ["lenet5", "inception", "resnet-mnist"])
def test_boxes_and_connections_are_those_of_the_table(config: str) -> None:
    table = cnncli.inspect(config)
    drawing = ElementTree.fromstring(draw_network(table))
    places = boxes(drawing)
    assert set(places) == {"input", *(row.name for row in table)}
    assert connected(drawing, places) == {(source, row.name) for row in table for source in row.inputs}
    for (_, a), (_, b) in combinations(places.items(), 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1], "boxes do not overlap"
    width, height = float(drawing.attrib["width"]), float(drawing.attrib["height"])
    shift = float(drawing.attrib["viewBox"].split()[0])
    assert all(shift < a[0] and a[2] < shift + width + 1 and a[3] < height for a in places.values())


def test_groups_are_connected_as_their_layers() -> None:
    table = cnncli.inspect("resnet-mnist")
    for arranged in (grouped(table, 1), folded(table)):
        drawing = ElementTree.fromstring(draw_network(arranged))
        places = boxes(drawing)
        assert set(places) == {"input", *(row.name for row in arranged)}
        group = {layer: row.name for row in arranged for layer in row.members or (row.name,)} | {"input": "input"}
        between = {(group[source], group[row.name]) for row in table for source in row.inputs}
        assert connected(drawing, places) == {(a, b) for a, b in between if a != b}


def chain(names: list[str]) -> LayerTable:
    model = nn.Sequential()
    for name in names:
        model.add_module(name, nn.Conv2d(1, 1, 1))
    return cnncli.inspect(model, input_shape=(1, 4, 4))


def test_names_are_text() -> None:
    names = ["a<b", 'c"&d', "<script>"]
    assert list(boxes(ElementTree.fromstring(draw_network(chain(names))))) == ["input", *names]


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    assert CliRunner().invoke(app, ["inspect", "lenet5", "--graph", str(path)]).exit_code == 0
    drawing = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert texts[texts.index("conv2") : texts.index("conv2") + 3] == ["conv2", "conv 5/1/0/1", "16x10x10, RF 14"]
