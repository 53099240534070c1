"""Template, style, script and data as one HTML file that asks nothing of anybody."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_STYLES = ("report.css", "sections.css")
_SCRIPTS = (
    *("dom.js", "fields.js", "grid.js", "maps.js", "reading.js", "network.js"),
    *("curves.js", "steps.js", "confusion.js", "report.js"),
)
"""In the order in which each needs those before it."""


def document(data: Mapping[str, Any], *, title: str) -> str:
    """The page.

    Its security policy allows no request, and no script and style but these two: what comes from the user is data,
    which the script puts into the page as text.
    """
    style, script = ("".join(map(_asset, names)) for names in (_STYLES, _SCRIPTS))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(title),
        "policy": html.escape(policy, quote=False),
        "style": style,
        "script": script,
        "data": _as_script_data(data),
    }
    # In one pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("page.html"))


def _as_script_data(data: Mapping[str, Any]) -> str:
    """JSON that ends no script element, whatever texts it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (files("cnncli.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
