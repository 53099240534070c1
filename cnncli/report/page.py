"""A self-contained HTML file, assembled from a template, style sheets, JavaScript modules and data."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_STYLES = ("report.css", "sections.css")
_ENTRY = "report.js"

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:class|const|function) )", re.MULTILINE)


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def webp(picture: Image.Image, *, method: int = 4) -> bytes:
    """A lossless WebP, half the size of a PNG; a higher `method` (0 to 6) takes longer and gives fewer bytes."""
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", lossless=True, quality=75, method=method)
    return buffer.getvalue()


def float16_text(values: npt.NDArray[np.floating]) -> str:
    """Numbers in half precision (three digits), little endian, in base64; clipped to the largest finite number."""
    largest = float(np.finfo(np.float16).max)
    clipped = np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
    return base64_text(clipped.astype("<f2").tobytes())


def document(data: Mapping[str, Any], *, title: str) -> str:
    """The HTML of the page.

    Its content security policy allows no request, and no style and script but the two that are inlined. What comes from
    the user is in the data, which the script inserts as text.
    """
    style = "".join(map(_asset, _STYLES))
    script = bundle(_ENTRY)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(title),
        "policy": html.escape(policy, quote=False),
        "style": style,
        "script": script,
        "data": _json_for_script(data),
    }
    # A single pass: braces in what is inserted are not substituted again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def bundle(entry: str) -> str:
    """A JavaScript module and all that it imports as one script, each module after those it imports.

    Import statements and the word `export` are removed, so the modules share one scope: no name may be defined at the
    top of two of them, and none may be renamed by an import.
    """
    modules: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        assert name not in importers, f"circular import: {' -> '.join([*importers, name])}"
        if name in modules:
            return
        source = _asset(name)
        for imported in _IMPORT.findall(source):
            add(imported, (*importers, name))
        modules[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(entry, ())
    script = "\n".join(modules.values())
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE), "an import or export in another form"
    return script


def _json_for_script(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it is in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (files("cnncli.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which a content security policy identifies an inline style or script."""
    return f"'sha256-{base64_text(hashlib.sha256(text.encode()).digest())}'"
