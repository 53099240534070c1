"""`feature-maps`: what kernels detect in an image: classic filters, and the kernels a network has learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnncli.errors import UsageError
from cnncli.lessons.notation import grid
from cnncli.lessons.numbers import CLASSIC_FILTERS, read_numbers
from cnncli.lessons.page import Block, Figures, Grid, Heading, Heatmap, Page, Paragraph, Step, TryNext
from cnncli.lessons.sliding_window import SlidingWindow
from cnncli.lessons.topic import ImageOption, InputOption, LayerOption, Topic
from cnncli.options import DATA_DIR, DataDirOption, FitOption, InvertOption, preparation_options

if TYPE_CHECKING:
    from torch import Tensor

    from cnncli.run import InputImage, Run

_SIDE = 16
_MAX_SIDE = 64
"""Beyond this, the loops of the reference operations are slow, and a terminal cannot show more."""


@dataclass(frozen=True, kw_only=True)
class FeatureMaps(Topic):
    """What edge, blur, sharpen and emboss filters detect in a digit; then what a network has learned.

    Examples:

      cnncli explain feature-maps --image 3

      cnncli explain feature-maps --run runs/quickstart-20260131-120000 --layer conv2
    """

    name = "feature-maps"

    input: InputOption = None
    image: ImageOption = "0"
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Also show the kernels that this run has learned.")
    ] = None
    layer: LayerOption = None
    invert: InvertOption = "auto"
    fit: FitOption = "auto"
    data_dir: DataDirOption = DATA_DIR

    def page(self) -> Page:
        if self.run is None and self.layer is not None:
            raise UsageError("--layer names a layer of a trained network", remedy="give its run with --run")
        options = preparation_options(invert=self.invert, fit=self.fit)
        if self.run is None and options:
            raise UsageError(
                f"{options} is for an image file shown to a trained network", remedy="give the run with --run"
            )
        number = self.image if self.run is None and self.input is None else "0"
        if not number.isdecimal():
            raise UsageError(
                f"--image: {number!r} is not the number of a digit", remedy="give an image file with --input"
            )
        x, name = _read_image(self.input, int(number))
        rest: list[Block] = [
            TryNext(
                "explain feature-maps --image 3",
                "train quickstart",
                "explain feature-maps --run runs/RUN",
                "explain learn-kernel --target sobel",
            )
        ]
        if self.run is not None:
            from cnncli.lessons.unit import open_run

            opened, shown = open_run(self.run, self.image, invert=self.invert, fit=self.fit, data_dir=self.data_dir)
            rest = learned_maps(opened, self.layer, shown)
        return Page(
            "Feature maps: what a kernel detects",
            Paragraph(
                "The output of a kernel is a map of where its pattern is in the image. Long before networks learned "
                f"kernels, people designed them. Below, classic filters are applied to {name}, with padding 1 so that "
                "each map is as large as the image:"
            ),
            Figures(Heatmap(values=x.numpy(), title="input")),
            *_classic_maps(x),
            Paragraph(
                "Signs: + and # (red) mark places where the pattern is, - and = (blue) places where its negative is, "
                "dots places with neither. A convolutional layer learns such a kernel for each of its output channels, "
                "whichever reduce the loss."
            ),
            *rest,
        )


def learned_maps(run: Run, layer: str | None, image: InputImage) -> list[Block]:
    """The kernels of a trained layer and their feature maps for an image.

    Args:
        run: a finished run.
        layer: name of a convolution; the first one by default.
        image: input of the network.

    Raises:
        UsageError: there is no such layer, or it is not a convolution.
    """
    import torch

    node = run.node(layer or next(iter(run.model.kernels()), ""))
    if not node.layer.has_kernels:
        names = ", ".join(run.model.kernels())
        raise UsageError(f"--layer: {node.name} is not a convolution", remedy=f"choose one of {names}")
    with torch.inference_mode():
        maps = run.model.outputs(image.image[None], [node.name])[node.name][0]  # (O, OH, OW)
    kernels = node.layer.kernels_of(run.model.weights_of(node)).detach()  # (O, C / g, kh, kw)
    return [
        Heading(f"What {node.name} has learned"),
        Paragraph(
            f"{node.name} has {len(maps)} kernels of depth {kernels.shape[1]}. Below are the feature maps that they "
            f"make of {image.name}, after the norm and the activation of the layer."
        ),
        Figures(Heatmap(values=image.picture[0].double().numpy(), title="input")),
        *(_learned_map(i, kernel, map_) for i, (kernel, map_) in enumerate(zip(kernels, maps, strict=True))),
        TryNext(
            f"explain unit {run.argument} --layer {node.name} --filter 0 --at 0,0 --image {image.argument}",
            "explain feature-maps --image 3",
        ),
    ]


def _learned_map(number: int, kernel: Tensor, map_: Tensor) -> Step:
    """A feature map (OH, OW), with its kernel (C / g, kh, kw) if that has a single slice."""
    values = map_.double()
    weights: list[Grid | str] = []
    if len(kernel) == 1:
        weights = [grid(kernel[0].double(), "kernel", decimals=2), "->"]
    title = f"filter {number}, from {values.min().item():.3f} to {values.max().item():.3f}"
    return Step(title, Figures(*weights, _heatmap(values)))


def _read_image(input_: str | None, number: int) -> tuple[Tensor, str]:
    """The input (H, W) and its name: the user's own image, or a test image of the embedded digits, (16, 16)."""
    import torch

    if input_ is not None:
        x = torch.from_numpy(read_numbers(input_, option="--input", dimensions=(2,)))
        if max(x.shape) > _MAX_SIDE:
            raise UsageError(f"--input: a side of {max(x.shape)} is too long", remedy=f"give at most {_MAX_SIDE}")
        SlidingWindow((3, 3), padding=(1, 1)).check_fits(x.shape)
        return x, "your image"
    from cnncli.data.digits import load_digits
    from cnncli.data.images import resize

    test = load_digits().test
    if number >= len(test):
        raise UsageError(f"--image: there are {len(test)} digits, 0 to {len(test) - 1}")
    picture = resize(test.images[number][None], (_SIDE, _SIDE))[0, 0]
    return picture.double() / 255, f"digit {number} (a {int(test.labels[number])})"


def _classic_maps(x: Tensor) -> list[Block]:
    from cnncli.lessons.reference import corr2d

    steps: list[Block] = []
    for name, weights in CLASSIC_FILTERS.items():
        kernel = x.new_tensor(weights)
        figures = (grid(kernel, "kernel"), "->", _heatmap(corr2d(x, kernel, padding=1)))
        steps.append(Step(name, Figures(*figures)))
    return steps


def _heatmap(values: Tensor) -> Heatmap:
    return Heatmap(values=values.numpy(), title="map", signed=bool((values < 0).any()))
