"""Which pixels of an image raise the logit of a class, by five methods.

Letters for shapes: N images, (C, H, W) image, K maps, (h, w) map.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from cnncli.drawing.color import Scale
from cnncli.drawing.image import Tile, image_pixels
from cnncli.drawing.sheet import Cell, Section, draw_card, draw_sections, fit_panels
from cnncli.drawing.text import Name, Words, joined
from cnncli.errors import UsageError, did_you_mean
from cnncli.options import FitOption, InvertOption, preparation_options
from cnncli.views.view import Images, Picture, View, nodes_with_positions, read_images

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.config.network import Node
    from cnncli.drawing.color import Color, Pixels, Values
    from cnncli.drawing.sheet import Drawing
    from cnncli.run import InputImage, Run

_log = logging.getLogger(__name__)

Method = Literal["gradient", "smoothgrad", "integrated", "gradcam", "occlusion"]
METHODS: tuple[Method, ...] = ("gradient", "smoothgrad", "integrated", "gradcam", "occlusion")

SEED = 0
"""Seed of SmoothGrad's noise."""
OVERVIEW_CLASSES = 5
"""Without IMAGE, the first test images of this many classes are shown."""
SUPPORTS: Color = (178, 24, 43)
OPPOSES: Color = (33, 102, 172)
"""Colors of maps over an image."""
PALEST, MOST_COVER = 120, 0.9
"""The gray of black under a map, and the share of the map's color at its largest value."""
TILE, CARD_TILE = 140, 64
"""Pixels for the longer side of an image, in a file and in a card: it stands in one row with five maps."""


@dataclass(frozen=True, kw_only=True)
class Saliency(View):
    """Which pixels of an image support a class: gradient, SmoothGrad, integrated gradients, Grad-CAM, occlusion.

    Without IMAGE, the first test images of five classes are shown.

    Examples:

      cnncli show saliency runs/lenet5-20260131-120000

      cnncli show saliency runs/lenet5-20260131-120000 3 mine.png --target 8

      cnncli show saliency runs/lenet5-20260131-120000 3 --method gradcam --layer conv2
    """

    name = "saliency"

    images: Images = ()
    method: Annotated[
        Literal["gradient", "smoothgrad", "integrated", "gradcam", "occlusion", "all"],
        typer.Option("--method", case_sensitive=False, help="Saliency method."),
    ] = "all"
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="CLASS", help="The class to explain, instead of the predicted one."),
    ] = None
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="Layer for Grad-CAM; default: the last one with maps.")
    ] = None
    invert: InvertOption = "auto"
    fit: FitOption = "auto"

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture for each image; without images, one for the first test images of a few classes."""
        from cnncli.tensorboard.event_file import slug

        target = None if self.target is None else _find_class(run, self.target)
        methods, remarks = self._methods(run)
        for remark in remarks:
            _log.info(remark)
        suffix = "" if target is None else f"-as-{slug(run.classes[target])}"
        suffix += "" if self.method == "all" else f"-{self.method}"
        title = "which pixels support the class"
        if not self.images and not preparation_options(invert=self.invert, fit=self.fit):
            images = (run.input_image(str(number)) for number in run.test.first_of_each_class(OVERVIEW_CLASSES))
            maps = [self._explain(run, image, methods, target) for image in images]
            yield _picture(f"saliency/overview{suffix}", f"{title} ({len(maps)} test images)", maps, remarks)
            return
        for image in read_images(run, self.images, invert=self.invert, fit=self.fit):
            maps = [self._explain(run, image, methods, target)]
            yield _picture(f"saliency/{slug(image.slug)}{suffix}", title, maps, remarks)

    def _methods(self, run: Run) -> tuple[Sequence[Method], list[str]]:
        """The methods, and why Grad-CAM is not among all of them.

        Raises:
            UsageError: Grad-CAM, asked for by name or with a layer, is not possible; or a layer is given without it.
        """
        if self.layer is not None and self.method not in ("gradcam", "all"):
            raise UsageError("--layer is for Grad-CAM", remedy=f"omit it for --method {self.method}")
        if self.method == "gradcam" or self.layer is not None:
            _cam_layer(run, self.layer)
        if self.method != "all":
            return [self.method], []
        try:
            _cam_layer(run, self.layer)
        except UsageError as error:
            return [method for method in METHODS if method != "gradcam"], [f"without Grad-CAM: {error.message}"]
        return METHODS, []

    def _explain(self, run: Run, image: InputImage, methods: Sequence[Method], target: int | None) -> ImageMaps:
        import torch

        with torch.no_grad():
            logits = run.model(image.image[None])[0].double()  # (classes,)
        probabilities = logits.softmax(0)
        predicted = int(logits.argmax())
        target = predicted if target is None else target
        roles = {"predicted": predicted} if target == predicted else {"predicted": predicted, "explained": target}
        return ImageMaps(
            heading=image.name,
            lines=[
                [f"{role} ", Name(run.classes[label]), f", {probabilities[label]:.1%}, logit {logits[label]:.3g}"]
                for role, label in roles.items()
            ],
            image=image.picture,
            maps=[_map(run, image.image, method, target, self.layer) for method in methods],
            numbers={"logit": float(logits[target]), "probability": float(probabilities[target])},
            data={
                "image": image.argument,
                "true": None if image.label is None else run.classes[image.label],
                "predicted": run.classes[predicted],
                "probability": float(probabilities[predicted]),
                "explained": run.classes[target],
            },
        )


def explain(run: Run, number: int) -> ImageMaps:
    """The maps of all methods for a test image and its predicted class.

    Raises:
        UsageError: there is no such test image.
    """
    view = Saliency()
    methods, _ = view._methods(run)
    return view._explain(run, run.input_image(str(number)), methods, None)


def _find_class(run: Run, target: str) -> int:
    """The position of a class, by its name or by that position.

    Raises:
        UsageError: there is none.
    """
    if target in run.classes:
        return run.classes.index(target)
    if target.isdecimal() and int(target) < len(run.classes):
        return int(target)
    raise UsageError(f"--target: there is no class {target}{did_you_mean(target, run.classes)}")


def _cam_layer(run: Run, name: str | None) -> Node:
    """The named layer for Grad-CAM; by default, the last one with feature maps.

    Raises:
        UsageError: it has no maps, or maps of 1x1, in which there is only one position.
    """
    with_maps = [node for node in run.network.nodes if len(node.shape) == 3]
    able = nodes_with_positions(run.network)
    remedy = f"use --layer {able[-1].name}: its maps are larger" if able else "no layer of this network has larger maps"
    if name is None and not with_maps:
        raise UsageError(
            "Grad-CAM needs feature maps, but no layer has any", remedy="use another --method, such as gradient"
        )
    node = with_maps[-1] if name is None else run.node(name)
    if len(node.shape) != 3:
        raise UsageError(f"Grad-CAM needs feature maps, but the output of {node.name} is a vector", remedy=remedy)
    if max(node.shape[1:]) == 1:
        raise UsageError(f"Grad-CAM needs maps with several positions, but those of {node.name} are 1x1", remedy=remedy)
    return node


def _map(run: Run, image: Tensor, method: Method, target: int, layer: str | None) -> SaliencyMap:
    """The map of a method for an image (C, H, W), as the network gets it."""
    import torch

    from cnncli.views import attribution

    model = run.model
    black = run.as_input(torch.zeros(run.network.input_shape, dtype=torch.uint8, device=run.device))
    match method:
        case "gradient":
            return _signed("gradient", attribution.gradient(model, image[None], target)[0])
        case "smoothgrad":
            return _signed("SmoothGrad", attribution.smooth_gradient(model, image, target, seed=SEED))
        case "integrated":
            found = attribution.complete_gradients(model, image, target, baseline=black)
            return _signed("integrated gradients", found.parts, f"sum off by {100 * found.error:.2f} %")
        case "gradcam":
            node = _cam_layer(run, layer)
            cam = attribution.grad_cam(model, image, target, layer=node.name)
            values = attribution.overlay(cam, run.receptive_fields(node).axes, image.shape[1:]).double().cpu().numpy()
            note = f"{node.name}, {node.shape[1]}x{node.shape[2]}"
            return SaliencyMap(name="Grad-CAM", values=values, signed=False, note=note)
        case "occlusion":
            size, stride = attribution.occlusion_window(image.shape[1:])
            drops = attribution.occlusion(model, image, target, fill=black, size=size, stride=stride)
            return _signed("occlusion", drops[None], f"{size[0]}x{size[1]} black, step {stride[0]}")


def _signed(name: str, values: Tensor, note: str = "") -> SaliencyMap:
    """The map of signed values (C, H, W): their sum over the channels."""
    return SaliencyMap(name=name, values=values.sum(0).double().cpu().numpy(), signed=True, note=note)


_SIGNED = "Red supports the class, blue opposes it, white is 0; each map has its own scale, printed below it."
_UNSIGNED = "Grad-CAM: dark is 0, bright its largest value."
_OVER = "Below: the same over the image in gray; the cover is the square root of the value."


@dataclass(frozen=True, eq=False, kw_only=True)
class SaliencyMap:
    """The map of one method.

    Attributes:
        name: of the method.
        values: (H, W).
        signed: whether there are values below 0; else they start at 0.
        note: a few words below it.
    """

    name: str
    values: Values
    signed: bool
    note: str = ""

    @property
    def scale(self) -> Scale:
        """The color scale of this map alone: the units of methods differ."""
        return Scale.symmetric(self.values) if self.signed else Scale.from_zero(self.values)

    @property
    def range(self) -> str:
        """The ends of the scale."""
        high = f"{self.scale.high:.3g}"
        return f"±{high}" if self.signed else f"0 to {high}"


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageMaps:
    """An image, uint8 (C, H, W), its maps, lines about the prediction, and what was measured; `data` as JSON values."""

    heading: str
    lines: Sequence[Words]
    image: Tensor
    maps: Sequence[SaliencyMap]
    numbers: dict[str, float]
    data: Mapping[str, object] = field(default_factory=dict)


def _picture(tag: str, title: str, images: Sequence[ImageMaps], remarks: Sequence[str]) -> Picture:
    return Picture(
        tag=tag,
        title=title,
        canvas=draw_saliency(images, title=title, captions=remarks).canvas,
        card=_card(images),
        tiles=[tile for each in images for tile in _tiles(each)],
        numbers=images[0].numbers if len(images) == 1 else {},
        data={"images": [{**each.data, "maps": _ranges(each.maps)} for each in images]},
        lines=[f"{each.heading}: {'; '.join(map(joined, each.lines))}" for each in images],
    )


def _ranges(maps: Sequence[SaliencyMap]) -> list[dict[str, object]]:
    """The name, the smallest and the largest value of each map, and where the largest is: (row, column)."""
    return [
        {
            "method": each.name,
            "low": float(each.values.min()),
            "high": float(each.values.max()),
            "highest_at": [int(at) for at in np.unravel_index(int(each.values.argmax()), each.values.shape)],
        }
        for each in maps
        if np.isfinite(each.values).all()
    ]


def _tiles(image: ImageMaps) -> Iterator[Tile]:
    yield Tile.image(image.image, label=image.heading)
    for each in image.maps:
        yield Tile.of(each.values, each.scale, label=each.name)


def draw_saliency(images: Sequence[ImageMaps], *, title: str, captions: Sequence[str] = ()) -> Drawing:
    """A row for each image: the image, then its maps, and below each map the same over the image in gray.

    Returns:
        A drawing with a box for each (image, 0, 0), the image itself, for each map (image, 1 + map, 0), and for the map
        over the image (image, 1 + map, 1).
    """
    signs = {each.signed for image in images for each in image.maps}
    legends = [text for signed, text in ((True, _SIGNED), (False, _UNSIGNED)) if signed in signs]
    sections = [
        Section(heading=each.heading, lines=each.lines, cells=_cells(each, TILE, lambda map_: (map_.range, map_.note)))
        for each in images
    ]
    return draw_sections(sections, title=title, captions=[*captions, *legends, _OVER])


def _card(images: Sequence[ImageMaps]) -> Pixels:
    """The maps of as many images as a TensorBoard card can hold, with less text: uint8 (H, W, 3)."""
    sections = [
        Section(lines=each.lines[:1] if number else (), cells=_cells(each, CARD_TILE, lambda map_: (map_.range,)))
        for number, each in enumerate(images)
    ]
    title = ", ".join((images[0].heading, *map(joined, images[0].lines[:1])))
    return draw_card(lambda count: sections[:count], len(sections), title=title)


def _cells(image: ImageMaps, side: int, below: Callable[[SaliencyMap], Sequence[str]]) -> list[Cell]:
    """The image and its maps, with the longer side as near to `side` px as a whole factor allows."""
    picture = image_pixels(image.image)
    pictures = [picture, *(each.scale.colors(each.values) for each in image.maps)]
    if side == TILE:  # a card has no room for a second row
        pictures += [over_image(each, picture) for each in image.maps]
    panels = fit_panels(pictures, side=side)
    count = len(image.maps)
    stacked = [panels[place :: count or 1] for place in range(1, count + 1)]
    maps = zip(stacked, image.maps, strict=True)
    return [
        Cell(panels=panels[:1], above="input"),
        *(Cell(panels=both, above=each.name, below=below(each)) for both, each in maps),
    ]


def over_image(found: SaliencyMap, picture: Pixels) -> Pixels:
    """A map over its image (H, W, 3), which is gray and pale: the larger a value, the less of the image is seen."""
    gray = picture.mean(axis=-1, keepdims=True)
    pale = PALEST + (255 - PALEST) * gray / 255  # (H, W, 1)
    limit = found.scale.high or 1.0
    strength = np.sqrt(np.abs(np.nan_to_num(found.values)) / limit).clip(0, 1)[..., None] * MOST_COVER
    color = np.where(found.values[..., None] < 0, np.array(OPPOSES), np.array(SUPPORTS))
    pixels: Pixels = np.rint((1 - strength) * pale + strength * color).astype(np.uint8)
    return pixels
