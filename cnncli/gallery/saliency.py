"""Which pixels of an image speak for what the network says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.analysis.graph import graph_of
from cnncli.analysis.receptive_field import Fields, receptive_fields
from cnncli.data.images import ImageSet
from cnncli.errors import UsageError
from cnncli.gallery.exhibit import Exhibit, slug
from cnncli.interpret.methods import Method
from cnncli.interpret.saliency import (
    attribution,
    grad_cam,
    gradient,
    occlusion,
    placed,
    smooth_gradient,
    window_of,
)
from cnncli.pictures.saliency import Explained, SaliencyMap, saliency_card, saliency_picture
from cnncli.pictures.tile import Tile
from cnncli.spec.network import Node
from cnncli.spec.problems import did_you_mean
from cnncli.trained import Seen, TrainedRun

WITHOUT_NAMES = 5
"""Images where none is named: the first test image of each of so many classes."""
SEED = 0
"""Of SmoothGrad's noise."""


def saliency(
    run: TrainedRun,
    images: Sequence[str] = (),
    *,
    method: Method = Method.ALL,
    target: str | None = None,
    layer: str | None = None,
) -> Iterator[Exhibit]:
    """A picture for each image; without names, one for the first test images of a few classes.

    Args:
        run: whose network it is.
        images: numbers of test images, or paths of picture files.
        method: which one, or all.
        target: the class whose logit is explained, by name or number; the predicted one if None.
        layer: for Grad-CAM; the last one with maps if None.

    Raises:
        UsageError: there is no such image, class or layer, or Grad-CAM was asked for where it says nothing.
    """
    wanted = None if target is None else _class_of(run, target)
    if layer is not None or method is Method.GRADCAM:
        _cam_layer(run, layer)
    single = "" if method is Method.ALL else f"-{method}"
    aim = "" if wanted is None else f"-as-{slug(run.classes[wanted])}"
    if not images:
        explained = [_explain(run, seen, method, wanted, layer) for seen in _a_few(run)]
        title = f"which pixels speak for it ({len(explained)} test images)"
        yield _exhibit(f"saliency/overview{aim}{single}", title, explained)
    for image in images:
        explained = [_explain(run, run.seen(image), method, wanted, layer)]
        yield _exhibit(f"saliency/{slug(explained[0].seen.slug)}{aim}{single}", "which pixels speak for it", explained)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Explanation:
    """An image with what every method says of it."""

    seen: Seen
    shown: Explained
    numbers: dict[str, float]


def _exhibit(tag: str, title: str, explained: Sequence[_Explanation]) -> Exhibit:
    return Exhibit(
        tag=tag,
        title=title,
        pixels=saliency_picture([each.shown for each in explained], title=title).pixels,
        card=saliency_card([each.shown for each in explained]),
        tiles=[tile for each in explained for tile in _tiles(each.shown)],
        numbers=explained[0].numbers if len(explained) == 1 else {},
        lines=[
            f"{each.shown.heading}: {line}" for each in explained for line in (*each.shown.lines, *_notes(each.shown))
        ],
    )


def _notes(shown: Explained) -> list[str]:
    """What stands below the maps."""
    return [f"{each.name}: {each.extent}, {each.note}" for each in shown.maps if each.note]


def _tiles(shown: Explained) -> Iterator[Tile]:
    yield Tile.image(shown.image, label=shown.heading)
    for each in shown.maps:
        yield Tile.of(each.values, each.scale, label=f"{each.name}, {each.extent}")


def _a_few(run: TrainedRun) -> list[Seen]:
    """The first test image of each of the first classes."""
    numbers: list[int] = []
    for label in range(len(run.classes)):
        found = (run.test.labels == label).nonzero().flatten()
        if len(found) and len(numbers) < WITHOUT_NAMES:
            numbers.append(int(found[0]))
    return [run.seen(str(number)) for number in numbers]


def _class_of(run: TrainedRun, target: str) -> int:
    """The position of a class, by its name, or by that position.

    Raises:
        UsageError: there is none.
    """
    if target in run.classes:
        return run.classes.index(target)
    if target.isdecimal() and int(target) < len(run.classes):
        return int(target)
    raise UsageError(
        f"--target: there is no class {target}{did_you_mean(target, run.classes)}",
        remedy=f"the classes are {', '.join(run.classes)}",
    )


def _cam_layer(run: TrainedRun, name: str | None) -> Node:
    """The layer that Grad-CAM looks at: the one of that name, else the last with maps.

    Raises:
        UsageError: its maps are 1x1 or it has none: there is no place in them.
    """
    with_maps = [node for node in run.network.nodes if len(node.shape) == 3]
    able = [node.name for node in with_maps if max(node.shape[1:]) > 1]
    remedy = f"--layer {able[-1]} has maps of more" if able else "no layer of this network has maps of more"
    if name is None and not with_maps:
        raise UsageError("Grad-CAM needs maps, and no layer has any", remedy="use --method gradient or another one")
    node = with_maps[-1] if name is None else run.node(name)
    if len(node.shape) != 3:
        raise UsageError(f"Grad-CAM needs maps, and {node.name} gives a row of numbers", remedy=remedy)
    if max(node.shape[1:]) == 1:
        raise UsageError(
            f"Grad-CAM says where in the maps of a layer, and those of {node.name} are 1x1: there is only one place",
            remedy=remedy,
        )
    return node


def _explain(run: TrainedRun, seen: Seen, method: Method, wanted: int | None, layer: str | None) -> _Explanation:
    with torch.no_grad():
        logits = run.model(seen.image[None])[0].double()  # (classes,)
    probabilities = logits.softmax(0)
    predicted = int(logits.argmax())
    target = predicted if wanted is None else wanted
    methods = [each for each in Method if each is not Method.ALL] if method is Method.ALL else [method]
    maps, refusals = [], []
    for each in methods:
        try:
            maps.append(_map(run, seen.image, each, target, layer))
        except UsageError as refused:  # only one method of all: the others have something to say
            refusals.append(f"Without {each}: {refused.message}")
    lines = [
        f"predicted {run.classes[predicted]}, {probabilities[predicted]:.1%}",
        f"target {run.classes[target]}: logit {logits[target]:.3g}, probability {probabilities[target]:.1%}",
        *refusals,
    ]
    return _Explanation(
        seen=seen,
        shown=Explained(heading=seen.name, lines=lines, image=seen.picture, maps=maps),
        numbers={"logit": float(logits[target]), "probability": float(probabilities[target])},
    )


def _map(run: TrainedRun, image: Tensor, method: Method, target: int, layer: str | None) -> SaliencyMap:
    """What a method says of an image (C, H, W), as the network gets it."""
    model = run.model
    match method:
        case Method.GRADIENT:
            return _signed("gradient", gradient(model, image[None], target)[0])
        case Method.SMOOTHGRAD:
            return _signed("SmoothGrad", smooth_gradient(model, image, target, seed=SEED))
        case Method.INTEGRATED:
            found = attribution(model, image, target, baseline=_black(run))
            return _signed("integrated gradients", found.parts, f"sum off by {100 * found.error:.2f} %")
        case Method.GRADCAM:
            node = _cam_layer(run, layer)
            cam = grad_cam(model, image, target, layer=node.name)
            fields = receptive_fields(graph_of(run.network, ""))[node.name]
            assert isinstance(fields, Fields), "every layer of a config is known"
            over_image = placed(cam, fields.axes, image.shape[1:])
            note = f"{node.name}, {node.shape[1]}x{node.shape[2]}"
            return SaliencyMap(name="Grad-CAM", values=over_image.double().cpu().numpy(), signed=False, note=note)
        case Method.OCCLUSION:
            size, stride = window_of(image.shape[1:])
            falls = occlusion(model, image, target, fill=_black(run), size=size, stride=stride)
            return _signed("occlusion", falls[None], f"{size[0]}x{size[1]} black, step {stride[0]}")
    raise AssertionError(method)


def _signed(name: str, values: Tensor, note: str = "") -> SaliencyMap:
    """A map of numbers with a sign, (C, H, W): the sum over the channels."""
    return SaliencyMap(name=name, values=values.sum(0).double().cpu().numpy(), signed=True, note=note)


def _black(run: TrainedRun) -> Tensor:
    """A black image as the network gets it: (C, H, W)."""
    pixels = torch.zeros(1, *run.network.input_shape, dtype=torch.uint8, device=run.device)
    images, _ = next(run.batches(ImageSet(images=pixels, labels=pixels.new_zeros(1, dtype=torch.int64))).epoch(1))
    return images[0]
