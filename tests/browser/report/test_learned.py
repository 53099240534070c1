"""The sections that show what the network learned: patches, saliency, calibration, embedding and the others."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from cnncli.run import load_run

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

CELLS = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
PIXELS = """
(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const levels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
  return [...levels].filter((_, i) => i % 4 === 0);
}
"""


def data_of(run: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', (run / "report.html").read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_every_filter_has_its_patches_with_text(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    trained = load_run(lenet, data_dir=lenet)
    filters = page.locator("#patches .filter")
    expect(filters).to_have_count(6 + 16)
    figures = filters.nth(2).locator("figure")
    expect(figures).to_have_count(9)
    page.wait_for_timeout(300)
    with torch.no_grad():
        images = torch.cat([images for images, _ in trained.batches().epoch(1)])
        maps = trained.model.outputs(images, ["conv1"])["conv1"][:, 2]  # (N, 28, 28)
    text = figures.nth(0).inner_text()
    index, row, column = map(int, re.findall(r"#(\d+) at (\d+),(\d+)", text)[0])
    assert float(maps[index, row, column]) == pytest.approx(float(maps.max()))
    assert f"class {trained.classes[int(trained.test.labels[index])]}" in text
    assert float(text.split()[0]) == pytest.approx(float(maps.max()), rel=5e-3)
    if 2 <= row < 26 and 2 <= column < 26:
        expected = trained.test.images[index, 0, row - 2 : row + 3, column - 2 : column + 3]
        assert figures.nth(0).locator("canvas").evaluate(PIXELS) == expected.flatten().tolist()
    size = figures.nth(0).locator("figcaption").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    assert size >= 11


def test_saliency_has_a_map_of_every_method_for_an_image_of_each_class(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    images = page.locator("#saliency .explained")
    expect(images).to_have_count(10)
    for method in ("gradient", "SmoothGrad", "integrated gradients", "Grad-CAM", "occlusion"):
        expect(images.nth(3).get_by_text(method, exact=True)).to_be_visible()
    shown = data_of(lenet)["views"]["saliency"]["images"][3]
    picture = load_run(lenet, data_dir=lenet).test.images[shown["index"], 0]
    assert images.nth(3).locator("canvas").nth(0).evaluate(PIXELS) == picture.flatten().tolist()


def test_the_calibration_table_adds_up(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    rows = page.locator("#calibration tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
    )
    assert len(rows) == 15
    total = sum(int(row[1].replace(",", "")) for row in rows)
    assert total == len(load_run(lenet, data_dir=lenet).test)
    filled = [row for row in rows if row[1] != "0"]
    expect(page.locator("#calibration svg g")).to_have_count(len(filled))
    few = sum(int(row[1].replace(",", "")) < 20 for row in filled)
    expect(page.locator("#calibration svg g.few")).to_have_count(few)


def test_points_by_mouse_and_by_keyboard(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    trained = load_run(lenet, data_dir=lenet)
    with torch.no_grad():
        predicted = torch.cat([trained.model(images).argmax(1) for images, _ in trained.batches().epoch(1)])
    picture, readout = page.locator("svg.points"), page.locator(".point-readout")
    marks = picture.locator("text")
    points = data_of(lenet)["views"]["embedding"]["points"]
    expect(marks).to_have_count(len(points))
    wrong = [i for i, (_, _, index, label, _) in enumerate(points) if int(predicted[index]) != label]
    expect(picture.locator(".ring")).to_have_count(len(wrong))
    for i in (0, wrong[0], len(points) - 1):
        x, y, index, label, _ = points[i]
        assert marks.nth(i).text_content() == trained.classes[label]
        box = picture.bounding_box()
        assert box is not None
        scale = box["width"] / 1048
        picture.hover(position={"x": (x + 24) * scale, "y": (1000 - y + 24) * scale})
        answer = (
            "correct" if int(predicted[index]) == label else f"predicted as {trained.classes[int(predicted[index])]}"
        )
        near = readout.inner_text()
        if near != f"test image {index}, class {trained.classes[label]}, {answer}":  # another point at the same place
            other = int(near.split()[2].strip(","))
            at = next(p for p in points if p[2] == other)
            assert abs(at[0] - x) <= 2
            assert abs(at[1] - y) <= 2
    picture.focus()
    before = readout.inner_text()
    page.keyboard.press("ArrowLeft")
    assert readout.inner_text() != before
    page.get_by_role("group", name="emphasize a class").get_by_role("button", name="3", exact=True).click()
    faded = marks.evaluate_all("marks => marks.filter(m => m.classList.contains('faded')).length")
    assert faded == sum(label != 3 for _, _, _, label, _ in points)


def test_fifty_classes_with_long_names(fifty: Path, open_page: Open) -> None:
    page = open_page(fifty)
    matrix = page.locator(".matrix")
    heads = matrix.locator("tbody th")
    expect(heads).to_have_count(50)
    heights = heads.evaluate_all("heads => heads.map(h => h.getBoundingClientRect().height)")
    assert max(heights) < 40, "names are in one line"
    section = page.locator("#confusion").bounding_box()
    assert section is not None
    assert section["height"] < 2500
    names = heads.evaluate_all("heads => heads.map(h => h.getAttribute('aria-label') ?? h.innerText)")
    assert tuple(names) == load_run(fifty, data_dir=fifty.parents[1]).classes


def test_the_most_frequent_confusions_lead_to_their_images(fifty: Path, open_page: Open) -> None:
    page = open_page(fifty)
    trained = load_run(fifty, data_dir=fifty.parents[1])
    counts = trained.predictions.confusion.copy()
    for label in range(50):
        counts[label, label] = 0
    rows = page.locator(".worst tbody tr")
    expect(rows).to_have_count(10)
    shown = rows.evaluate_all("rows => rows.map(r => Number(r.cells[1].innerText))")
    assert shown == sorted(counts.flatten().tolist(), reverse=True)[:10]
    button = rows.nth(1).get_by_role("button")
    label, predicted = (trained.classes.index(name) for name in button.inner_text().split(" as "))
    assert counts[label, predicted] == shown[1]
    button.click()
    expect(page.locator(".cell-images h3")).to_have_text(
        f"{trained.classes[label]} predicted as {trained.classes[predicted]}"
    )
    expect(page.locator(".cell-images figure")).to_have_count(min(12, shown[1]))
    button.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(2).get_by_role("button")).to_be_focused()


def test_augmentation_is_mentioned_only_where_there_is_some(lenet: Path, fifty: Path, open_page: Open) -> None:
    expect(open_page(lenet).locator("#curves .intro")).not_to_contain_text("augment")
    expect(open_page(fifty).locator("#curves .intro")).to_contain_text("augmented images (shift, flip)")
