"""The layer table as a notebook shows it, in a browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

import cnncli
from tests.browser.pages import Tabs

pytestmark = pytest.mark.browser


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"tbody td:nth-child({number})").all_inner_texts()


def test_a_click_on_a_heading_sorts_without_a_request(tabs: Tabs, tmp_path: Path) -> None:
    table = cnncli.inspect("lenet5")
    params = {row.name: row.params or 0 for row in table}
    names = list(params)
    with tabs.open({"width": 1200, "height": 800}) as page:
        requests: list[str] = []
        (tmp_path / "table.html").write_text(table._repr_html_(), encoding="utf-8")
        page.goto((tmp_path / "table.html").as_uri())
        page.on("request", lambda request: requests.append(request.url))
        assert column(page, 1) == names
        page.get_by_text("params", exact=True).click()
        assert column(page, 1) == sorted(names, key=lambda name: -params[name])
        page.get_by_text("params", exact=True).click()
        assert column(page, 1) == sorted(names, key=lambda name: params[name])
        page.get_by_text("type", exact=True).click()
        assert column(page, 2) == sorted((row.type for row in table), reverse=True)
        page.get_by_text("layer", exact=True).click()
        assert column(page, 1) == names
        assert requests == []
