"""The tour on the page: steps by mouse and keyboard, links into it, and a teacher's own."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.pages import ExitCodeOf, Open

pytestmark = pytest.mark.browser

OWN = """\
title: A tour in two steps
steps:
  - text: <b>Look</b> at this pool & its map.
    layer: max_pool1
    filter: 1
    at: [2, 3]
    image: 250
  - title: The end
    text: Draw something.
    part: answer
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, exit_code_of: ExitCodeOf) -> Path:
    folder = tmp_path_factory.mktemp("tour")
    settings = ("train.epochs=1", "log.images=0")
    words = [word for setting in settings for word in ("--set", setting)]
    assert exit_code_of("train", "quickstart", "--out", folder, "--threads", 1, "--quiet", *words) == 0
    (made,) = folder.iterdir()
    return made


def test_through_all_steps_by_keyboard(run: Path, exit_code_of: ExitCodeOf, open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "play.html"
    assert exit_code_of("play", run, "--out", path) == 0
    page = open_page(tmp_path)
    page.locator("#tour-open").click()
    seen = []
    for number in range(1, 9):
        expect(page.locator(".tour-place")).to_have_text(f"Step {number} of 8")
        expect(page.locator(".tour-step")).to_be_in_viewport(ratio=0.99)
        expect(page.locator("#tour-title")).to_be_focused()
        seen.append(page.locator("#tour-title").inner_text())
        assert "{" not in page.locator(".tour-text").inner_text()
        if number < 8:
            page.locator("#tour-next").focus()
            page.keyboard.press("Enter")
    assert len(set(seen)) == 8
    assert page.locator("#tour-next").count() == 0
    page.keyboard.press("Escape")
    expect(page.locator(".tour-step")).to_have_count(0)
    expect(page.locator("#tour-start")).to_be_focused()
    stops = page.locator('#tour button[tabindex="0"]')
    expect(stops).to_have_count(1)
    page.keyboard.press("End")
    expect(page.locator(".tour-entry").last).to_be_focused()
    expect(stops).to_have_count(1)


def test_the_back_button_leads_to_the_step_before(
    run: Path, exit_code_of: ExitCodeOf, open_page: Open, tmp_path: Path
) -> None:
    path = tmp_path / "play.html"
    assert exit_code_of("play", run, "--out", path) == 0
    page = open_page(tmp_path)
    for number, button in ((1, "#tour-open"), (2, "#tour-next"), (3, "#tour-next")):
        page.locator(button).click()
        page.wait_for_function("number => location.hash.endsWith(`tour=${number}`)", arg=number)
    for number in (2, 1):
        page.go_back()
        expect(page.locator(".tour-place")).to_have_text(f"Step {number} of 8")
    page.go_back()
    expect(page.locator("#tour-start")).to_be_visible()
    page.go_forward()
    expect(page.locator(".tour-place")).to_have_text("Step 1 of 8")


def test_a_link_opens_a_step(run: Path, exit_code_of: ExitCodeOf, open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "play.html"
    assert exit_code_of("play", run, "--out", path, "--lang", "zh") == 0
    page = open_page(tmp_path, link="#tour=2")
    expect(page.locator(".tour-place")).to_have_text("第 2 步\uff0c共 8 步")
    unit = page.evaluate("cnncli.state.get('unit')")
    assert (unit["layer"], unit["channel"]) == ("conv1", 0)
    page.locator("#language").click()
    expect(page.locator(".tour-place")).to_have_text("Step 2 of 8")


def test_a_tour_of_ones_own(run: Path, exit_code_of: ExitCodeOf, open_page: Open, tmp_path: Path) -> None:
    tour, path = tmp_path / "tour.yaml", tmp_path / "play.html"
    tour.write_text(OWN, encoding="utf-8")
    assert exit_code_of("play", run, "--out", path, "--tour", tour) == 0
    page = open_page(tmp_path, link="#tour=1")
    expect(page.locator(".tour-text")).to_have_text("<b>Look</b> at this pool & its map.")
    assert page.evaluate("cnncli.state.get('unit')") == {"layer": "max_pool1", "channel": 1, "row": 2, "column": 3}
    assert page.evaluate("cnncli.state.get('source').number") == 250
    page.locator("#tour-leave").click()
    expect(page.locator(".tour-list .intro")).to_have_text("A tour in two steps: 2 steps.")
    page.get_by_role("button", name="The end").click()
    expect(page.locator(".tour-place")).to_have_text("Step 2 of 2")


def test_a_mistake_in_a_tour(
    run: Path, exit_code_of: ExitCodeOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tour = tmp_path / "tour.yaml"
    tour.write_text(OWN.replace("max_pool1", "max_pol1"), encoding="utf-8")
    assert exit_code_of("play", run, "--out", tmp_path / "play.html", "--tour", tour) == 3
    assert "tour.yaml:4:12 steps.0.layer: unknown layer: max_pol1. Did you mean max_pool1?" in capsys.readouterr().err
