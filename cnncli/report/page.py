"""A self-contained HTML file, assembled from a template, style sheets, JavaScript modules and data."""

import base64
import hashlib
import html
import json
import posixpath
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from io import BytesIO
from typing import Any

from PIL import Image

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "(\.\.?/[\w/.-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function\*?|class|const|function\*?) (\w+))", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\n", re.MULTILINE)
"""Lines that are comments, and comments in front of definitions."""
_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_LONG_STRING = re.compile(r"^(?:[^`\n]*`[^`\n]*`)*[^`\n]*`[^`\n]*$", re.MULTILINE)
"""A line with half of a pair of backticks: where a string of several lines begins or ends."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a page is assembled from; all are paths in `assets`.

    Attributes:
        html: with `{{title}}`, `{{policy}}`, `{{style}}`, `{{script}}` and `{{data}}`; a page may have more.
        styles: style sheets, joined in this order.
        entry: the JavaScript module that builds the page.
        worker: the JavaScript module of the page's worker, if it has one: inserted as `{{worker}}`, compressed, and
            started from a Blob.
        policy: what the content security policy allows besides the inlined style and script, and images as data.
    """

    html: str
    styles: tuple[str, ...]
    entry: str
    worker: str | None = None
    policy: str = ""


REPORT_PAGE = Template(
    html="report/page.html",
    styles=(
        "shared/page.css",
        "play/overview.css",
        "play/logits.css",
        "play/input.css",
        "play/unit.css",
        "report/sections.css",
    ),
    entry="report/report.js",
)
PLAY_PAGE = Template(
    html="play/play.html",
    styles=(
        "shared/page.css",
        "play/play.css",
        "play/overview.css",
        "play/logits.css",
        "play/unit.css",
        "play/input.css",
        "play/what-if.css",
        "play/attribution.css",
        "play/patches.css",
        "play/time.css",
        "play/live.css",
        "play/tour.css",
    ),
    entry="play/play.js",
    worker="engine/worker.js",
    policy="worker-src blob:; ",
)
LIVE_PAGE = replace(PLAY_PAGE, policy="worker-src blob:; connect-src 'self'; ")
"""The playground of a network in training: it makes requests to where it comes from, and to nowhere else."""


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def compressed_text(content: bytes) -> str:
    """Bytes compressed with zlib, as base64; `inflate` in the page decompresses them."""
    return base64_text(zlib.compress(content, 9))


def webp(picture: Image.Image, *, method: int = 4) -> bytes:
    """A lossless WebP, half the size of a PNG; a higher `method` (0 to 6) takes longer and gives fewer bytes."""
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", lossless=True, quality=75, method=method)
    return buffer.getvalue()


def lossy_webp(picture: Image.Image, *, quality: int = 85) -> bytes:
    """A WebP for photographs, a quarter of the size of a lossless one; transparency stays as it is."""
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", quality=quality, alpha_quality=100)
    return buffer.getvalue()


def document(template: Template, data: Mapping[str, Any], *, title: str, parts: Mapping[str, str] | None = None) -> str:
    """The HTML of a page.

    Its content security policy allows no request, and no style and script but the two that are inlined. What comes from
    the user is in the data, which the script inserts as text.

    Args:
        template: what it is assembled from.
        data: for the script, as JSON.
        title: of the page, as text.
        parts: further parts that the template names, as HTML.
    """
    style = "".join(map(_asset, template.styles))
    script = _escaped(bundle(template.entry))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        f"{template.policy}base-uri 'none'; form-action 'none'"
    )
    inserted = {
        "title": html.escape(title),
        "policy": html.escape(policy, quote=False),
        "style": style,
        "script": script,
        "data": _json_for_script(data),
        **({"worker": compressed_text(bundle(template.worker).encode())} if template.worker else {}),
        **(parts or {}),
    }
    # A single pass: braces in what is inserted are not substituted again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: inserted[match[1]], _asset(template.html))


def bundle(entry: str) -> str:
    """A JavaScript module and all that it imports as one script, each module after those it imports.

    Every module becomes a function that is called once and returns what the module exports, so that modules do not
    share the names that they do not export.

    Args:
        entry: the path of the module in `assets`, such as `report/report.js`.
    """
    modules: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        assert name not in importers, f"circular import: {' -> '.join([*importers, name])}"
        if name in modules:
            return
        source = _asset(name)
        for _, path in _IMPORT.findall(source):
            add(_imported(name, path), (*importers, name))
        modules[name] = _as_function(name, source)

    add(entry, ())
    return "\n".join(['"use strict";', "{", "const modules = {};", *modules.values(), "}", ""])


def _imported(importer: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))


def _as_function(name: str, source: str) -> str:
    """A module as a function that returns its exports, with imports as constants, without comments and indentation."""
    exports = _EXPORT.findall(source)
    body = _IMPORT.sub(lambda found: f'const {found[1]} = modules["{_imported(name, found[2])}"];\n', source)
    body = _INDENTATION.sub("", _COMMENT.sub("", _EXPORT.sub("", body)))
    assert not _LONG_STRING.search(body), f"{name}: a string of several lines, which the indentation belongs to"
    assert not re.search(r"^(import|export)\b", body, re.MULTILINE), f"{name}: an import or export in another form"
    return f'modules["{name}"] = (() => {{\n{body}return {{ {", ".join(exports)} }};\n}})();'


def _json_for_script(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it is in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _escaped(script: str) -> str:
    """A script in ASCII: browsers read a page without other characters in half the time."""
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], script)


def _asset(name: str) -> str:
    return (files("cnncli.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which a content security policy identifies an inline style or script."""
    return f"'sha256-{base64_text(hashlib.sha256(text.encode()).digest())}'"
