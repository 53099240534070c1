"""The report by keyboard alone, on a phone, in light and dark."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cnncli.inspection.units import unit_receptive_field

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
NetworkOf = Callable[[Page, Path], Any]


def test_tab_reaches_everything(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => { const e = document.activeElement; return e === document.body ? '' : "
            "e.closest('figure[data-layer]')?.dataset.layer ?? (e.id || e.getAttribute('aria-label') || e.innerText) }"
        )
        if not focused:
            break
        reached.append(focused)
    layers = ["input", "conv1", "avg_pool1", "conv2", "avg_pool2", "flatten1", "linear1", "logits1"]
    positions = [reached.index(layer) for layer in layers]
    assert positions == sorted(positions)
    inside = [each for each in reached if each in layers]
    assert inside == layers, "one stop for each layer"
    for wanted in ("Theme: auto", "wide", "epoch", "step", "probe", "Play"):
        assert wanted in reached
    assert any("predicted as" in each for each in reached)
    assert any(each.startswith("test image") for each in reached)


def test_units_by_keyboard(lenet: Path, open_page: Open, network_of: NetworkOf) -> None:
    page = open_page(lenet)
    network = network_of(page, lenet)
    network.grid("avg_pool1").focus()
    page.keyboard.press("Tab")
    title = page.locator(".readout-title")
    expect(title).to_contain_text("conv2, unit 5,5")
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    expect(title).to_contain_text("conv2, unit 4,3")
    clipped = unit_receptive_field(network.inspection, "conv2", (4, 3)).clipped
    assert clipped is not None
    (top, bottom), (left, right) = clipped
    assert network.highlighted()["input"] == set(product(range(top, bottom + 1), range(left, right + 1)))
    for key in ("Home", "ArrowLeft", "Shift+End"):  # stays inside
        page.keyboard.press(key)
    expect(title).to_contain_text("conv2, unit 9,9")
    page.keyboard.press("PageUp")
    expect(title).to_contain_text("in channel 15")
    page.keyboard.press("Escape")
    expect(title).to_have_text("Select a unit")


def test_the_confusion_matrix_by_keyboard(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    chosen = page.locator('.matrix button[aria-pressed="true"]')
    chosen.focus()
    before = chosen.get_attribute("data-cell")
    row = int((before or "").split(",")[0])
    for _ in range(10):
        page.keyboard.press("ArrowLeft" if int((before or "").split(",")[1]) > row else "ArrowRight")
    after = chosen.get_attribute("data-cell")
    assert after is not None
    assert after != before
    assert after.startswith(f"{row},")
    assert page.evaluate("document.activeElement.dataset.cell") == after


@pytest.mark.parametrize("name", ["lenet", "odd", "interrupted"])
def test_the_page_fits_a_phone(
    name: str, open_page: Open, network_of: NetworkOf, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    page = open_page(run, **phone)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]") == [360, 360]
    network = network_of(page, run)
    network.grid("conv2").scroll_into_view_if_needed()
    network.grid("conv2").tap()
    expect(page.locator(".readout-title")).to_contain_text("conv2, unit ")
    assert network.highlighted()["input"]
    expect(network.grid("input")).to_be_in_viewport()


def luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2.2 defines it."""
    levels = [int(level) / 255 for level in re.findall(r"\d+", color)[:3]]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Page, selector: str) -> float:
    """Of an element's text with the page behind it."""
    text, behind = page.evaluate(
        "s => [getComputedStyle(document.querySelector(s)).color, getComputedStyle(document.body).backgroundColor]",
        selector,
    )
    light, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, color_scheme=scheme)
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert (luminance(page.evaluate(background)) < 0.1) == (scheme == "dark")
    for selector in (
        "h1",
        ".intro",
        "nav a",
        ".readout-title",
        ".card .type",
        ".scale",
        ".legend",
        ".matrix .zero",
        ".axes",
    ):
        assert contrast(page, selector) >= 4.5, selector
    theme = page.get_by_role("button", name="Theme")
    theme.click()
    expect(theme).to_have_text("Theme: light")
    assert luminance(page.evaluate(background)) > 0.8
    theme.click()
    assert luminance(page.evaluate(background)) < 0.1
    page.reload()
    expect(theme).to_have_text("Theme: dark")
