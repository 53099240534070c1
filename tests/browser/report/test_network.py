"""Highlighted receptive fields against `inspection`, and against NaN sent through the network."""

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
NetworkOf = Callable[[Page, Path], Any]
BLUE = 2
RING = """
([margin, rows, columns]) => {
  const overlay = document.querySelector('figure[data-layer="input"] canvas.overlay');
  const copy = new OffscreenCanvas(overlay.width, overlay.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0);
  const side = overlay.width / (columns + 2 * margin);
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


def probe(model: CnnModule, layer: str) -> Reached:
    """For the input and every layer with positions, the units of `layer` that each row and each column reaches.

    Found by NaN in that row or column: bool (rows, columns) of `layer` for each.
    """
    network = model.network
    shapes = {"input": network.input_shape, **{node.name: node.shape for node in network.nodes}}
    reached: Reached = {}
    for source, shape in shapes.items():
        if len(shape) != 3 or source == layer:
            continue
        reached[source] = ([], [])
        for axis, position in ((each, position) for each in (0, 1) for position in range(shape[1 + each])):
            values = {"input": torch.zeros(1, *network.input_shape)}
            planted = torch.zeros(1, *shape)
            planted.select(2 + axis, position).fill_(float("nan"))
            values[source] = planted
            for node in network.nodes:
                if node.name != source:
                    values[node.name] = model.layer(node)(*(values[name] for name in node.inputs))
            reached[source][axis].append(values[layer][0].isnan().any(0))
    return reached


def reaching(reached: Reached, unit: tuple[int, int]) -> dict[str, set[tuple[int, int]]]:
    """Positions of every source that reach one unit."""
    positions = {}
    for source, both in reached.items():
        rows, columns = ([position for position, units in enumerate(axis) if units[unit]] for axis in both)
        positions[source] = set(product(rows, columns))
    return positions


def corners(size: tuple[int, int]) -> list[tuple[int, int]]:
    rows, columns = size
    return sorted({(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)})


def rectangles(text: str) -> list[tuple[tuple[int, int], ...]]:
    matches = re.findall(r"rows (-?\d+) to (-?\d+), columns (-?\d+) to (-?\d+)", text)
    return [((int(a), int(b)), (int(c), int(d))) for a, b, c, d in matches]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("lenet", ["conv1", "avg_pool1", "conv2", "avg_pool2"]),
        ("odd", ["conv1", "residual1.conv2", "residual1.add", "branch1.path1.conv1", "branch1.concat", "conv2",
                 "upsample1", "adaptive_max_pool1"]),
    ],
)  # fmt: skip
def test_pointing_at_a_unit_highlights_its_receptive_field(
    name: str, layers: list[str], open_page: Open, network_of: NetworkOf, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    page = open_page(run)
    network = network_of(page, run)
    model = CnnModule(read_config(str(run / "resolved.yaml"), data_dir=run).network).eval()
    for layer in layers:
        with torch.no_grad():
            reached = probe(model, layer)
        for unit in corners(network.sizes[layer]):
            network.point_at(layer, unit)
            highlighted = network.highlighted()
            del highlighted[layer]  # the unit itself is framed in another color
            assert highlighted == reaching(reached, unit), (layer, unit)
            field = unit_receptive_field(network.inspection, layer, unit)
            assert page.locator(".readout-title").inner_text().startswith(f"{layer}, unit {unit[0]},{unit[1]}")
            text = page.locator(".readout-lines").inner_text()
            assert rectangles(text) == [each for each in (field.clipped, field.unclipped) if each is not None]
            if field.padding is not None:
                assert f"padding: {float(field.padding):.1%} of that" in text
            assert field.clipped == span(highlighted["input"])
    page.mouse.move(2, 2)
    assert not any(network.highlighted().values())


def span(cells: set[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column."""
    rows, columns = ([cell[axis] for cell in cells] for axis in (0, 1))
    return (min(rows), max(rows)), (min(columns), max(columns))


def test_only_padding_is_hatched(lenet: Path, open_page: Open, network_of: NetworkOf) -> None:
    page = open_page(lenet)
    network = network_of(page, lenet)
    network.point_at("avg_pool2", (0, 4))  # rows -2 to 13, columns 14 to 29
    assert network.margin("input") == 2
    drawn = {(row, column) for row, column in page.evaluate(RING, [2, 28, 28])}
    rectangle = {(row, column) for row in range(-2, 14) for column in range(14, 30)}
    assert drawn == {(row, column) for row, column in rectangle if row < 0 or column > 27}


def test_pointing_at_a_pixel_highlights_the_units_that_depend_on_it(
    lenet: Path, open_page: Open, network_of: NetworkOf
) -> None:
    network = network_of(open_page(lenet), lenet)
    for pixel in ((0, 0), (13, 20), (27, 27)):
        network.point_at("input", pixel)
        highlighted = network.highlighted(BLUE)
        for dependent in dependent_units(network.inspection, pixel):
            if dependent.layer in network.sizes:
                assert highlighted[dependent.layer] == set(product(*dependent.units)), (pixel, dependent.layer)


def test_after_flatten_the_receptive_field_is_everything(lenet: Path, open_page: Open, network_of: NetworkOf) -> None:
    page = open_page(lenet)
    network = network_of(page, lenet)
    for layer in ("linear1", "logits1"):
        network.grid(layer).hover()
        assert network.highlighted() == {
            name: set(product(range(r), range(c))) for name, (r, c) in network.sizes.items()
        }
        whole = "inside the image: rows 0 to 27, columns 0 to 27 (28 x 28)"
        expect(page.locator(".readout-lines")).to_contain_text(whole)


def test_values_are_the_outputs_of_the_network(lenet: Path, open_page: Open, network_of: NetworkOf) -> None:
    page = open_page(lenet)
    network = network_of(page, lenet)
    trained = load_run(lenet, data_dir=lenet)
    page.get_by_role("radio").nth(3).check()
    name = page.get_by_role("radio").nth(3).get_attribute("aria-label") or ""
    number = int(re.findall(r"test image (\d+), class 3", name)[0])
    with torch.no_grad():
        maps = trained.model.outputs(trained.input_image(str(number)).image[None], ["conv2"])["conv2"][0]
    network.grid("conv2").focus()
    page.keyboard.press("PageDown")
    title = page.locator(".readout-title")
    for unit in ((0, 0), (4, 7)):
        network.point_at("conv2", unit)
        shown = re.search(r": (-?[\d.e-]+) in channel 1", title.inner_text())
        assert shown is not None
        assert float(shown[1]) == pytest.approx(float(maps[1, unit[0], unit[1]]), rel=5e-3, abs=1e-3)
    network.point_at("input", (10, 12))
    level = int(trained.test.images[number, 0, 10, 12])
    expect(title).to_have_text(f"input, pixel 10,12: level {level} of 255")
