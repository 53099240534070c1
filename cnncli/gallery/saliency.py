"""Which pixels of an image speak for what the network says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.board.tags import slug
from cnncli.errors import UsageError
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.images import chosen_images
from cnncli.gallery.layers import with_positions
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
    invert: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Exhibit]:
    """A picture for each image; without names, one for the first test images of a few classes.

    Args:
        run: whose network it is.
        images: numbers of test images, or paths of picture files.
        method: which one, or all.
        target: the class whose logit is explained, by name or number; the predicted one if None.
        layer: for Grad-CAM; the last one with maps if None.
        invert: of the picture files, what is black is white and the other way round.
        notify: gets what was done to a picture file, and why a method of all says nothing.

    Raises:
        UsageError: there is no such image, class or layer, or Grad-CAM was asked for where it says nothing.
    """
    wanted = None if target is None else _class_of(run, target)
    methods, remarks = _methods(run, method, layer)
    for remark in remarks:
        notify(remark)
    single = "" if method is Method.ALL else f"-{method}"
    aim = "" if wanted is None else f"-as-{slug(run.classes[wanted])}"
    title = "which pixels speak for it"
    if not images and not invert:
        explained = [_explain(run, seen, methods, wanted, layer) for seen in _a_few(run)]
        heading = f"{title} ({len(explained)} test images)"
        yield _exhibit(f"saliency/overview{aim}{single}", heading, explained, remarks)
        return
    for seen in chosen_images(run, images, invert=invert, notify=notify):
        explained = [_explain(run, seen, methods, wanted, layer)]
        yield _exhibit(f"saliency/{slug(seen.slug)}{aim}{single}", title, explained, remarks)


def _methods(run: TrainedRun, method: Method, layer: str | None) -> tuple[list[Method], list[str]]:
    """One method or all of them, and why one of all is left out.

    Raises:
        UsageError: Grad-CAM was asked for, by its name or with a layer, and says nothing; or a layer for another one.
    """
    if layer is not None and method not in (Method.GRADCAM, Method.ALL):
        raise UsageError("--layer is for Grad-CAM", remedy=f"leave it out for --method {method}")
    if method is Method.GRADCAM or layer is not None:
        _cam_layer(run, layer)
    if method is not Method.ALL:
        return [method], []
    methods: list[Method] = [each for each in Method if each is not Method.ALL]
    try:
        _cam_layer(run, layer)
    except UsageError as refused:  # the others have something to say
        methods.remove(Method.GRADCAM)
        return methods, [f"without Grad-CAM: {refused.message}"]
    return methods, []


@dataclass(frozen=True, eq=False, kw_only=True)
class _Explanation:
    """An image with what every method says of it, and how sure the network is of the class that is explained."""

    shown: Explained
    numbers: dict[str, float]


def _exhibit(tag: str, title: str, explained: Sequence[_Explanation], remarks: Sequence[str]) -> Exhibit:
    return Exhibit(
        tag=tag,
        title=title,
        pixels=saliency_picture([each.shown for each in explained], title=title, captions=remarks).pixels,
        card=saliency_card([each.shown for each in explained]),
        tiles=[tile for each in explained for tile in _tiles(each.shown)],
        numbers=explained[0].numbers if len(explained) == 1 else {},
        lines=[f"{each.shown.heading}: {'; '.join(each.shown.lines)}" for each in explained],
    )


def _tiles(shown: Explained) -> Iterator[Tile]:
    yield Tile.image(shown.image, label=shown.heading)
    for each in shown.maps:
        yield Tile.of(each.values, each.scale, label=each.name)


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
    able = with_positions(run.network)
    remedy = f"--layer {able[-1].name} has maps of more" if able else "no layer of this network has maps of more"
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


def _explain(
    run: TrainedRun, seen: Seen, methods: Sequence[Method], wanted: int | None, layer: str | None
) -> _Explanation:
    with torch.no_grad():
        logits = run.model(seen.image[None])[0].double()  # (classes,)
    probabilities = logits.softmax(0)
    predicted = int(logits.argmax())
    target = predicted if wanted is None else wanted
    maps = [_map(run, seen.image, each, target, layer) for each in methods]
    parts = {"predicted": predicted} if target == predicted else {"predicted": predicted, "explained": target}
    lines = [
        f"{what} {run.classes[label]}, {probabilities[label]:.1%}, logit {logits[label]:.3g}"
        for what, label in parts.items()
    ]
    return _Explanation(
        shown=Explained(heading=seen.name, lines=lines, image=seen.picture, maps=maps),
        numbers={"logit": float(logits[target]), "probability": float(probabilities[target])},
    )


def _map(run: TrainedRun, image: Tensor, method: Method, target: int, layer: str | None) -> SaliencyMap:
    """What a method says of an image (C, H, W), as the network gets it."""
    model = run.model
    black = run.as_input(torch.zeros(run.network.input_shape, dtype=torch.uint8, device=run.device))
    match method:
        case Method.GRADIENT:
            return _signed("gradient", gradient(model, image[None], target)[0])
        case Method.SMOOTHGRAD:
            return _signed("SmoothGrad", smooth_gradient(model, image, target, seed=SEED))
        case Method.INTEGRATED:
            found = attribution(model, image, target, baseline=black)
            return _signed("integrated gradients", found.parts, f"sum off by {100 * found.error:.2f} %")
        case Method.GRADCAM:
            node = _cam_layer(run, layer)
            cam = grad_cam(model, image, target, layer=node.name)
            over_image = placed(cam, run.fields(node).axes, image.shape[1:])
            note = f"{node.name}, {node.shape[1]}x{node.shape[2]}"
            return SaliencyMap(name="Grad-CAM", values=over_image.double().cpu().numpy(), signed=False, note=note)
        case Method.OCCLUSION:
            size, stride = window_of(image.shape[1:])
            falls = occlusion(model, image, target, fill=black, size=size, stride=stride)
            return _signed("occlusion", falls[None], f"{size[0]}x{size[1]} black, step {stride[0]}")
    raise AssertionError(method)


def _signed(name: str, values: Tensor, note: str = "") -> SaliencyMap:
    """A map of numbers with a sign, (C, H, W): the sum over the channels."""
    return SaliencyMap(name=name, values=values.sum(0).double().cpu().numpy(), signed=True, note=note)
