"""What the browser tests of all pages share."""

import pytest
from playwright.sync_api import Browser

from tests.browser.pages import Tabs


@pytest.fixture(scope="session")
def tabs(browser: Browser) -> Tabs:
    """Pages that are used again; they are closed with the browser."""
    return Tabs(browser)
