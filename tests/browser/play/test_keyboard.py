"""Every group of controls is one tab stop; arrow keys move in it, and change the values of those that need them."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import Open

pytestmark = pytest.mark.browser

FOCUSED = """() => {
  const element = document.activeElement;
  const name = element.id || element.className || element.tagName;
  return [element.closest("section, header")?.id || "", name, element.ariaLabel || element.textContent];
}"""
TAB_STOPS = {
    "": ["skip", "language"],
    "input": ["draw-on", "pad", "tool-pen", "center", "picture", "sliders-summary"],
    "test-images": ["gallery-choice", "thumbnail"],
    "network": ["strongest", "sheet-box"],
    "unit": ["unit-layer", "unit-channel", "unit-row", "unit-column", "slide-map", "play", "Copy"],
    "what-if": [
        *("what-if-layer", "what-if-channel", "what-if-off"),
        *("what-if-slice", "what-if-cell-0", "what-if-zero"),
        *("what-if-tensor", "what-if-axis-0", "what-if-value"),
        *("Undo", "what-if-measure"),
    ],
    "attribution": ["attribution-class", "attribution-maps"],
    "patches": ["patches-layer", "patches-filter", "patch"],
    "time": ["time-play", "time-step"],
    "tour": ["tour-start"],
}


@pytest.fixture
def page(open_page: Open, lenet: Path) -> Page:
    return open_page(lenet)


def focused(page: Page) -> tuple[str, str, str]:
    region, name, text = page.evaluate(FOCUSED)
    return region, name, text


def test_tab_stops(page: Page) -> None:
    stops: dict[str, list[str]] = {}
    for _ in range(100):
        page.keyboard.press("Tab")
        region, name, text = focused(page)
        if name == "BODY":
            break
        stops.setdefault(region, []).append(text if name == "BUTTON" else name)
    assert stops == TAB_STOPS


def test_arrow_keys_in_a_row_of_buttons(page: Page) -> None:
    page.locator("#language").focus()
    names = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        page.keyboard.press(key)
        names.append(focused(page)[1])
    assert names == ["tour-open", "theme", "theme", "tour-open", "language", "theme"]
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert focused(page)[1] == "theme", "the tab stop is the button that had the focus last"


def test_lists_of_choices_keep_up_and_down(page: Page) -> None:
    choice = page.locator("#gallery-choice")
    before = choice.input_value()
    choice.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page)[1] == "random-image"
    page.keyboard.press("ArrowLeft")
    assert (focused(page)[1], choice.input_value()) == ("gallery-choice", before)


def test_sliders_keep_left_and_right(page: Page) -> None:
    page.locator("#sliders-summary").click()
    first, second = page.locator(".slider input").nth(0), page.locator(".slider input").nth(1)
    first.focus()
    before = float(first.input_value())
    page.keyboard.press("ArrowRight")
    assert float(first.input_value()) > before
    page.keyboard.press("ArrowDown")
    expect(second).to_be_focused()
    assert second.input_value() == "0"
    page.keyboard.press("ArrowUp")
    expect(first).to_be_focused()
    assert page.locator(".sliders [tabindex='0']").count() == 1
    # A slider that has a button beside it is left in their order.
    page.locator("#what-if-factor").focus()
    page.keyboard.press("ArrowUp")
    assert focused(page)[1] == "what-if-off"


def test_controls_that_come_and_go(page: Page) -> None:
    buttons = page.locator(".what-if-list button")
    page.locator("#what-if-off").click()
    page.locator("#what-if-identity").check()
    page.locator("#what-if-negate").click()
    expect(buttons).to_have_count(3)
    assert [each.get_attribute("tabindex") for each in buttons.all()] == ["0", "-1", "-1"]
    buttons.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(buttons.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(buttons).to_have_count(2)
    assert [each.get_attribute("tabindex") for each in buttons.all()] == ["0", "-1"]


def test_disabled_buttons_keep_the_focus_and_do_nothing(page: Page) -> None:
    undo = page.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_be_disabled()
    expect(page.get_by_role("button", name="Remove all")).to_be_disabled()
    page.locator("#what-if-off").click()
    undo.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".what-if-list li")).to_have_text(["none yet"])
    expect(undo).to_be_disabled()
    expect(undo).to_be_focused()
    page.locator("#what-if-measure").dispatch_event("click")
    expect(page.locator(".what-if .accuracy")).to_have_text("")
    page.evaluate("cnncli.state.set({ tour: 0 })")
    back = page.locator("#tour-back")
    expect(back).to_be_disabled()
    back.dispatch_event("click")
    assert page.evaluate("cnncli.state.get('tour')") == 0
