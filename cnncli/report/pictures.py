"""What is taken for what, with the test images behind each number.

Letters for shapes: C channels, H height, W width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from cnncli.report.page import base64_text, png, webp, webp_of_png
from cnncli.run import Predictions, Run
from cnncli.tensorboard.reader import LoggedPicture, read_pictures
from cnncli.views.patches import Patches
from cnncli.views.view import Picture

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


SIZE = 1_000_000
"""Characters of all pictures of a kind in the page at most."""


@dataclass(frozen=True)
class Kind:
    """A kind of picture in the page: its anchor, its heading, and what makes it."""

    name: str
    heading: str
    make: Callable[[Run], Iterable[Picture]]


KINDS = (Kind("patches", "What activates the filters", Patches().pictures),)
"""To show a kind is to name it here."""


def exhibits_data(run: Run, kinds: Sequence[Kind] = KINDS) -> list[dict[str, Any]]:
    """The first exhibits of each kind, as many as there is room for, as JSON; a kind without any is left out."""
    sections = []
    for kind in kinds:
        pictures = [
            {"title": each.title, "lines": list(each.lines), "webp": webp(each.pixels)} for each in kind.make(run)
        ]
        shown = _exhibits_affordable([len(each["webp"]) for each in pictures])
        if shown:
            sections.append(
                {
                    "kind": kind.name,
                    "heading": kind.heading,
                    "pictures": pictures[:shown],
                    "left_out": len(pictures) - shown,
                }
            )
    return sections


def _exhibits_affordable(sizes: Sequence[int]) -> int:
    """How many of the first there is room for; at least one, if there is any."""
    return max((i for i in range(len(sizes) + 1) if i <= 1 or sum(sizes[:i]) <= SIZE), default=0)


PER_CELL = 12
IMAGES = 1_500
"""In the page at most; those that are wrong come first."""
LARGEST = 32
"""Pixels of a side; larger images are made smaller."""
ACROSS = 40
"""Images side by side in the sprite."""

Pixels = npt.NDArray[np.uint8]


def confusion_data(run: Run, predictions: Predictions) -> dict[str, Any]:
    """Counts, and for each cell some of its images with their place in one PNG, as JSON.

    Of what is wrong the surest images come first, of what is right the least sure.
    """
    chosen = _chosen(predictions)
    numbers = [number for cell in chosen.values() for number in cell]
    places = {number: place for place, number in enumerate(numbers)}
    thumbnails = [_thumbnail(run.test.images[number]) for number in numbers]
    confidence = predictions.confidence
    return {
        "counts": predictions.confusion.tolist(),
        "cells": [
            {
                "label": label,
                "predicted": predicted,
                "images": [
                    {"number": number, "confidence": float(confidence[number]), "place": places[number]}
                    for number in cell
                ],
            }
            for (label, predicted), cell in chosen.items()
        ],
        "sprite": {
            "png": png(_sprite(thumbnails)),
            "across": ACROSS,
            "height": thumbnails[0].shape[0],
            "width": thumbnails[0].shape[1],
        },
    }


def _chosen(predictions: Predictions) -> dict[tuple[int, int], list[int]]:
    """(label, predicted) -> numbers of images; cells that are wrong first, those with more images before others."""
    confidence, counts = predictions.confidence, predictions.confusion
    cells = sorted(
        ((int(label), int(predicted)) for label, predicted in np.argwhere(counts)),
        key=lambda cell: (cell[0] == cell[1], -counts[cell]),
    )
    chosen: dict[tuple[int, int], list[int]] = {}
    room = IMAGES
    for label, predicted in cells:
        numbers = np.flatnonzero((predictions.labels == label) & (predictions.predicted == predicted))
        sign = 1 if label == predicted else -1
        order = numbers[np.argsort(sign * confidence[numbers], kind="stable")]
        chosen[label, predicted] = order[: min(PER_CELL, room)].tolist()
        room -= len(chosen[label, predicted])
    return chosen


def _thumbnail(image: Tensor) -> Pixels:
    """An image uint8 (C, H, W) as (H', W') in gray or (H', W', 3) in color."""
    channels = image.cpu().numpy()
    pixels: Pixels = np.ascontiguousarray(channels.transpose(1, 2, 0)) if len(channels) == 3 else channels[0]
    height, width = pixels.shape[:2]
    if max(height, width) <= LARGEST:
        return pixels
    factor = LARGEST / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _sprite(thumbnails: list[Pixels]) -> Pixels:
    """All images in one, `ACROSS` in each row."""
    height, width, *colors = thumbnails[0].shape
    rows = -(-len(thumbnails) // ACROSS)
    sheet: Pixels = np.zeros((rows * height, ACROSS * width, *colors), dtype=np.uint8)
    for place, thumbnail in enumerate(thumbnails):
        y, x = place // ACROSS * height, place % ACROSS * width
        sheet[y : y + height, x : x + width] = thumbnail
    return sheet
