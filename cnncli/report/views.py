"""What `cnncli show` draws, as numbers and small images for the page, which draws it with text in HTML.

The cost of a section is estimated in multiply-accumulates (MACs): a network that is large gets fewer images or steps,
and the page says so.

Letters for shapes: N images, (C, H, W) image, (h, w) patch, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cnncli.config.network import Node
from cnncli.drawing.color import Pixels, Values
from cnncli.drawing.image import image_pixels, thinning
from cnncli.drawing.text import joined
from cnncli.layers import format_size
from cnncli.report.page import base64_text
from cnncli.report.patches import PATCHES
from cnncli.report.pictures import sprite_data
from cnncli.run import Run
from cnncli.views import activation_maximization, effective_receptive_field
from cnncli.views.activation_maximization import Unit, maximize
from cnncli.views.embedding import layer_features, principal_components
from cnncli.views.patches import MOST_PADDING
from cnncli.views.saliency import ImageMaps, SaliencyMap, explain
from cnncli.views.units import (
    Patch,
    TopActivations,
    crop_patch,
    filter_name,
    images_at_once,
    layers_with_filters,
    top_activations,
)
from cnncli.views.view import nodes_with_positions

PATCH_BYTES = 1_000_000
"""Maximum number of bytes of all patches in the page, about; base64 adds a third."""
PATCH_SIDE = 48
"""Pixels of the longer side of a patch; of a larger one, every n-th pixel is kept."""
UNREAD = 110
"""The opacity of pixels that a unit does not read, of 255; padding has 0."""
POINTS = 1000
"""Images in the embedding."""
MAP_SIDE = 64
"""Pixels of the longer side of a saliency map; larger ones are averaged down."""
SALIENCY_IMAGES = 10
SALIENCY_PASSES = 1500
"""Passes through the network that the maps of one image take, about; a backward pass counts as two."""
MACS = 100_000_000_000
"""MACs that each of saliency, activation maximization and effective receptive fields may take, about: 10 s on two
cores."""
LEAST_STEPS = 32
"""Steps of gradient ascent for a network that is too large for all of them."""
MAXIMIZED_CLASSES = 30
EFFECTIVE_IMAGES = 100
EFFECTIVE_LAYERS = 8


def patches_data(run: Run, tops: Mapping[str, Sequence[TopActivations]]) -> dict[str, Any]:
    """The patches of test images that activate each filter most, as JSON.

    Every filter is there. Where their patches take more than `PATCH_BYTES`, there are fewer for each filter, and then
    no patches of the last layers; `omitted` names these. `size` is the height and width of a patch: it lies in the
    upper left corner of its tile in the layer's sprite. Padding is transparent, and what a unit does not read is half
    transparent.

    Args:
        run: with its test images.
        tops: name of a layer -> its filters, with `PATCHES` units each.
    """
    layers = {name: _layer_patches(run, run.node(name), filters, PATCHES) for name, filters in tops.items()}
    size = sum(map(_bytes, layers.values()))
    count = PATCHES
    if size > PATCH_BYTES:
        count = max(1, int(PATCHES * PATCH_BYTES / size))
        layers = {name: _layer_patches(run, run.node(name), filters, count) for name, filters in tops.items()}
    omitted: list[str] = []
    while len(layers) > 1 and sum(map(_bytes, layers.values())) > 1.5 * PATCH_BYTES:
        name, _ = layers.popitem()
        omitted.insert(0, name)
    return {"layers": list(layers.values()), "images": len(run.test), "count": count, "omitted": omitted}


def patch_tops(run: Run) -> dict[str, tuple[TopActivations, ...]]:
    """The `PATCHES` units with the largest outputs of each filter of the layers with kernels, and of each class."""
    nodes = dict.fromkeys((*layers_with_filters(run, ()), run.network.nodes[-1]))
    images = (images for images, _ in run.batches(batch_size=images_at_once(run.network)).epoch(1))
    return top_activations(run.model, [node.name for node in nodes], images, count=PATCHES)


def _bytes(layer: Mapping[str, Any]) -> int:
    return 0 if layer["sprite"] is None else len(layer["sprite"]["webp"]) * 3 // 4


def _layer_patches(run: Run, node: Node, filters: Sequence[TopActivations], count: int) -> dict[str, Any]:
    tiles: list[npt.NDArray[np.uint8]] = []
    entries = []
    for top in filters:
        patches = []
        for unit in () if top.is_constant else top.best[:count]:
            image = run.test.images[unit.image].cpu()
            tile = _patch_tile(crop_patch(run.table, node.name, unit.position, image, most_padding=MOST_PADDING))
            patches.append(
                {
                    "index": unit.image,
                    "label": int(run.test.labels[unit.image]),
                    "unit": list(unit.position),
                    "value": unit.value,
                    "position": len(tiles),
                    "size": list(tile.shape[:2]),
                }
            )
            tiles.append(tile)
        name = filter_name(run, node, top.filter)
        entries.append({"name": name, "lowest": top.lowest, "highest": top.highest, "patches": patches})
    receptive_field = run.table[node.name].receptive_field
    return {
        "name": node.name,
        "size": format_size(receptive_field.size),
        "whole": receptive_field.is_global,
        "filters": entries,
        "sprite": _sprite(tiles, lossy=run.network.input_shape[0] == 3) if tiles else None,
    }


def _patch_tile(patch: Patch) -> npt.NDArray[np.uint8]:
    """A patch as uint8 (h, w, 4)."""
    opacity = np.where(patch.padding, 0, np.where(patch.unread, UNREAD, 255)).astype(np.uint8)
    step = thinning(opacity.shape, PATCH_SIDE)
    tile: Pixels = np.concatenate([image_pixels(patch.pixels), opacity[..., None]], axis=-1)
    return tile[::step, ::step]


def _sprite(tiles: Sequence[Pixels], *, lossy: bool) -> dict[str, Any]:
    """Tiles of several sizes in one sprite, each in the upper left corner of its place."""
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    padded = [np.pad(each, ((0, height - each.shape[0]), (0, width - each.shape[1]), (0, 0))) for each in tiles]
    return sprite_data(np.stack(padded), lossy=lossy)


def saliency_data(run: Run) -> dict[str, Any]:
    """The saliency maps of the first test image of some classes, for the predicted class, as JSON.

    `values` are int8 (H, W), from -127 to 127 for -`high` to `high`; `picture` is the image, uint8 (C, H, W).
    """
    count = max(1, min(SALIENCY_IMAGES, MACS // (SALIENCY_PASSES * max(1, run.table.macs))))
    numbers = run.test.first_of_each_class(count)
    return {"images": [_explained(run, number, explain(run, number)) for number in numbers]}


def _explained(run: Run, number: int, found: ImageMaps) -> dict[str, Any]:
    height, width = found.image.shape[1:]
    picture = _averaged(found.image.float())
    return {
        "index": number,
        "label": int(run.test.labels[number]),
        "lines": [joined(line) for line in found.lines],
        "shape": list(picture.shape),
        "picture": base64_text(picture.round().byte().numpy().tobytes()),
        "reduced": list(picture.shape[1:]) != [height, width],
        "maps": [_saliency_map(each) for each in found.maps],
    }


def _saliency_map(found: SaliencyMap) -> dict[str, Any]:
    values = _averaged(torch.from_numpy(found.values)[None])[0].numpy()
    high = float(np.abs(values).max())
    levels = np.rint(values / (high or 1.0) * 127).astype(np.int8)
    return {
        "name": found.name,
        "signed": found.signed,
        "high": high,
        "note": found.note,
        "values": base64_text(levels.tobytes()),
    }


def _averaged(images: Tensor) -> Tensor:
    """Images (C, H, W), averaged down where a side is longer than `MAP_SIDE`; on the CPU."""
    images = images.cpu()
    height, width = images.shape[1:]
    longer = max(height, width)
    if longer <= MAP_SIDE:
        return images
    size = (max(1, round(height * MAP_SIDE / longer)), max(1, round(width * MAP_SIDE / longer)))
    return adaptive_avg_pool2d(images, size)


def calibration_data(run: Run) -> dict[str, Any]:
    """The reliability diagram as numbers: images, mean confidence and accuracy of each bin; null in an empty one."""
    predictions = run.predictions
    found = predictions.calibration
    return {
        "counts": found.counts.tolist(),
        "confidence": _finite(found.confidence),
        "accuracy": _finite(found.accuracy),
        "expected_error": found.expected_error,
        "maximum_error": found.maximum_error,
        "mean_confidence": found.mean_confidence,
        "mean_accuracy": predictions.accuracy,
    }


def _finite(values: Values) -> list[float | None]:
    return [None if np.isnan(each) else float(each) for each in values]


def embedding_data(run: Run) -> dict[str, Any]:
    """Test images as points: the first two principal components of the inputs of the last layer, as JSON.

    `points` are [x, y, index, label, predicted]; x and y are from 0 to 1000, on one scale, y upwards.
    """
    layer = run.network.nodes[-1].inputs[0]
    total = len(run.test)
    count = min(POINTS, total)
    chosen = torch.arange(count) * total // count  # evenly spaced: images of a folder are sorted by class
    vectors = layer_features(run.model, layer, run.batches(run.test.subset(chosen)))
    components = principal_components(vectors, directions=2)
    low, high = components.coordinates.min(axis=0), components.coordinates.max(axis=0)
    scale = 1000 / (float((high - low).max()) or 1.0)
    places = np.rint((components.coordinates - (low + high) / 2) * scale + 500).astype(int).tolist()
    predictions = run.predictions
    return {
        "layer": layer,
        "count": count,
        "of": total,
        "features": vectors.shape[1],
        "shares": [float(share) for share in components.shares],
        "points": [
            [x, y, index, int(predictions.labels[index]), int(predictions.predicted[index])]
            for (x, y), index in zip(places, chosen.tolist(), strict=True)
        ],
    }


def maximization_data(run: Run, tops: Sequence[TopActivations]) -> dict[str, Any]:
    """An image optimized for each class, beside the test image with the highest logit of that class, as JSON.

    Args:
        run: with its test images.
        tops: of the last layer.
    """
    node = run.network.nodes[-1]
    cost = activation_maximization.STARTS * 3 * max(1, run.table.macs)  # of a step for one class
    classes = max(1, min(MAXIMIZED_CLASSES, node.shape[0], MACS // (LEAST_STEPS * cost)))
    steps = max(LEAST_STEPS, min(activation_maximization.STEPS, MACS // (classes * cost)))
    position = activation_maximization.center_unit(node)
    pixels: list[Tensor] = []
    values: list[float] = []
    for first in range(0, classes, activation_maximization.AT_ONCE):
        units = range(first, min(classes, first + activation_maximization.AT_ONCE))
        made = maximize(
            run.model,
            node,
            [Unit(filter=unit, position=position) for unit in units],
            normalization=run.normalization,
            seed=activation_maximization.SEED,
            jitter=0 if position else 1,
            steps=steps,
        )
        pixels.append((made.images * 255).round().byte().cpu())
        values += made.values
    best = [top.best[0] for top in tops[:classes]]
    real = run.test.images[[unit.image for unit in best]].cpu()
    images = image_pixels(torch.cat([*pixels, real]))
    step = thinning(images.shape[1:3], MAP_SIDE)
    return {
        "layer": node.name,
        "steps": steps,
        "of": node.shape[0],
        "classes": [
            {
                "value": value,
                "real": {
                    "index": unit.image,
                    "label": int(run.test.labels[unit.image]),
                    "value": unit.value,
                    "position": classes + i,
                },
            }
            for i, (value, unit) in enumerate(zip(values, best, strict=True))
        ],
        "sprite": sprite_data(images[:, ::step, ::step], lossy=len(images) > 20 and run.network.input_shape[0] == 3),
    }


def effective_data(run: Run) -> dict[str, Any] | None:
    """The effective receptive fields of layers with positions, trained and untrained; null if there is no such layer.

    `values` are uint8 (H, W): the square root of each weight relative to the largest, from 0 to 255.
    """
    nodes = [node for node in nodes_with_positions(run.network) if node.layer.has_kernels]
    nodes = nodes or nodes_with_positions(run.network)[-1:]
    cost = 2 * 3 * EFFECTIVE_IMAGES * max(1, run.table.macs)
    kept = max(1, min(EFFECTIVE_LAYERS, len(nodes), MACS // cost))
    layers = []
    for node in nodes[len(nodes) - kept :]:
        found = effective_receptive_field.measure(run, node.name, images=EFFECTIVE_IMAGES)
        layers.append(
            {
                "layer": found.layer,
                "unit": list(found.unit),
                "rows": list(found.rows),
                "columns": list(found.columns),
                "trained": _effective(found.trained),
                "untrained": _effective(found.untrained),
            }
        )
    if not layers:
        return None
    return {"images": min(EFFECTIVE_IMAGES, len(run.test)), "of": len(nodes), "layers": layers}


def _effective(found: effective_receptive_field.EffectiveField) -> dict[str, Any]:
    largest = float(found.weights.max()) or 1.0
    values = np.rint(255 * np.sqrt(found.weights / largest)).astype(np.uint8)
    return {"sides": {str(share): side for share, side in found.sides.items()}, "values": base64_text(values.tobytes())}


def views_data(run: Run) -> dict[str, Any]:
    """The data of all sections that show what the network learned, by the name of their view, as JSON."""
    tops = patch_tops(run)
    last = run.network.nodes[-1].name
    shown = {name: filters for name, filters in tops.items() if name != last}
    return {
        "patches": patches_data(run, shown or tops),
        "saliency": saliency_data(run),
        "calibration": calibration_data(run),
        "embedding": embedding_data(run),
        "maximization": maximization_data(run, tops[last]),
        "effective": effective_data(run),
    }
