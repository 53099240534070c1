"""The pictures in the page: logged during training, and the images behind the confusion matrix.

Letters for shapes: N images, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import prod
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
EXACT_BYTES = 1_500_000
"""Bytes of images with a longer side than that which the network can be applied to in the page, before compression."""
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


def images_data(run: Run) -> dict[str, Any]:
    """The test images that the page offers as inputs of the network, as JSON.

    They are the first image of each class and those behind the confusion matrix. Where the longer side is more than
    `IMAGE_SIDE`, there are as many as fit in `EXACT_BYTES`. `sprite` holds their exact pixels, `numbers` are their
    indices in the test set, and `mistakes` the positions of misclassified ones, the most confident first, in a list for
    the one network of the page.
    """
    predictions = run.predictions
    shape = run.network.input_shape
    behind = [index for cell in _images_of_cells(predictions).values() for index in cell]
    numbers = list(dict.fromkeys([*run.test.first_of_each_class(len(run.classes)), *behind]))
    if not _are_small(shape):
        numbers = numbers[: max(1, EXACT_BYTES // prod(shape))]
    wrong = [position for position, number in enumerate(numbers) if not predictions.correct[number]]
    return {
        "shape": list(shape),
        "count": len(numbers),
        "of": len(run.test),
        "numbers": numbers,
        "labels": [int(run.test.labels[number]) for number in numbers],
        "mistakes": [sorted(wrong, key=lambda position: -predictions.confidence[numbers[position]])],
        "sprite": sprite_data(image_pixels(run.test.images[numbers])),
    }


def _are_small(shape: Sequence[int]) -> bool:
    """Whether images (C, H, W) are small enough that all of them are in the page as they are."""
    return max(shape[1:]) <= IMAGE_SIDE


def confusion_data(run: Run) -> dict[str, Any]:
    """The confusion matrix, and for each cell some of its test images, as JSON.

    An image has a `position` in `sprite`; without a sprite, in that of `images_data`.
    """
    predictions = run.predictions
    cells = _images_of_cells(predictions)
    indices = [index for cell in cells.values() for index in cell]
    in_page = _are_small(run.network.input_shape)
    numbers = images_data(run)["numbers"] if in_page else indices
    positions = {index: position for position, index in enumerate(numbers)}
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
        "sprite": None if in_page else sprite_data(image_pixels(_reduced(run.test.images[indices]))),
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
