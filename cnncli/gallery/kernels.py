"""The kernels that a run has learned."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.layers import chosen_layers
from cnncli.pictures.colour import Scale, Values
from cnncli.pictures.feature_maps import CONVOLUTIONS
from cnncli.pictures.grid import Picture
from cnncli.pictures.kernels import kernel_picture
from cnncli.pictures.layout import CARD, PAGE
from cnncli.pictures.rgb_kernels import rgb_kernel_picture, rgb_tiles
from cnncli.pictures.tile import Tile
from cnncli.spec.layers import Conv, ConvTranspose
from cnncli.spec.network import INPUT, Node
from cnncli.trained import TrainedRun

ScaleOf = Literal["layer", "kernel", "run"]


def kernels(
    run: TrainedRun, *, layers: Sequence[str] = (), scale: ScaleOf = "layer", by_norm: bool = False
) -> Iterator[Exhibit]:
    """A picture for each convolution, or for those of `layers`; filters that read red, green and blue also in colour.

    Args:
        run: whose kernels they are.
        layers: names of convolutions.
        scale: what shares one scale: all filters of a layer, each filter its own, or all convolutions of the run.
        by_norm: the filters of largest L2 norm first.

    Raises:
        UsageError: one of the layers is not there, or is no convolution.
    """
    weights = run.model.kernels()
    numbered = run.network.numbered()
    of_run = Scale.symmetric(np.concatenate([_values(weight).ravel() for weight in weights.values()] or [np.zeros(0)]))
    for node in chosen_layers(run, layers, CONVOLUTIONS, "has kernels"):
        weight, tag = weights[node.name].detach(), f"kernels/{numbered[node.name]}"
        values = _values(weight)
        scales = {
            "layer": [Scale.symmetric(values)] * len(values),
            "kernel": [Scale.symmetric(each) for each in values],
            "run": [of_run] * len(values),
        }[scale]
        count = len(weights)
        captions = [f"scale of all {count} convolutions"] if scale == "run" and count > 1 else []
        page, card = (
            kernel_picture(
                weight,
                title=node.name,
                sheet=sheet,
                scales=scales,
                by_norm=by_norm,
                groups=_groups(node),
                captions=captions,
            )
            for sheet in (PAGE, CARD)
        )
        title = f"kernels of {node.name}"
        tiles = _tiles(values, page, scales, _groups(node))
        yield Exhibit(tag=tag, title=title, pixels=page.pixels, card=card.pixels, tiles=tiles)
        if node.inputs == (INPUT,) and values.shape[1] == 3:
            yield _in_colour(values, weight, tag=f"{tag}_rgb", title=f"{title} in colour")


def _values(weight: Tensor) -> Values:
    values: Values = weight.detach().cpu().double().numpy()
    return values


def _groups(node: Node) -> int:
    assert isinstance(node.layer, Conv | ConvTranspose)
    return node.layer.groups


def _tiles(values: Values, page: Picture, scales: Sequence[Scale], groups: int) -> list[Tile]:
    """What the page shows: a tile for each kernel, or one for all where kernels are single numbers."""
    outputs, inputs = (list(dict.fromkeys(key[axis] for key in page.boxes)) for axis in (0, 1))
    if values.shape[2:] == (1, 1):
        matrix = values[np.ix_(outputs, inputs)][:, :, 0, 0]
        if len(set(scales)) == 1:
            return [Tile.of(matrix, scales[0], label=f"{len(outputs)} filters down, {len(inputs)} inputs across")]
        return [
            Tile.of(row[None], scales[output], label=f"filter {output}")
            for output, row in zip(outputs, matrix, strict=True)
        ]
    comma = "," if groups == 1 else ",+"  # the inputs of a filter's own group
    return [
        Tile.of(
            values[output, input_],
            scales[output],
            label=str(output) if values.shape[1] == 1 else f"{output}{comma}{input_}",
        )
        for output, input_ in page.boxes
    ]


def _in_colour(values: Values, weight: Tensor, *, tag: str, title: str) -> Exhibit:
    """Filters for red, green and blue, one tile each."""
    page, card = (rgb_kernel_picture(weight, title=title, sheet=sheet) for sheet in (PAGE, CARD))
    scale = Scale.symmetric(values)
    tiles = [
        Tile(label=str(output), values=values[output].mean(axis=0), scale=scale, pixels=pixels)
        for output, pixels in enumerate(rgb_tiles(values, scale))
    ]
    return Exhibit(tag=tag, title=title, pixels=page.pixels, card=card.pixels, tiles=tiles)
