"""What is taken for what, with the test images behind each number.

Letters for shapes: C channels, H height, W width.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from cnncli.interpret.predictions import Predictions
from cnncli.report.encoded import png
from cnncli.trained import TrainedRun

PER_CELL = 12
IMAGES = 1_500
"""In the page at most; those that are wrong come first."""
LARGEST = 32
"""Pixels of a side; larger images are made smaller."""
ACROSS = 40
"""Images side by side in the sprite."""

Pixels = npt.NDArray[np.uint8]


def confusion_data(run: TrainedRun, predictions: Predictions) -> dict[str, Any]:
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
    """An image uint8 (C, H, W) as (H', W') in grey or (H', W', 3) in colour."""
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
    height, width, *colours = thumbnails[0].shape
    rows = -(-len(thumbnails) // ACROSS)
    sheet: Pixels = np.zeros((rows * height, ACROSS * width, *colours), dtype=np.uint8)
    for place, thumbnail in enumerate(thumbnails):
        y, x = place // ACROSS * height, place % ACROSS * width
        sheet[y : y + height, x : x + width] = thumbnail
    return sheet
