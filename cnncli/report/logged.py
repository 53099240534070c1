"""The kernels and feature maps that the training wrote down, step by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnncli.board.read import LoggedPicture, read_pictures
from cnncli.report.encoded import base64_text, webp_of_png

BYTES = 3_000_000
"""Of pictures in the page at most; base64 makes a third more of it."""

Frames = Mapping[int, bytes]
"""Step -> WebP."""


def logged_data(run: Path) -> dict[str, Any]:
    """The pictures of all steps as JSON.

    `kernels` and `feature_maps` have an entry for each tag, with its `layer` (`01_conv1`), its `probe` (of feature maps
    the class or `test-<number>`, else null), and `frames`: step -> position in `pictures`, which are WebP of the same
    pixels. Where they would be too many, probes are left out from the end, then steps from the middle; `left_out` says
    so.
    """
    tags: dict[str, Frames] = {
        tag: _frames(kept)
        for tag, kept in read_pictures(run).items()
        if tag.split("/")[0] in ("kernels", "feature_maps")
    }
    shown, left_out = _affordable({tag: frames for tag, frames in tags.items() if frames})
    places: dict[bytes, int] = {}
    found: dict[str, list[dict[str, Any]]] = {"kernels": [], "feature_maps": []}
    for tag, frames in shown.items():
        kind, layer, *probe = tag.split("/", 2)
        found[kind].append(
            {
                "layer": layer,
                "probe": probe[0] if probe else None,
                "frames": {step: places.setdefault(content, len(places)) for step, content in frames.items()},
            }
        )
    return {
        **found,
        "steps": sorted({step for frames in shown.values() for step in frames}),
        "pictures": [base64_text(content) for content in places],
        "left_out": left_out,
    }


def _frames(pictures: Sequence[LoggedPicture]) -> dict[int, bytes]:
    return {each.step: webp_of_png(each.content) for each in pictures if each.content.startswith(b"\x89PNG")}


def _affordable(tags: dict[str, Frames]) -> tuple[dict[str, Frames], list[str]]:
    """As many of the pictures as there is room for, and what is left out, in words."""
    left_out = []
    probes = list(dict.fromkeys(tag.split("/", 2)[2] for tag in tags if tag.count("/") > 1))
    dropped = 0
    while _size(tags) > BYTES and len(probes) - dropped > 1:
        dropped += 1
        tags = {tag: frames for tag, frames in tags.items() if tag.split("/", 2)[2:] != [probes[-dropped]]}
    if dropped:
        left_out.append(f"feature maps of {dropped} of {len(probes)} test images")
    steps = sorted({step for frames in tags.values() for step in frames})
    kept = steps
    while _size(tags) > BYTES and len(kept) > 2:
        kept = [*kept[:-1:2], kept[-1]]
        tags = {
            tag: {step: content for step, content in frames.items() if step in kept} for tag, frames in tags.items()
        }
    if len(kept) < len(steps):
        left_out.append(f"{len(steps) - len(kept)} of {len(steps)} steps")
    return tags, left_out


def _size(tags: Mapping[str, Frames]) -> int:
    return sum(map(len, {content for frames in tags.values() for content in frames.values()}))
