"""The HTML around the data, read by Python's own parser."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from cnncli.report.page import REPORT_PAGE, document
from tests.color_vision import contrast, least_difference

NASTY = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "{{script}} {{data}}",
    "a & b < c > d \" ' \\ \u2028 \u00fc \U0001f600",
    "]]>",
]


class Reader(HTMLParser):
    """Collects elements with their attributes, and the text inside scripts, styles and the title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def text(self, tag: str, number: int = 0) -> str:
        return [text for name, text in self.texts if name == tag and text.strip()][number]


@pytest.mark.parametrize("text", NASTY)
def test_text_cannot_end_the_data(text: str) -> None:
    data = {"classes": [text], text: [1, None, True]}
    page = Reader(document(REPORT_PAGE, data, title=text, parts={"binary": ""}))
    assert [tag for tag, _ in page.elements if tag in ("script", "style")] == ["style", "script", "script", "script"]
    assert json.loads(page.text("script")) == data
    assert page.text("title") == text


def test_the_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    page = Reader(document(REPORT_PAGE, {}, title="x", parts={"binary": ""}))
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = {
        tag: base64.b64encode(hashlib.sha256(page.text(tag, number).encode()).digest()).decode()
        for tag, number in (("script", 1), ("style", 0))
    }
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": f"'sha256-{digests['script']}'",
        "style-src": f"'sha256-{digests['style']}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_refers_to_nothing_outside() -> None:
    page = document(REPORT_PAGE, {}, title="x", parts={"binary": ""})
    addresses = set(re.findall(r"https?://[^\s\"']+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name that is not requested
    links = [attributes.get(key) for _, attributes in Reader(page).elements for key in ("src", "href")]
    assert list(filter(None, links)) == ["data:,"]


def test_nan_in_the_data_is_a_bug() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        document(REPORT_PAGE, {"loss": float("nan")}, title="x")


@pytest.mark.parametrize(("theme", "count"), [(":root {", 6), (':root[data-theme="dark"] {', 6)])
def test_colors_of_classes_are_legible_and_differ_for_every_kind_of_vision(theme: str, count: int) -> None:
    style = (files("cnncli.report") / "assets" / "shared" / "page.css").read_text(encoding="utf-8")
    rules = style[style.index(theme) : style.index("}", style.index(theme))]
    named = {name: tuple(bytes.fromhex(color)) for name, color in re.findall(r"--([\w-]+): #(\w{6});", rules)}
    colors = [named[f"class-{number}"] for number in range(count)]
    assert f"--class-{count}:" not in rules
    for color in colors:
        assert min(contrast(color, named["paper"]), contrast(color, named["page"])) >= 4.5
    assert min(least_difference(colors).values()) > 15
