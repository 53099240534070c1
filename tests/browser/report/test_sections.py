"""Sections, layer table, curves and confusion matrix, compared with the run."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect

from cnncli.library import inspect
from cnncli.run import load_run

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

CELLS = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
RED = """
(canvas) => {
  const levels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return [...levels].filter((_, i) => i % 4 === 0);
}
"""


@pytest.mark.parametrize("name", ["lenet", "odd", "interrupted"])
def test_sections(name: str, open_page: Open, request: pytest.FixtureRequest) -> None:
    page = open_page(request.getfixturevalue(name))
    headings = page.locator("h2").all_inner_texts()
    expected = [
        "Layers",
        "Network",
        "Training curves",
        "Kernels and feature maps during training",
        "Top-activating patches",
        "Saliency",
        "Activation maximization",
        "Effective receptive fields",
        "Confusion matrix",
        "Calibration",
        "Embedding",
        "Config and environment",
    ]
    assert headings == expected
    if name == "interrupted":
        expect(page.get_by_role("note")).to_contain_text("This run is not complete: interrupted.")
        expect(page.locator("#curves")).to_contain_text("No epoch is complete yet.")
        for section in ("patches", "saliency", "maximization", "effective", "confusion", "calibration", "embedding"):
            expect(page.locator(f"#{section}")).to_contain_text("Not available: no checkpoint in")
        expect(page.locator("#steps")).to_contain_text("No pictures of kernels or feature maps have been logged yet")
    else:
        expect(page.get_by_role("note")).to_have_count(0)
    if name == "odd":
        expect(page.locator("#steps")).to_contain_text("log.images is 0")


def test_the_layer_table_equals_that_of_inspect(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    inspection = inspect(lenet)
    cells = page.locator("table.layers tbody tr").evaluate_all(CELLS)
    for row, shown in zip(inspection.rows, cells[1:], strict=True):
        assert shown[0] == row.name
        assert shown[3] == "x".join(map(str, row.output_shape or ()))
        assert shown[4].replace(",", "") == str(row.params or "")
        assert shown[5].replace(",", "") == str(row.macs or "")
    hints = page.locator(".hints li").all_inner_texts()
    assert [hint.split(" ")[:2] for hint in hints] == [[each.name, f"{each.layer}:"] for each in inspection.hints]
    expect(page.get_by_role("columnheader", name="center")).to_be_hidden()
    page.get_by_label("All columns").check()
    expect(page.get_by_role("columnheader", name="center")).to_be_visible()


def test_the_values_of_the_curves(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    metrics = [json.loads(line) for line in (lenet / "metrics.jsonl").read_text().splitlines()]
    slider = page.get_by_role("slider", name="Epoch")
    slider.focus()
    page.keyboard.press("Home")
    for each in metrics:
        expect(page.locator(".readout").nth(0)).to_have_text(
            f"epoch {each['epoch']}: train {100 * each['train']['accuracy']:.2f} %, "
            f"val {100 * each['val']['accuracy']:.2f} %"
        )
        expect(page.locator(".readout").nth(1)).to_have_text(
            f"epoch {each['epoch']}: train {each['train']['loss']:.4f}, val {each['val']['loss']:.4f}"
        )
        expect(slider).to_have_attribute("aria-valuetext", re.compile(f"^epoch {each['epoch']}: train .*; epoch"))
        page.keyboard.press("ArrowRight")
    page.locator(".chart svg").nth(1).hover()  # in its middle
    expect(page.locator(".readout").nth(2)).to_contain_text("epoch 2: ")
    page.get_by_text("Values as a table").click()
    rows = page.locator("#curves table.numbers tbody tr").evaluate_all(CELLS)
    assert [row[:2] for row in rows] == [[str(each["epoch"]), f"{each['step']:,}"] for each in metrics]


def test_the_images_behind_the_confusion_matrix(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    trained = load_run(lenet, data_dir=lenet)
    with torch.no_grad():
        predicted = torch.cat([trained.model(images).argmax(1) for images, _ in trained.batches().epoch(1)])
    pairs = sorted({(int(a), int(b)) for a, b in zip(trained.test.labels, predicted, strict=True)})
    buttons = page.locator(".matrix button")
    assert buttons.evaluate_all("cells => cells.map(c => c.dataset.cell)") == [f"{a},{b}" for a, b in pairs]
    wrong = next(pair for pair in pairs if pair[0] != pair[1])
    for label, predicted_as in (wrong, (4, 4)):
        button = page.locator(f'[data-cell="{label},{predicted_as}"]')
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        count = int(((trained.test.labels == label) & (predicted == predicted_as)).sum())
        assert button.inner_text() == str(count)
        figures = page.locator(".cell-images figure")
        expect(figures).to_have_count(min(count, 12))
        page.wait_for_timeout(200)
        for i in range(min(count, 12)):
            number = int(figures.nth(i).get_attribute("data-index") or "")
            assert (int(trained.test.labels[number]), int(predicted[number])) == (label, predicted_as)
            drawn = figures.nth(i).locator("canvas").evaluate(RED)
            assert drawn == trained.test.images[number, 0].flatten().tolist()
