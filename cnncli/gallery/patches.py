"""The patches of test images that excite each filter of a layer most."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cnncli.errors import UsageError
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.layers import chosen_layers
from cnncli.interpret.patches import Excitation, Excited, cut, images_at_once, most_exciting
from cnncli.pictures.feature_maps import CONVOLUTIONS
from cnncli.pictures.patches import Cutting, Strip, patch_pixels, patches_card, patches_picture
from cnncli.pictures.tile import Tile
from cnncli.spec.layers import Logits
from cnncli.spec.layers.base import Layer
from cnncli.spec.network import Node
from cnncli.trained import TrainedRun

COUNT = 9
"""Patches of a filter, unless asked otherwise: as many as Zeiler and Fergus show."""
MOST_FILTERS = 16
"""In one picture, unless they are named."""
BEYOND = 6
"""Rows or columns of padding that are drawn on each side, at most."""


def patches(
    run: TrainedRun,
    *,
    layers: Sequence[str] = (),
    filters: Sequence[int] = (),
    count: int = COUNT,
    per_image: int = 1,
) -> Iterator[Exhibit]:
    """A picture for each convolution, or for each of `layers`, whatever their kind.

    Args:
        run: whose filters they are.
        layers: names; without any, all convolutions, or the last layer where there are none.
        filters: numbers; without any, the first `MOST_FILTERS`.
        count: patches for each filter.
        per_image: how many of them may come from one image.

    Raises:
        UsageError: a layer has no such name, or no such filter.
    """
    nodes = layers_with_filters(run, layers)
    chosen = {node.name: filters_of(node, filters, MOST_FILTERS) for node in nodes}
    batches = run.batches(batch_size=images_at_once(run.network))
    found = most_exciting(
        run.model, list(chosen), (images for images, _ in batches.epoch(1)), count=count, per_image=per_image
    )
    for node in nodes:
        yield _exhibit(run, node, [found[node.name][i] for i in chosen[node.name]], found[node.name])


def layers_with_filters(run: TrainedRun, names: Sequence[str]) -> tuple[Node, ...]:
    """The layers called `names`; without names the convolutions, or the last layer where there are none.

    Raises:
        UsageError: there is no layer of such a name.
    """
    kinds: tuple[type[Layer], ...] = (Layer,)
    if not names:
        convolutions = any(isinstance(node.layer, CONVOLUTIONS) for node in run.network.nodes)
        names, kinds = ((), CONVOLUTIONS) if convolutions else ((run.network.nodes[-1].name,), kinds)
    return chosen_layers(run, names, kinds, "has filters")


def filters_of(node: Node, numbers: Sequence[int], most: int) -> list[int]:
    """The filters of a layer that are shown: those asked for, else the first `most`; the classes of logits all.

    Raises:
        UsageError: the layer has no such filter.
    """
    there = node.shape[0]
    for number in numbers:
        if number >= there:
            raise UsageError(f"--filter {number}: {node.name} has filters 0 to {there - 1}")
    return list(numbers) or list(range(min(there, most)))


def filter_name(run: TrainedRun, node: Node, number: int) -> str:
    """What a filter is called: `filter 3`, of logits `class 3`, else of a layer without positions `number 3`."""
    if isinstance(node.layer, Logits):
        name = run.classes[number]
        return f"class {name}" if name == str(number) else f"class {number}, {name}"
    return f"filter {number}" if len(node.shape) == 3 else f"number {number}"


def _exhibit(run: TrainedRun, node: Node, shown: Sequence[Excited], every: Sequence[Excited]) -> Exhibit:
    strips, tiles = [], []
    for excited in shown:
        name = filter_name(run, node, excited.filter)
        cuttings = [] if excited.constant else [cutting(run, node, each) for each in excited.best]
        strips.append(Strip(heading=_heading(name, excited), lines=_remarks(run, excited), cuttings=cuttings))
        tiles += [patch_tile(each, f"{name}: {', '.join(each.lines)}") for each in cuttings]
    dead = sum(excited.lowest == excited.highest == 0 for excited in every)
    counts = _counts(node, dead, len(shown))
    field = _field(run, node, [each for strip in strips for each in strip.cuttings])
    title = f"{node.name}: what excites its {'classes' if isinstance(node.layer, Logits) else 'filters'} most"
    legend = "Below each: its image, the class and the activation, the number of the test image"
    legend += " at the row and column of the unit." if len(node.shape) == 3 else "."
    return Exhibit(
        tag=f"patches/{run.network.numbered()[node.name]}",
        title=title,
        pixels=patches_picture(strips, title=title, captions=[*field, legend, *counts]).pixels,
        card=patches_card(strips, title=title),
        tiles=tiles,
        numbers={"dead_filters": dead},
        lines=[" ".join([*field, *counts])],
    )


def cutting(run: TrainedRun, node: Node, excitation: Excitation) -> Cutting:
    """What a unit sees of a test image, ready to be drawn."""
    source = run.test.images[excitation.image].cpu()
    patch = cut(run.inspection, node.name, excitation.place, source, beyond=BEYOND)
    label = run.classes[int(run.test.labels[excitation.image])]
    place = f" at {','.join(map(str, excitation.place))}" if excitation.place else ""
    lines = [f"{label}, {excitation.value:.4g}", f"#{excitation.image}{place}"]
    return Cutting(
        pixels=patch.pixels,
        padding=patch.padding,
        unread=patch.unread,
        source=source,
        marked=None if patch.field.clipped is None else (patch.field.clipped[0], patch.field.clipped[1]),
        lines=lines,
    )


def patch_tile(cutting: Cutting, label: str) -> Tile:
    """A patch for a terminal; padding is NaN among the values."""
    tile = Tile.image(cutting.pixels, label=label)
    return replace(tile, pixels=patch_pixels(cutting), values=np.where(cutting.padding.numpy(), np.nan, tile.values))


def _heading(name: str, excited: Excited) -> str:
    if excited.constant:
        value = "0" if excited.highest == 0 else f"always {excited.highest:.4g}"
        return f"{name}: {value} everywhere, on every test image" + (": dead" if excited.highest == 0 else "")
    return f"{name}: from {excited.lowest:.4g} to {excited.highest:.4g}"


def _remarks(run: TrainedRun, excited: Excited) -> list[str]:
    values = [each.value for each in excited.best]
    if not excited.constant and len(values) > 1 and values[0] == values[-1]:
        return [f"the first {len(values)} of the images that give its largest value"]
    return []


def _counts(node: Node, dead: int, shown: int) -> list[str]:
    """How many filters are dead, and how many are left out."""
    counts = [f"{dead} of {node.shape[0]} filters are dead: always 0."] if dead else []
    return counts + left_out(node, shown)


def left_out(node: Node, shown: int) -> list[str]:
    """The sentence that says how to see the other filters, if there are any."""
    return [f"{shown} of {node.shape[0]} filters; --filter shows others."] if shown < node.shape[0] else []


def _field(run: TrainedRun, node: Node, cuttings: Sequence[Cutting]) -> list[str]:
    """How large the fields are, and what violet means where there is any."""
    field = run.row(node).receptive_field
    assert field is not None, "every layer of a config is known"
    size = "x".join(map(str, field.size))
    captions = [f"Cut at the receptive field, {size} pixels{': the whole image' if field.everywhere else ''}."]
    if any(cutting.padding.any() for cutting in cuttings):
        drawn = {side for cutting in cuttings for side in cutting.padding.shape}
        cropped = max(field.size) > max(drawn)
        captions.append("Violet checks: padding" + (f", {BEYOND} of it on each side at most." if cropped else "."))
    if any(cutting.unread.any() for cutting in cuttings):
        captions.append("Tinted violet: pixels that the unit does not read.")
    return captions
