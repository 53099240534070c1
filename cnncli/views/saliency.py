"""Which pixels of an image speak for what the network says."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from cnncli.config.network import Node
from cnncli.drawing.color import Pixels, Scale, Values
from cnncli.drawing.grid import Picture
from cnncli.drawing.image import Tile, enlargement, image_pixels, thinning
from cnncli.drawing.sheet import Cell, Panel, Section, card, sheet
from cnncli.errors import UsageError, did_you_mean
from cnncli.module import CnnModule
from cnncli.run import InputImage, Run
from cnncli.tensorboard.event_file import slug
from cnncli.views.view import Exhibit, chosen_images, with_positions
from cnncli.windows import AxisReceptiveField

_log = logging.getLogger(__name__)


class Method(StrEnum):
    """A way, by its word on the command line."""

    GRADIENT = "gradient"
    SMOOTHGRAD = "smoothgrad"
    INTEGRATED = "integrated"
    GRADCAM = "gradcam"
    OCCLUSION = "occlusion"
    ALL = "all"


SAMPLES, NOISE = 50, 0.15
"""SmoothGrad: noisy copies, and the standard deviation of the noise as a share of the image's range (section 3.2)."""
STEPS, MOST_STEPS, TOLERANCE = 64, 1024, 0.002
"""Integrated gradients: points on the way from the baseline, doubled up to the second number until the sum is right to
within the third. Where a ReLU or a max pool switches on the way, the gradient jumps."""
BATCH = 64
"""Images that are run at once."""


def gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """How fast the logit of a class rises with each number of each image (N, C, H, W): the same shape.

    After Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2014), who show its magnitude.
    """
    inputs = images.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(inputs)[:, target].sum(), inputs)
    return slope


def smooth_gradient(
    model: nn.Module, image: Tensor, target: int, *, seed: int, samples: int = SAMPLES, noise: float = NOISE
) -> Tensor:
    """The mean gradient over copies of an image with Gaussian noise: (C, H, W).

    After Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise" (2017).

    Args:
        model: gives logits, in evaluation mode.
        image: (C, H, W).
        target: the class.
        seed: of the noise.
        samples: copies.
        noise: standard deviation as a share of the image's range, from its smallest to its largest number.
    """
    deviation = noise * float(image.max() - image.min())
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(samples, *image.shape, generator=generator).to(image.device)
    return _mean_gradient(model, image + deviation * normal, target)


def integrated_gradients(model: nn.Module, image: Tensor, target: int, *, baseline: Tensor, steps: int) -> Tensor:
    """What each number of an image (C, H, W) adds to the logit, compared with a baseline of its shape: (C, H, W).

    After Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (ICML 2017): the gradient, averaged on
    the straight way from the baseline to the image, times their difference. The sum of all is the difference of the two
    logits, but for the error of the `steps` points, which lie in the middles of equal parts of the way.
    """
    way = (torch.arange(steps, device=image.device) + 0.5) / steps
    points = baseline + way.view(-1, 1, 1, 1) * (image - baseline)  # (steps, C, H, W)
    return (image - baseline) * _mean_gradient(model, points, target)


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """Integrated gradients, and how complete they are.

    Attributes:
        parts: (C, H, W).
        error: how far their sum is from the difference of the logits, as a share of that difference.
        steps: points that were looked at.
    """

    parts: Tensor
    error: float
    steps: int


def attribution(model: nn.Module, image: Tensor, target: int, *, baseline: Tensor) -> Attribution:
    """Integrated gradients with as many steps as their sum needs; arguments as for `integrated_gradients`."""
    with torch.no_grad():
        there, before = model(torch.stack([image, baseline]))[:, target].double().tolist()
    steps = STEPS
    while True:
        parts = integrated_gradients(model, image, target, baseline=baseline, steps=steps)
        off = abs(float(parts.double().sum()) - (there - before))
        error = off / abs(there - before) if there != before else 0.0
        if error <= TOLERANCE or steps >= MOST_STEPS:
            return Attribution(parts=parts, error=error, steps=steps)
        steps *= 2


def _mean_gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The gradient, averaged over images (N, C, H, W): (C, H, W)."""
    total = torch.zeros_like(images[0])
    for start in range(0, len(images), BATCH):
        total += gradient(model, images[start : start + BATCH], target).sum(0)
    return total / len(images)


def grad_cam(model: CnnModule, image: Tensor, target: int, *, layer: str) -> Tensor:
    """Where the maps of a layer speak for a class: (h, w), from 0 up.

    After Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV
    2017): the sum of the maps (K, h, w), each times the mean of the logit's gradient over its positions; negative sums
    count as 0.

    Args:
        model: in evaluation mode.
        image: (C, H, W).
        target: the class.
        layer: name of a layer with maps.
    """
    logits = model.network.nodes[-1].name
    values = model.outputs(image.detach()[None].requires_grad_(), [layer, logits])
    (slope,) = torch.autograd.grad(values[logits][0, target], values[layer])  # (1, K, h, w)
    weights = slope[0].mean((1, 2))  # (K,)
    return torch.einsum("k,khw->hw", weights, values[layer][0]).detach().relu()


def occlusion(
    model: nn.Module, image: Tensor, target: int, *, fill: Tensor, size: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """How far the logit falls when a window around a pixel is covered: (H, W), the mean over the windows that cover it.

    After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014).

    Args:
        model: gives logits, in evaluation mode.
        image: (C, H, W).
        target: the class.
        fill: what covers it, (C, H, W) or of a shape that becomes that.
        size: of the window.
        stride: from one window to the next; the last one stands at the border.
    """
    height, width = image.shape[1:]
    corners = [(y, x) for y in _starts(height, size[0], stride[0]) for x in _starts(width, size[1], stride[1])]
    covers = torch.zeros(len(corners), height, width, dtype=torch.bool, device=image.device)
    for cover, (y, x) in zip(covers, corners, strict=True):
        cover[y : y + size[0], x : x + size[1]] = True
    with torch.no_grad():
        whole = model(image[None])[0, target]
        falls = [
            whole - model(torch.where(some[:, None], fill, image))[:, target] for some in torch.split(covers, BATCH)
        ]
    return torch.einsum("n,nhw->hw", torch.cat(falls), covers.float()) / covers.sum(0)


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows begin along an axis, so that every pixel is in one."""
    assert stride <= size <= length, (stride, size, length)
    return sorted({*range(0, length - size + 1, stride), length - size})


def window_of(size: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A window for images of `size`, and its stride: a seventh of a side, and half of that (4 and 2 for 28)."""
    height, width = (max(1, round(side / 7)) for side in size)
    return (height, width), (max(1, height // 2), max(1, width // 2))


def placed(cam: Tensor, fields: Sequence[AxisReceptiveField], size: Sequence[int]) -> Tensor:
    """A map (h, w) laid over an image of `size`: each value at the middle of what its unit sees.

    Between the middles it is interpolated linearly; beyond the outermost ones it stays the same. Where all units see
    the same, they are spread evenly over the image, as in the paper.
    """
    rows, columns = (
        torch.from_numpy(_weights(_middles(field, side), side)).to(cam)
        for field, side in zip(fields, size, strict=True)
    )
    return rows @ cam @ columns.T


def _middles(field: AxisReceptiveField, pixels: int) -> list[float]:
    """The middle of what each unit of an axis sees, padding included where it is counted, in pixels."""
    count = len(field.masks)
    spans = [
        field.interval(unit)
        if field.closed_form is None
        else (field.closed_form.pattern(unit).start, field.closed_form.pattern(unit).end)
        for unit in range(count)
    ]
    middles = [(span[0] + span[1]) / 2 for span in spans if span is not None]
    if len(middles) < count or any(a >= b for a, b in pairwise(middles)):
        return [(unit + 0.5) * pixels / count - 0.5 for unit in range(count)]
    return middles


def _weights(middles: Sequence[float], pixels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How much each unit of an axis weighs at each pixel: (pixels, units), every row sums to 1."""
    units = np.eye(len(middles))
    return np.stack([np.interp(np.arange(pixels), middles, unit) for unit in units], axis=1)


TILE = 140
"""Pixels for the longer side of an image: it stands in one row with five maps. Larger ones are thinned out."""
IN_CARD = 64
"""The same in a TensorBoard card."""
SIGNED = "Red speaks for the class, blue against it, white is 0; each map has its own scale, printed below it."
UNSIGNED = "Grad-CAM: dark is 0, bright its largest value."


@dataclass(frozen=True, eq=False, kw_only=True)
class SaliencyMap:
    """What one method says.

    Attributes:
        name: of the method.
        values: (H, W).
        signed: whether values below 0 mean something; else they start at 0.
        note: a few words below it.
    """

    name: str
    values: Values
    signed: bool
    note: str = ""

    @property
    def scale(self) -> Scale:
        """Its own: the units of methods differ."""
        return Scale.symmetric(self.values) if self.signed else Scale.from_zero(self.values)

    @property
    def extent(self) -> str:
        """The scale as a text."""
        high = f"{self.scale.high:.3g}"
        return f"±{high}" if self.signed else f"0 to {high}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """An image, (C, H, W), uint8, with its maps, and lines about what the network makes of it."""

    heading: str
    lines: Sequence[str]
    image: Tensor
    maps: Sequence[SaliencyMap]


def saliency_picture(explained: Sequence[Explained], *, title: str, captions: Sequence[str] = ()) -> Picture:
    """A row for each image: the image, then its maps.

    Returns:
        A picture with a box for each (image, 0, 0), the image itself, and for each map (image, 1 + map, 0).
    """
    signs = {shown.signed for each in explained for shown in each.maps}
    legends = [text for signed, text in ((True, SIGNED), (False, UNSIGNED)) if signed in signs]
    sections = [
        Section(
            heading=each.heading, lines=each.lines, cells=_cells(each, TILE, lambda shown: (shown.extent, shown.note))
        )
        for each in explained
    ]
    return sheet(sections, title=title, captions=[*captions, *legends])


def saliency_card(explained: Sequence[Explained]) -> Pixels:
    """The maps of as many images as a TensorBoard card has room for, with less text: uint8 (H, W, 3)."""

    def first(count: int) -> list[Section]:
        return [
            Section(lines=each.lines[:1] if number else (), cells=_cells(each, IN_CARD, lambda shown: (shown.extent,)))
            for number, each in enumerate(explained[:count])
        ]

    return card(first, len(explained), title=", ".join((explained[0].heading, *explained[0].lines[:1])))


def _cells(explained: Explained, tile: int, below: Callable[[SaliencyMap], Sequence[str]]) -> list[Cell]:
    """The image and its maps, with the longer side as near to `tile` pixels as a whole factor allows."""
    size = explained.image.shape[1:]
    step = thinning(size, tile)
    scale = enlargement([-(-side // step) for side in size], tile)
    image = Panel(pixels=image_pixels(explained.image)[::step, ::step], scale=scale)
    return [
        Cell(panels=[image], above="input"),
        *(
            Cell(
                panels=[Panel(pixels=each.scale.colors(each.values)[::step, ::step], scale=scale)],
                above=each.name,
                below=below(each),
            )
            for each in explained.maps
        ),
    ]


WITHOUT_NAMES = 5
"""Images where none is named: the first test image of each of so many classes."""
SEED = 0
"""Of SmoothGrad's noise."""


def saliency(
    run: Run,
    images: Sequence[str] = (),
    *,
    method: Method = Method.ALL,
    target: str | None = None,
    layer: str | None = None,
    invert: bool = False,
) -> Iterator[Exhibit]:
    """A picture for each image; without names, one for the first test images of a few classes.

    Args:
        run: whose network it is.
        images: numbers of test images, or paths of picture files.
        method: which one, or all.
        target: the class whose logit is explained, by name or number; the predicted one if None.
        layer: for Grad-CAM; the last one with maps if None.
        invert: of the picture files, what is black is white and the other way round.

    Raises:
        UsageError: there is no such image, class or layer, or Grad-CAM was asked for where it says nothing.
    """
    wanted = None if target is None else _class_of(run, target)
    methods, remarks = _methods(run, method, layer)
    for remark in remarks:
        _log.info(remark)
    single = "" if method is Method.ALL else f"-{method}"
    aim = "" if wanted is None else f"-as-{slug(run.classes[wanted])}"
    title = "which pixels speak for it"
    if not images and not invert:
        explained = [_explain(run, seen, methods, wanted, layer) for seen in _a_few(run)]
        heading = f"{title} ({len(explained)} test images)"
        yield _exhibit(f"saliency/overview{aim}{single}", heading, explained, remarks)
        return
    for seen in chosen_images(run, images, invert=invert):
        explained = [_explain(run, seen, methods, wanted, layer)]
        yield _exhibit(f"saliency/{slug(seen.slug)}{aim}{single}", title, explained, remarks)


def _methods(run: Run, method: Method, layer: str | None) -> tuple[list[Method], list[str]]:
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


def _a_few(run: Run) -> list[InputImage]:
    """The first test image of each of the first classes."""
    numbers: list[int] = []
    for label in range(len(run.classes)):
        found = (run.test.labels == label).nonzero().flatten()
        if len(found) and len(numbers) < WITHOUT_NAMES:
            numbers.append(int(found[0]))
    return [run.input_image(str(number)) for number in numbers]


def _class_of(run: Run, target: str) -> int:
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


def _cam_layer(run: Run, name: str | None) -> Node:
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
    run: Run, seen: InputImage, methods: Sequence[Method], wanted: int | None, layer: str | None
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


def _map(run: Run, image: Tensor, method: Method, target: int, layer: str | None) -> SaliencyMap:
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
            over_image = placed(cam, run.receptive_fields(node).axes, image.shape[1:])
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
