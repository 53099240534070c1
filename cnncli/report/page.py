"""Template, style, script and data as one HTML file that asks nothing of anybody."""

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


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def png(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture, uint8 (H, W) or (H, W, 3), as a PNG in base64."""
    written = BytesIO()
    Image.fromarray(pixels).save(written, format="PNG", optimize=True)
    return base64_text(written.getvalue())


def webp(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture, uint8 (H, W, 3), without loss in half of what a PNG takes, in base64."""
    return base64_text(_webp(Image.fromarray(pixels), method=4))


def webp_of_png(content: bytes) -> bytes:
    """A PNG as a WebP of the same pixels, made in milliseconds: a run has hundreds of them."""
    with Image.open(BytesIO(content)) as picture:
        return _webp(picture, method=1)


def _webp(picture: Image.Image, *, method: int) -> bytes:
    """Without loss; a higher method takes longer and gives fewer bytes."""
    written = BytesIO()
    picture.save(written, format="WEBP", lossless=True, quality=75, method=method)
    return written.getvalue()


def halves(values: npt.NDArray[np.floating]) -> str:
    """Numbers as IEEE half precision (three digits), little endian, in base64; what is too large is the largest."""
    largest = float(np.finfo(np.float16).max)
    clipped = np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
    return base64_text(clipped.astype("<f2").tobytes())


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
