"""What the layers of a run make of an image: its feature maps, beside the image."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from cnncli.analysis.rows import Row
from cnncli.board.tags import slug
from cnncli.errors import UsageError
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.images import chosen_images
from cnncli.gallery.layers import chosen_layers
from cnncli.pictures.feature_maps import MAPPED, as_maps, feature_map_picture, scale_of_maps
from cnncli.pictures.layout import CARD, PAGE
from cnncli.pictures.tile import Tile
from cnncli.spec.layers import Conv, ConvTranspose, Linear
from cnncli.spec.network import Node
from cnncli.trained import Seen, TrainedRun

DEFAULT_IMAGES = ("0",)
"""The first test image."""


def features(
    run: TrainedRun,
    images: Sequence[str] = DEFAULT_IMAGES,
    *,
    layers: Sequence[str] = (),
    invert: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Exhibit]:
    """A picture for each image and each convolution and pool, or each of `layers`, which may be any that give maps.

    Args:
        run: whose feature maps they are.
        images: numbers of test images, and paths of picture files.
        layers: names of layers.
        invert: of the picture files, what is black is white and the other way round.
        notify: gets what was done to a picture file.

    Raises:
        UsageError: an image or a layer is not there, or a layer gives no maps.
    """
    nodes = _nodes(run, layers)
    for seen in chosen_images(run, images, invert=invert, notify=notify):
        names = {node.name for node in (*nodes, run.network.nodes[-1])}
        with torch.inference_mode():
            outputs = run.model.outputs(seen.image[None], names)  # name -> (1, C, H, W) or (1, F)
        said = _said(run, seen, outputs[run.network.nodes[-1].name][0])
        for node in nodes:
            yield _exhibit(run, node, run.row(node), seen, as_maps(outputs[node.name][0]), said)


def _nodes(run: TrainedRun, layers: Sequence[str]) -> tuple[Node, ...]:
    """The layers that are shown: those with a picture of their own in the training, or whatever was asked for."""
    if not layers:
        return chosen_layers(run, (), MAPPED, "has feature maps")
    for name in layers:
        node = run.node(name)
        if len(node.shape) != 3 and not isinstance(node.layer, MAPPED):
            able = [each.name for each in run.network.nodes if len(each.shape) == 3 or isinstance(each.layer, MAPPED)]
            raise UsageError(
                f"--layer {name}: it gives {node.shape[0]} numbers and no maps", remedy=f"one of {', '.join(able)}"
            )
    return tuple(map(run.node, dict.fromkeys(layers)))


def _said(run: TrainedRun, seen: Seen, logits: Tensor) -> str:
    """What the image is, and what the network takes it for, with the share of softmax as its confidence."""
    confidence, predicted = logits.double().softmax(dim=0).max(dim=0)
    said = f"predicted {run.classes[int(predicted)]} ({confidence.item():.1%})"
    if not logits.isfinite().all():
        said = "predicted nothing: not all logits are finite"
    return said if seen.label is None else f"true {run.classes[seen.label]}, {said}"


def _exhibit(run: TrainedRun, node: Node, row: Row, seen: Seen, maps: Tensor, said: str) -> Exhibit:
    """Maps (C, H, W) of one layer."""
    page, card = (
        feature_map_picture(
            maps, image=seen.picture, title=f"{node.name}{_stages(node)}", captions=[said, sight(row)], sheet=sheet
        )
        for sheet in (PAGE, CARD)
    )
    values = maps.detach().cpu().double().numpy()
    scale = scale_of_maps(values)
    tiles = [Tile.of(values[channel], scale, label=str(channel)) for (channel,) in page.boxes]
    return Exhibit(
        tag=f"features/{run.network.numbered()[node.name]}/{slug(seen.slug)}",
        title=f"feature maps of {node.name} for {seen.name}, {said}",
        pixels=page.pixels,
        card=card.pixels,
        tiles=[Tile.image(seen.picture, label="input"), *tiles],
    )


def _stages(node: Node) -> str:
    """What of a layer comes before its maps: they are what it passes on."""
    if not isinstance(node.layer, Conv | ConvTranspose | Linear):
        return ""
    stages = [each.word() for each in (node.layer.norm, node.layer.activation) if each is not None]
    return f" after {' and '.join(stages)}" if stages else ""


def sight(row: Row) -> str:
    """What a unit of a layer sees of the input, in a few words."""
    field = row.receptive_field
    if field is None:
        return "what a unit sees is not known"
    if field.everywhere:
        return "each unit sees the whole input"
    size = "x".join(map(str, field.size))
    jump = "" if field.jump is None else f", jump {'x'.join(dict.fromkeys(f'{float(each):g}' for each in field.jump))}"
    return f"each unit sees {size} pixels{jump}"
