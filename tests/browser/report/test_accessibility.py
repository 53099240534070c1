"""The report by keyboard alone, on a phone, in light and dark."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import violations

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


def test_few_tab_stops_reach_everything(lenet: Path, open_page: Open) -> None:
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
    layers = {"input", "conv1", "avg_pool1", "conv2", "avg_pool2", "flatten1", "linear1", "logits1"}
    assert len([each for each in reached if each in layers]) == 1, "one stop for all layers"
    for wanted in ("Theme: auto", "wide", "gallery-choice", "epoch", "step", "probe", "Play"):
        assert wanted in reached
    assert any("predicted as" in each for each in reached)
    assert any(each.startswith("Test images as points") for each in reached)
    assert len(reached) < 60


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, width: int, lenet: Path, open_page: Open) -> None:
    assert violations(open_page(lenet, color_scheme=scheme, viewport={"width": width, "height": 900})) == []


def test_the_pictures_are_described(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    assert page.locator("img").count() == 0  # kernels and maps are drawn from the weights of their step
    canvases = page.locator("canvas[role=img]").evaluate_all("all => all.map(c => c.getAttribute('aria-label'))")
    assert len(canvases) > 200
    assert all(canvases)
    steps = page.locator("#steps canvas[role=img]").evaluate_all("all => all.map(c => c.getAttribute('aria-label'))")
    assert steps
    assert all(re.match(r"(kernels|feature maps?|kernel) of [a-z]\w+.* at step [\d,]+", text) for text in steps), steps[
        :3
    ]


def test_numbers_are_read_as_they_are_written(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    texts = page.locator(".matrix button").evaluate_all(
        "all => all.map(b => [b.innerText, b.getAttribute('aria-label')])"
    )
    assert all(f": {text} of " in label for text, label in texts)


def test_every_layer_and_filter_is_printed(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    sum_of = (
        "all => all.map(c => { const copy = new OffscreenCanvas(c.width, c.height).getContext('2d'); "
        "copy.drawImage(c, 0, 0); return copy.getImageData(0, 0, c.width, c.height).data.some(Boolean) })"
    )
    painted = page.locator(".layer-card canvas.values").evaluate_all(sum_of)
    assert len(painted) == 8
    assert all(painted)
    assert page.locator("#patches details").evaluate_all("all => all.every(d => d.open)")


def test_printed_pages_keep_colors_and_have_no_controls(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, color_scheme="dark")
    page.emulate_media(media="print")
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert luminance(background) == 1, "the white of the paper, also in the dark theme"
    style = "e => [getComputedStyle(e).printColorAdjust, getComputedStyle(e).display]"
    color, display = page.locator(".matrix button").first.evaluate(style)
    assert (color, display != "none") == ("exact", True)
    for control in (".theme", "nav", ".steps input", "#gallery-choice", ".control"):
        expect(page.locator(control).first).to_be_hidden()
    expect(page.locator(".worst .pair").first).to_be_visible()
    for kept in ("figure", "#layers tr", "#saliency .explained", "#patches .filter", ".intro"):
        assert page.locator(kept).first.evaluate("e => getComputedStyle(e).breakInside") == "avoid"


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
def test_the_page_fits_a_phone(name: str, open_page: Open, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    page = open_page(run, **phone)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]") == [360, 360]
    page.locator('figure[data-layer="conv1"] .sheet').tap(position={"x": 20, "y": 20})
    expect(page.locator(".unit-line")).to_contain_text("conv1, channel 0, row ")
    hint = page.locator("#layers .scroll-hint")
    expect(hint).to_contain_text("Scroll sideways")


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
        ".layer-card .type",
        ".unit-line",
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
