"""Images optimized by gradient ascent to activate a unit, next to the real images with the highest activation.

After Erhan et al., "Visualizing Higher-Layer Features of a Deep Network" (2009), and Olah, Mordvintsev and Schubert,
"Feature Visualization" (Distill 2017).

Letters for shapes: N units, S starts, (C, H, W) image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Self

import typer

from cnncli.drawing.sheet import Cell, Section, draw_card, draw_sections, fit_panels
from cnncli.drawing.text import Name, Words, joined
from cnncli.errors import DataError
from cnncli.views.patches import CARD_TILE, LARGEST, MOST_PADDING, TILE, crop_test_image, patch_pixels, patch_tile
from cnncli.views.units import (
    Patch,
    UnitActivation,
    crop_patch,
    filter_words,
    images_at_once,
    layers_with_filters,
    left_out,
    select_filters,
    top_activations,
)
from cnncli.views.view import Filters, Layers, Picture, View

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from cnncli.config.network import Node
    from cnncli.data.batches import Normalization
    from cnncli.drawing.color import Pixels
    from cnncli.drawing.sheet import Drawing
    from cnncli.module import CnnModule
    from cnncli.run import Run

STEPS, STARTS = 128, 3
RATE = 0.1
"""Learning rate of Adam in the first step; it falls linearly to 0. A pixel goes from 0, black, to 1, white."""
NOISE = 0.1
"""Standard deviation of the first start, around the mean gray of the training images; each further start has twice as
much, in case a ReLU is inactive on all of them."""
SMOOTH, GRAY = 0.5, 0.1
"""How strongly neighbors are kept alike, and pixels at the mean gray, where the activation's gradient has size 1. This
falls to 0 too: it chooses among the images that activate the unit, without limiting the activation."""
SEED = 0
MOST_FILTERS, MOST_CLASSES = 9, 30
"""Number of filters or classes in a picture, unless they are selected."""
AT_ONCE = 16
"""Maximum number of units whose images are optimized together."""


@dataclass(frozen=True, kw_only=True)
class ActivationMaximization(View):
    """Images optimized to activate each filter and each class, next to the real images with the highest activation.

    Examples:

      cnncli show activation-maximization runs/lenet5-20260131-120000

      cnncli show activation-maximization runs/lenet5-20260131-120000 --layer logits1 --filter 3 --steps 500
    """

    name = "activation-maximization"

    layers: Layers = ()
    filters: Filters = ()
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=100_000, metavar="N", help="Steps of gradient ascent.")
    ] = STEPS

    @classmethod
    def overview(cls, run: Run) -> Self:
        """Only the last layer: an image for each class."""
        return cls(layers=(run.network.nodes[-1].name,))

    def pictures(self, run: Run) -> Iterator[Picture]:
        """A picture of each convolution and of the last layer, or of each of `layers`.

        Of a layer with positions the unit in the center is maximized, and what it sees is shown. Where the test images
        are missing, they are not downloaded, and there are only optimized images.
        """
        nodes = layers_with_filters(run, self.layers)
        if not self.layers:
            nodes = tuple(dict.fromkeys((*nodes, run.network.nodes[-1])))
        chosen = {
            node.name: select_filters(node, self.filters, MOST_CLASSES if node.layer.gives_logits else MOST_FILTERS)
            for node in nodes
        }
        run = run.offline()
        tops, remarks = None, []
        try:
            batches = run.batches(batch_size=images_at_once(run.network))
        except DataError as error:
            remarks = [f"Without real images: {error.message} (see --data-dir)."]
        else:
            tops = top_activations(run.model, list(chosen), (images for images, _ in batches.epoch(1)), count=1)
        for node in nodes:
            filters = chosen[node.name]
            real = None if tops is None else [tops[node.name][i].best[0] for i in filters]
            yield _picture(run, node, filters, real, self.steps, remarks)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of a layer: its filter, and (row, column) in its map; empty for a layer without positions."""

    filter: int
    position: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class MaximizedImages:
    """Images (N, C, H, W) from 0 to 1, and the activation of each one's unit, after its norm and its activation."""

    images: Tensor
    values: tuple[float, ...]


def center_unit(node: Node) -> tuple[int, ...]:
    """The position in the middle of a layer's maps; empty for a layer without positions."""
    return tuple(size // 2 for size in node.shape[1:])


def maximize(
    model: CnnModule,
    node: Node,
    units: Sequence[Unit],
    *,
    normalization: Normalization,
    seed: int,
    jitter: int,
    steps: int = STEPS,
) -> MaximizedImages:
    """Make an image for each unit of a layer; the same arguments give the same images.

    What is maximized is the number before the unit's activation function, which does not saturate and has a gradient
    where a ReLU has none. Of `STARTS` starts the one that reached most is kept.

    Args:
        model: in evaluation mode.
        node: the layer.
        units: of the layer.
        normalization: from pixels to the input of the network.
        seed: of the noise at the start and of the jitter.
        jitter: the image is shifted by up to this many pixels in each step; 0 where a unit sees a part of it.
        steps: of gradient ascent.
    """
    import torch

    from cnncli.training.optimizer import without_compiler

    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    mean, std = (
        torch.tensor(each, device=device).view(1, -1, 1, 1) for each in (normalization.mean, normalization.std)
    )

    def activations(pixels: Tensor, *, before: bool) -> Tensor:
        """Of every unit on each of its starts (N * S), before or after its activation function."""
        maps = _outputs(model, node, (pixels - mean) / std, before_activation=before)
        every = (unit for unit in units for _ in range(STARTS))
        return torch.stack([maps[(i, unit.filter, *unit.position)] for i, unit in enumerate(every)])

    noise = torch.randn(STARTS, *model.network.input_shape, generator=generator)
    noise *= (NOISE * 2.0 ** torch.arange(STARTS)).view(-1, 1, 1, 1)
    # All units start from the same noise, so that an image does not depend on the other units.
    pixels = (mean + noise.to(device)).clamp(0, 1).repeat(len(units), 1, 1, 1)  # (N * S, C, H, W)
    optimizer = without_compiler(torch.optim.Adam)([pixels], lr=RATE)
    for step in range(steps):
        inputs = pixels.clone().requires_grad_()
        (slope,) = torch.autograd.grad(activations(_shift(inputs, jitter, generator), before=True).sum(), inputs)
        left = 1 - step / steps
        optimizer.param_groups[0]["lr"] = RATE * left
        pixels.grad = left * (SMOOTH * _roughness(pixels) + GRAY * (pixels - mean)) - _unit_size(slope)
        optimizer.step()
        pixels.clamp_(0, 1)
    with torch.no_grad():
        reached = activations(pixels, before=True).view(len(units), STARTS)
        best = reached.argmax(1) + STARTS * torch.arange(len(units), device=device)
        values = activations(pixels, before=False)[best]
    return MaximizedImages(images=pixels[best], values=tuple(values.tolist()))


def _outputs(model: CnnModule, node: Node, images: Tensor, *, before_activation: bool) -> Tensor:
    """The outputs of a layer for images (N, C, H, W), or the numbers before its activation function if it has one."""
    module = model.weights_of(node)
    activation = module if node.layer.is_activation else dict(module.named_children()).get("activation")
    if activation is None or not before_activation:
        return model.outputs(images, [node.name])[node.name]
    before: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        before.extend(inputs)

    with activation.register_forward_pre_hook(keep):
        model.outputs(images, [node.name])
    return before[-1]  # an earlier layer may have the same module


def _shift(images: Tensor, jitter: int, generator: Generator) -> Tensor:
    """Images (N, C, H, W) rolled by up to this many pixels along both axes."""
    import torch

    if not jitter:
        return images
    down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3))


def _unit_size(slope: Tensor) -> Tensor:
    """Gradients (N, C, H, W), each divided by the root mean square of its numbers other than 0."""
    import torch

    count = slope.count_nonzero((1, 2, 3)).clamp_min(1).view(-1, 1, 1, 1)
    size = (slope.square().sum((1, 2, 3), keepdim=True) / count).sqrt()
    return slope / size.clamp_min(torch.finfo(slope.dtype).tiny)


def _roughness(pixels: Tensor) -> Tensor:
    """The gradient of half the sum of the squared differences between neighbors in images (N, C, H, W)."""
    import torch

    slope = torch.zeros_like(pixels)
    for dim in (2, 3):
        steps = pixels.diff(dim=dim)
        length = steps.shape[dim]
        slope.narrow(dim, 1, length).add_(steps)
        slope.narrow(dim, 0, length).sub_(steps)
    return slope


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """The image optimized for a unit, cropped to its receptive field, and the patch that activates its filter most.

    Attributes:
        name: of the filter.
        optimized, real: the two patches; the second is None without test images.
        lines: their activations, and where the real one is from.
        short: their activations in few characters.
    """

    name: Words
    optimized: Patch
    real: Patch | None
    lines: Sequence[Words]
    short: str

    @property
    def patches(self) -> list[Patch]:
        """The patches that there are."""
        return [self.optimized] if self.real is None else [self.optimized, self.real]


def draw_pairs(pairs: Sequence[Pair], *, title: str, captions: Sequence[str]) -> Drawing:
    """Pairs side by side: the optimized image on the left, the real one on the right.

    Returns:
        A drawing with a box for each (0, pair, 0), the optimized one, and (0, pair, 1), the real one.
    """
    cells = _cells(pairs, side=TILE, most=LARGEST)
    return draw_sections([Section(cells=cells)], title=title, captions=captions, side_by_side=True)


def _card(pairs: Sequence[Pair], *, title: str) -> Pixels:
    """As many pairs as a TensorBoard card can hold, small and with their activations only: uint8 (H, W, 3)."""
    cells = _cells([replace(pair, lines=[pair.short]) for pair in pairs], side=CARD_TILE, most=CARD_TILE)
    return draw_card(lambda count: [Section(cells=cells[:count])], len(cells), title=title, side_by_side=True)


def _cells(pairs: Sequence[Pair], *, side: int, most: int) -> list[Cell]:
    patches = [patch_pixels(each) for pair in pairs for each in pair.patches]
    panels = iter(fit_panels(patches, side=side, most=most))
    return [Cell(panels=[next(panels) for _ in pair.patches], above=pair.name, below=pair.lines) for pair in pairs]


def _picture(
    run: Run,
    node: Node,
    filters: Sequence[int],
    real: Sequence[UnitActivation] | None,
    steps: int,
    remarks: Sequence[str],
) -> Picture:
    """The optimized images of some filters of a layer, next to the real ones where there are test images.

    `remarks` are more lines for the reader.
    """
    made = list(_make(run, node, filters, steps))
    names = [filter_words(run, node, number) for number in filters]
    if real is None:
        pairs = [
            Pair(name=name, optimized=patch, real=None, lines=[f"optimized {value:.4g}"], short=f"{value:.3g}")
            for name, (patch, value) in zip(names, made, strict=True)
        ]
    else:
        pairs = [_pair(run, node, *each) for each in zip(names, made, real, strict=True)]
    title = f"{node.name}: images optimized to activate its {'classes' if node.layer.gives_logits else 'filters'}"
    position = center_unit(node)
    where = "the whole image"
    if position:
        where = f"the unit at row {position[0]}, column {position[1]}, cropped to its receptive field"
    legend = f"Optimized by {steps} steps of gradient ascent; {where}."
    numbers = {"optimized": len(made)}
    counts = left_out(node, len(filters))
    if real is None:
        legend += " Without real images, because the test images are missing."
    else:
        reached = sum(value >= best.value for (_, value), best in zip(made, real, strict=True))
        numbers = {"optimized_at_least_real": reached, **numbers}
        counts = [f"{reached} of {len(made)} images activate the unit at least as much as the best real one.", *counts]
        legend = f"Left: {legend[0].lower()}{legend[1:]} Right: the best real one of all test images."
    return Picture(
        tag=f"activation_maximization/{run.network.numbered()[node.name]}",
        title=title,
        canvas=draw_pairs(pairs, title=title, captions=[legend, *counts]).canvas,
        card=_card(pairs, title=title),
        tiles=[
            patch_tile(each, f"{joined(pair.name)}, {joined(line)}")
            for pair in pairs
            for each, line in zip(pair.patches, pair.lines, strict=False)
        ],
        numbers=numbers,
        data={
            "layer": node.name,
            "filters": [
                {
                    "filter": number,
                    "optimized": value,
                    "real": None if real is None else real[place].value,
                    "image": None if real is None else real[place].image,
                }
                for place, (number, (_, value)) in enumerate(zip(filters, made, strict=True))
            ],
        },
        lines=[" ".join([*remarks, *counts])],
    )


def _pair(run: Run, node: Node, name: Words, made: tuple[Patch, float], best: UnitActivation) -> Pair:
    """An optimized image with its activation, next to the real one with the highest activation."""
    optimized, value = made
    label = run.classes[int(run.test.labels[best.image])]
    return Pair(
        name=name,
        optimized=optimized,
        real=crop_test_image(run, node, best).patch,
        lines=[f"optimized {value:.4g}", f"real {best.value:.4g}", [Name(label), f", #{best.image}"]],
        short=f"{value:.3g} / {best.value:.3g}",
    )


def _make(run: Run, node: Node, filters: Sequence[int], steps: int) -> Iterator[tuple[Patch, float]]:
    """For each filter, the part of its optimized image that its unit sees, and the activation."""
    position = center_unit(node)
    together = max(1, min(AT_ONCE, images_at_once(run.network) // (4 * STARTS)))  # gradients need more memory
    for first in range(0, len(filters), together):
        optimized = maximize(
            run.model,
            node,
            [Unit(filter=number, position=position) for number in filters[first : first + together]],
            normalization=run.normalization,
            seed=SEED,
            jitter=0 if position else 1,
            steps=steps,
        )
        for image, value in zip(optimized.images, optimized.values, strict=True):
            pixels = (image * 255).round().byte().cpu()
            yield crop_patch(run.table, node.name, position, pixels, most_padding=MOST_PADDING), value
