"""`feature-maps`: what kernels make of a picture; first those that people designed, then those a network learned."""

import torch
from torch import Tensor

from cnncli.data.digits import load_digits
from cnncli.data.images import resize
from cnncli.errors import UsageError
from cnncli.lessons.notation import grid
from cnncli.lessons.page import Block, Figures, Grid, Page, Picture, Prose, Sign, Step, TryNext, Values
from cnncli.lessons.reference import CLASSIC, corr2d
from cnncli.lessons.walk import Sweep
from cnncli.run import InputImage, Run

_SIDE = 16
_MOST_SIDE = 64
"""Beyond this the loops of the definition are slow, and a terminal shows no more."""


def feature_maps(x: Values | None, number: int) -> Page:
    """The page about classic filters on an input (H, W), or on a test image of the embedded digits."""
    picture, name = _digit(number) if x is None else (torch.from_numpy(x), "your picture")
    if max(picture.shape) > _MOST_SIDE:
        raise UsageError(f"--input: a side of {max(picture.shape)} is too long", remedy=f"give at most {_MOST_SIDE}")
    Sweep(padding=(1, 1)).check_fits((picture.shape[0], picture.shape[1]), (3, 3))
    return Page(
        "Feature maps: what a kernel finds",
        (
            Prose(
                "The output of a kernel is a map of where its pattern is in the picture. Long before networks learned "
                "them, people designed kernels for what they were looking for. Each of them on "
                f"{name}, with padding 1 so that the map is as large as the picture:"
            ),
            Figures((Picture(values=picture.numpy(), title="input"),)),
            *_filters(picture),
            Prose(
                "Signed maps: + and # (red) where the pattern is, - and = (blue) where its opposite is, a dot for "
                "neither. A layer learns as many such kernels as it has output channels, each for whatever helps."
            ),
            TryNext(
                (
                    "explain feature-maps --image 3",
                    "train quickstart",
                    "explain feature-maps --run runs/RUN",
                    "explain learn-kernel --target sobel",
                )
            ),
        ),
    )


def learned_maps(run: Run, layer: str | None, seen: InputImage) -> Page:
    """The page about the kernels of a trained layer, and the maps they make of a picture."""
    node = run.node(layer or next(iter(run.model.kernels()), ""))
    if not node.layer.has_kernels:
        raise UsageError(f"--layer: {node.name} is no convolution", remedy=f"one of {', '.join(run.model.kernels())}")
    with torch.inference_mode():
        maps = run.model.outputs(seen.image[None], [node.name])[node.name][0]  # (O, OH, OW)
    kernels = run.model.kernels()[node.name].detach()  # (O, C / g, kh, kw)
    return Page(
        f"Feature maps: what {node.name} has learned",
        (
            Prose(
                f"{len(maps)} kernels, each {kernels.shape[1]} deep, and the map that each makes of {seen.name}. The "
                "maps are what the layer passes on, after its norm and activation."
            ),
            Figures((Picture(values=seen.picture[0].double().numpy(), title="input"),)),
            *(_learned(number, kernel, map_) for number, (kernel, map_) in enumerate(zip(kernels, maps, strict=True))),
            TryNext(
                (
                    f"explain unit {run.argument} --layer {node.name} --filter 0 --at 0,0 --image {seen.argument}",
                    "explain feature-maps",
                )
            ),
        ),
    )


def _digit(number: int) -> tuple[Tensor, str]:
    """A test image of the embedded digits, (16, 16), and what it is called."""
    test = load_digits().test
    if number >= len(test):
        raise UsageError(f"--image: there are {len(test)} digits, 0 to {len(test) - 1}")
    picture = resize(test.images[number][None], (_SIDE, _SIDE))[0, 0]
    return picture.double() / 255, f"digit {number} (a {int(test.labels[number])})"


def _filters(picture: Tensor) -> list[Block]:
    steps: list[Block] = []
    for name, kernel in CLASSIC.items():
        weights = torch.tensor(kernel, dtype=torch.float64)
        map_ = corr2d(picture, weights, padding=1)
        signed = bool((map_ < 0).any())
        figures = (grid(weights, "kernel"), Sign("->"), Picture(values=map_.numpy(), title="map", signed=signed))
        steps.append(Step(name, (Figures(figures),)))
    return steps


def _learned(number: int, kernel: Tensor, map_: Tensor) -> Block:
    values = map_.double()
    picture = Picture(values=values.numpy(), title="map", signed=bool((values < 0).any()))
    weights: list[Grid | Sign] = []
    if len(kernel) == 1:
        weights = [grid(kernel[0].double(), "kernel", decimals=2), Sign("->")]
    extent = f"from {values.min().item():.3f} to {values.max().item():.3f}"
    return Step(f"filter {number}, {extent}", (Figures((*weights, picture)),))
