"""Pointing at a unit lights exactly what it sees: against the inspector, and against NaN sent through the network."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from cnncli.config.config import read_config
from cnncli.inspection.units import dependent_units, unit_receptive_field
from cnncli.module import CnnModule
from cnncli.run import load_run

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
DrawingOf = Callable[[Page, Path], Any]
BLUE = 2
RING = """
([margin, rows, columns]) => {
  const light = document.querySelector('figure[data-layer="input"] canvas.light');
  const copy = new OffscreenCanvas(light.width, light.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(light, 0, 0);
  const side = light.width / (columns + 2 * margin);
  const cells = [];
  for (let row = -margin; row < rows + margin; row += 1) {
    for (let column = -margin; column < columns + margin; column += 1) {
      const inside = row >= 0 && column >= 0 && row < rows && column < columns;
      const pixels = copy.getImageData((column + margin) * side, (row + margin) * side, side, side).data;
      if (!inside && pixels.some(Boolean)) cells.push([row, column]);
    }
  }
  return cells;
}
"""


Reached = dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]]


def probed(model: CnnModule, layer: str) -> Reached:
    """For the input and every layer with positions, row by row and column by column, the units that it reaches.

    NaN in the row or column says it: bool (rows, columns) of `layer` for each.
    """
    network = model.network
    shapes = {"input": network.input_shape, **{node.name: node.shape for node in network.nodes}}
    reached: Reached = {}
    for source, shape in shapes.items():
        if len(shape) != 3 or source == layer:
            continue
        reached[source] = ([], [])
        for axis, place in ((each, place) for each in (0, 1) for place in range(shape[1 + each])):
            values = {"input": torch.zeros(1, *network.input_shape)}
            planted = torch.zeros(1, *shape)
            planted.select(2 + axis, place).fill_(float("nan"))
            values[source] = planted
            for node in network.nodes:
                if node.name != source:
                    values[node.name] = model.layer(node)(*(values[name] for name in node.inputs))
            reached[source][axis].append(values[layer][0].isnan().any(0))
    return reached


def reaching(reached: Reached, unit: tuple[int, int]) -> dict[str, set[tuple[int, int]]]:
    """Positions of every source that reach one unit."""
    found = {}
    for source, both in reached.items():
        rows, columns = ([place for place, units in enumerate(axis) if units[unit]] for axis in both)
        found[source] = set(product(rows, columns))
    return found


def corners(size: tuple[int, int]) -> list[tuple[int, int]]:
    rows, columns = size
    return sorted({(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)})


def rectangles(text: str) -> list[tuple[tuple[int, int], ...]]:
    found = re.findall(r"rows (-?\d+) to (-?\d+), columns (-?\d+) to (-?\d+)", text)
    return [((int(a), int(b)), (int(c), int(d))) for a, b, c, d in found]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("lenet", ["conv1", "avg_pool1", "conv2", "avg_pool2"]),
        ("odd", ["conv1", "residual1.conv2", "residual1.add", "branch1.path1.conv1", "branch1.concat", "conv2",
                 "upsample1", "adaptive_max_pool1"]),
    ],
)  # fmt: skip
def test_a_unit_lights_exactly_what_it_sees(
    name: str, layers: list[str], open_page: Open, drawing_of: DrawingOf, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    page = open_page(run)
    drawing = drawing_of(page, run)
    model = CnnModule(read_config(str(run / "resolved.yaml"), data_dir=run).network).eval()
    for layer in layers:
        with torch.no_grad():
            reached = probed(model, layer)
        for unit in corners(drawing.sizes[layer]):
            drawing.point_at(layer, unit)
            lit = drawing.lit()
            del lit[layer]  # there the unit itself is marked, in a color of its own
            assert lit == reaching(reached, unit), (layer, unit)
            field = unit_receptive_field(drawing.inspection, layer, unit)
            assert page.locator(".reading-title").inner_text().startswith(f"{layer}, unit {unit[0]},{unit[1]}")
            said = page.locator(".reading-lines").inner_text()
            assert rectangles(said) == [each for each in (field.clipped, field.unclipped) if each is not None]
            if field.padding is not None:
                assert f"padding: {float(field.padding):.1%} of that" in said
            assert field.clipped == span(lit["input"])
    page.mouse.move(2, 2)
    assert not any(drawing.lit().values())


def span(cells: set[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column."""
    rows, columns = ([cell[axis] for cell in cells] for axis in (0, 1))
    return (min(rows), max(rows)), (min(columns), max(columns))


def test_padding_is_hatched_where_it_is_and_nowhere_else(lenet: Path, open_page: Open, drawing_of: DrawingOf) -> None:
    page = open_page(lenet)
    drawing = drawing_of(page, lenet)
    drawing.point_at("avg_pool2", (0, 4))  # rows -2 to 13, columns 14 to 29
    assert drawing.margin("input") == 2
    drawn = {(row, column) for row, column in page.evaluate(RING, [2, 28, 28])}
    rectangle = {(row, column) for row in range(-2, 14) for column in range(14, 30)}
    assert drawn == {(row, column) for row, column in rectangle if row < 0 or column > 27}


def test_a_pixel_lights_the_units_that_see_it(lenet: Path, open_page: Open, drawing_of: DrawingOf) -> None:
    drawing = drawing_of(open_page(lenet), lenet)
    for pixel in ((0, 0), (13, 20), (27, 27)):
        drawing.point_at("input", pixel)
        lit = drawing.lit(BLUE)
        for found in dependent_units(drawing.inspection, pixel):
            if found.layer in drawing.sizes:
                assert lit[found.layer] == set(product(*found.units)), (pixel, found.layer)


def test_after_flatten_everything_is_seen(lenet: Path, open_page: Open, drawing_of: DrawingOf) -> None:
    page = open_page(lenet)
    drawing = drawing_of(page, lenet)
    for layer in ("linear1", "logits1"):
        drawing.grid(layer).hover()
        assert drawing.lit() == {name: set(product(range(r), range(c))) for name, (r, c) in drawing.sizes.items()}
        whole = "inside the image: rows 0 to 27, columns 0 to 27 (28 x 28)"
        expect(page.locator(".reading-lines")).to_contain_text(whole)


def test_values_are_those_of_the_network(lenet: Path, open_page: Open, drawing_of: DrawingOf) -> None:
    page = open_page(lenet)
    drawing = drawing_of(page, lenet)
    trained = load_run(lenet, data_dir=lenet)
    page.get_by_role("radio").nth(3).check()
    name = page.get_by_role("radio").nth(3).get_attribute("aria-label") or ""
    number = int(re.findall(r"test image (\d+), class 3", name)[0])
    with torch.no_grad():
        maps = trained.model.outputs(trained.seen(str(number)).image[None], ["conv2"])["conv2"][0]
    drawing.grid("conv2").focus()
    page.keyboard.press("PageDown")
    title = page.locator(".reading-title")
    for unit in ((0, 0), (4, 7)):
        drawing.point_at("conv2", unit)
        shown = re.search(r": (-?[\d.e-]+) in channel 1", title.inner_text())
        assert shown is not None
        assert float(shown[1]) == pytest.approx(float(maps[1, unit[0], unit[1]]), rel=5e-3, abs=1e-3)
    drawing.point_at("input", (10, 12))
    level = int(trained.test.images[number, 0, 10, 12])
    expect(title).to_have_text(f"input, pixel 10,12: level {level} of 255")
