"""The pictures in the page: logged during training, and the images behind the confusion matrix.

Letters for shapes: N images, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cnncli.drawing.color import Pixels
from cnncli.drawing.image import image_pixels, tiled
from cnncli.report.page import base64_text, lossy_webp, webp
from cnncli.run import Run
from cnncli.tensorboard.event_file import LoggedPicture, read_pictures
from cnncli.training.evaluate import Predictions

LOGGED_BYTES = 3_000_000
"""Maximum bytes of logged pictures in the page; base64 adds a third."""
IMAGES_PER_CELL = 12
"""Maximum number of images behind each cell of the confusion matrix."""
MAX_IMAGES = 1_500
"""Maximum number of images behind all cells; misclassified ones come first."""
IMAGE_SIDE = 32
"""Pixels of the longer side of an image behind a cell; larger images are reduced."""
SPRITE_COLUMNS = 40
"""Images per row of the sprite."""

Frames = Mapping[int, bytes]
"""Step -> WebP."""


def logged_data(run: Path) -> dict[str, Any]:
    """The kernels and feature maps that the training logged, as JSON.

    `kernels` and `feature_maps` have an entry for each tag: `layer` (`01_conv1`), `probe` (of feature maps the class or
    `test-<index>`, else null) and `frames`, step -> index into `pictures`, WebPs of the same pixels. Where they exceed
    `LOGGED_BYTES`, probes are omitted from the end, then steps from the middle; `omitted` describes them.
    """
    tags: dict[str, Frames] = {
        tag: _frames(pictures)
        for tag, pictures in read_pictures(run).items()
        if tag.split("/")[0] in ("kernels", "feature_maps")
    }
    kept, omitted = _limit({tag: frames for tag, frames in tags.items() if frames})
    indices: dict[bytes, int] = {}
    entries: dict[str, list[dict[str, Any]]] = {"kernels": [], "feature_maps": []}
    for tag, frames in kept.items():
        group, layer, *probe = tag.split("/", 2)
        entries[group].append(
            {
                "layer": layer,
                "probe": probe[0] if probe else None,
                "frames": {step: indices.setdefault(content, len(indices)) for step, content in frames.items()},
            }
        )
    return {
        **entries,
        "steps": sorted({step for frames in kept.values() for step in frames}),
        "pictures": [base64_text(content) for content in indices],
        "omitted": omitted,
    }


def _frames(pictures: Sequence[LoggedPicture]) -> dict[int, bytes]:
    return {each.step: _png_as_webp(each.content) for each in pictures if each.content.startswith(b"\x89PNG")}


def _png_as_webp(content: bytes) -> bytes:
    with Image.open(BytesIO(content)) as picture:
        return webp(picture, method=1)  # milliseconds each: a run has hundreds


def _limit(tags: dict[str, Frames]) -> tuple[dict[str, Frames], list[str]]:
    """The pictures that fit in `LOGGED_BYTES`, and a description of what is omitted."""
    omitted = []
    probes = list(dict.fromkeys(tag.split("/", 2)[2] for tag in tags if tag.count("/") > 1))
    dropped = 0
    while _size(tags) > LOGGED_BYTES and len(probes) - dropped > 1:
        dropped += 1
        tags = {tag: frames for tag, frames in tags.items() if tag.split("/", 2)[2:] != [probes[-dropped]]}
    if dropped:
        omitted.append(f"feature maps of {dropped} of {len(probes)} test images")
    steps = kept = sorted({step for frames in tags.values() for step in frames})
    while _size(tags) > LOGGED_BYTES and len(kept) > 2:
        kept = [*kept[:-1:2], kept[-1]]
        tags = {tag: {step: frames[step] for step in kept if step in frames} for tag, frames in tags.items()}
    if len(kept) < len(steps):
        omitted.append(f"{len(steps) - len(kept)} of {len(steps)} steps")
    return tags, omitted


def _size(tags: Mapping[str, Frames]) -> int:
    return sum(map(len, {content for frames in tags.values() for content in frames.values()}))


def confusion_data(run: Run) -> dict[str, Any]:
    """The confusion matrix, and for each cell some of its test images with their positions in one sprite, as JSON."""
    predictions = run.predictions
    cells = _images_of_cells(predictions)
    indices = [index for cell in cells.values() for index in cell]
    positions = {index: position for position, index in enumerate(indices)}
    images = _reduced(run.test.images[indices])
    return {
        "counts": predictions.confusion.tolist(),
        "cells": [
            {
                "label": label,
                "predicted": predicted,
                "images": [
                    {
                        "index": index,
                        "confidence": float(predictions.confidence[index]),
                        "position": positions[index],
                    }
                    for index in cell
                ],
            }
            for (label, predicted), cell in cells.items()
        ],
        "sprite": sprite_data(image_pixels(images)),
    }


def sprite_data(images: Pixels, *, lossy: bool = False) -> dict[str, Any]:
    """Images of one size, (N, h, w, 3), or (N, h, w, 4) with transparency, in one WebP, as JSON; N is at least 1."""
    sheet = Image.fromarray(tiled(images, SPRITE_COLUMNS))
    return {
        "webp": base64_text(lossy_webp(sheet) if lossy else webp(sheet)),
        "columns": SPRITE_COLUMNS,
        "height": images.shape[1],
        "width": images.shape[2],
    }


def _images_of_cells(predictions: Predictions) -> dict[tuple[int, int], list[int]]:
    """(label, predicted) -> indices of test images: the most confident mistakes, the least confident hits.

    Cells off the diagonal come first, and of these the ones with more images.
    """
    confidence, counts = predictions.confidence, predictions.confusion
    cells = sorted(
        ((int(label), int(predicted)) for label, predicted in np.argwhere(counts)),
        key=lambda cell: (cell[0] == cell[1], -counts[cell]),
    )
    chosen: dict[tuple[int, int], list[int]] = {}
    room = MAX_IMAGES
    for label, predicted in cells:
        indices = np.flatnonzero((predictions.labels == label) & (predictions.predicted == predicted))
        sign = 1 if label == predicted else -1
        order = indices[np.argsort(sign * confidence[indices], kind="stable")]
        chosen[label, predicted] = order[: min(IMAGES_PER_CELL, room)].tolist()
        room -= len(chosen[label, predicted])
    return chosen


def _reduced(images: Tensor) -> Tensor:
    """Images uint8 (N, C, H, W), averaged down where a side is longer than `IMAGE_SIDE`."""
    height, width = images.shape[2:]
    longer = max(height, width)
    if longer <= IMAGE_SIDE:
        return images
    size = (max(1, round(height * IMAGE_SIDE / longer)), max(1, round(width * IMAGE_SIDE / longer)))
    return adaptive_avg_pool2d(images.float(), size).round().byte()
