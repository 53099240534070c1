"""The network of the report: its values against torch, its receptive fields against `inspection`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from cnncli.inspection.units import unit_receptive_field
from cnncli.library import inspect
from cnncli.run import load_run

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
PointAt = Callable[..., None]


def data_of(run: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', (run / "report.html").read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("name", ["lenet", "odd", "interrupted"])
def test_pointing_at_a_unit_names_its_receptive_field(
    name: str, open_page: Open, point_at: PointAt, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    page = open_page(run)
    table = inspect(run)
    for row in table.rows:
        if row.output_shape is None or len(row.output_shape) != 3:
            continue
        channels, height, width = row.output_shape
        unit = (height - 1, width // 2)
        clipped = unit_receptive_field(table, row.name, unit).clipped
        if clipped is None or clipped == ((0, table.input_shape[1] - 1), (0, table.input_shape[2] - 1)):
            continue
        point_at(page, row.name, channels - 1, *unit)
        (top, bottom), (left, right) = clipped
        expect(page.locator(".unit-line")).to_contain_text(
            f"sees rows {top} to {bottom}, columns {left} to {right} of the input"
        )


def test_every_image_of_the_page_is_offered_and_computed_as_torch_does(
    lenet: Path, open_page: Open, point_at: PointAt
) -> None:
    page = open_page(lenet)
    trained = load_run(lenet, data_dir=lenet)
    images = data_of(lenet)["images"]
    choice = page.locator("#gallery-choice")
    offered = 0
    for option in choice.locator("option").all():
        value = option.get_attribute("value") or ""
        choice.select_option(value)
        if value.startswith("class"):
            offered += page.locator(".gallery .thumbnail").count()
    assert offered == images["count"] == len(set(images["numbers"]))
    choice.select_option("class 3")
    thumbnail = page.locator(".gallery .thumbnail").nth(1)
    thumbnail.click()
    number = images["numbers"][int(thumbnail.get_attribute("data-position") or "")]
    with torch.no_grad():
        outputs = trained.model.outputs(trained.input_image(str(number)).image[None], ["conv2", "logits1"])
    shares = outputs["logits1"][0].double().softmax(0)
    best = int(shares.argmax())
    expect(page.locator(".answer")).to_contain_text(f"{trained.classes[best]}, {100 * float(shares[best]):.2f} %")
    for channel, row, column in ((0, 0, 0), (5, 4, 7), (15, 9, 9)):
        point_at(page, "conv2", channel, row, column)
        line = page.locator(".unit-line")
        expect(line).to_contain_text(f"conv2, channel {channel}, row {row}, column {column}")
        shown = re.search(r"value (-?[\d.e-]+)", line.inner_text())
        assert shown is not None
        assert float(shown[1]) == pytest.approx(float(outputs["conv2"][0, channel, row, column]), rel=6e-3, abs=1e-4)


def test_an_image_of_the_confusion_matrix_is_shown_in_the_network(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    figure = page.locator(".cell-images figure").nth(0)
    number = int(figure.get_attribute("data-index") or "")
    figure.get_by_role("button").click()
    label = int(load_run(lenet, data_dir=lenet).test.labels[number])
    expect(page.locator(".truth")).to_contain_text(f"true class: {label}")
    expect(page.locator(".truth")).to_contain_text("wrong")
    expect(page.locator(".unit-command code")).to_contain_text(f"--image {number}")


def test_the_sum_of_a_residual_block_is_drawn(odd: Path, open_page: Open) -> None:
    page = open_page(odd)
    expect(page.locator('figure[data-layer="residual1.add"] .sheet')).to_be_visible()


def test_nothing_moves_while_pointing(lenet: Path, open_page: Open, point_at: PointAt) -> None:
    page = open_page(lenet)
    page.locator("#network").scroll_into_view_if_needed()
    places = "() => [...document.querySelectorAll('#network *, section')].map(e => Math.round(e.offsetTop))"
    point_at(page, "conv1", 0, 3, 3)
    before = page.evaluate(places)
    for layer, unit in (("input", (0, 0)), ("avg_pool2", (4, 4)), ("conv2", (9, 0))):
        point_at(page, layer, 0, *unit)
        assert page.evaluate(places) == before
