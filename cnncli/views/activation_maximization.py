"""Images made to excite a unit as much as possible, beside the best real ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from cnncli.config.network import Node
from cnncli.data.batches import Normalization
from cnncli.drawing.color import Pixels
from cnncli.drawing.grid import Picture
from cnncli.drawing.image import enlargement, thinning
from cnncli.drawing.sheet import Cell, Panel, Section, card, sheet
from cnncli.layers.modules import AddPaths
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views.patches import (
    BEYOND,
    LARGEST,
    Cutting,
    TopActivations,
    crop_patch,
    cutting,
    filter_name,
    filters_of,
    images_at_once,
    layers_with_filters,
    left_out,
    most_exciting,
    patch_pixels,
    patch_tile,
)
from cnncli.views.view import Exhibit

STEPS, STARTS = 128, 3
RATE = 0.1
"""Of Adam in the first step; it falls to 0 in a line. A pixel goes from 0, black, to 1, white."""
NOISE = 0.1
"""Standard deviation of the first start, around the mean gray of the images that were learned from; each further start
has twice as much, lest a ReLU be silent on all of them."""
SMOOTH, GRAY = 0.5, 0.1
"""How strongly neighbors are kept alike, and pixels at the mean gray, where the activation's gradient has size 1. This
too falls to 0: it chooses among the images that excite the unit, and does not hold it back."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of a layer: its filter, and (row, column) in its map; empty for a layer without positions."""

    filter: int
    place: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Maximized:
    """Images (N, C, H, W), from 0 to 1, and the activation of each one's unit, after its norm and its activation."""

    images: Tensor
    values: tuple[float, ...]


def center(node: Node) -> tuple[int, ...]:
    """The place in the middle of a layer's maps; empty for a layer without positions."""
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
    starts: int = STARTS,
) -> Maximized:
    """Make an image for each unit of a layer; the same arguments give the same images.

    What is raised is the number before the unit's activation function, which does not saturate and has a gradient
    where a ReLU has none. Of several starts the one that reached most is kept.

    Args:
        model: in evaluation mode.
        node: the layer.
        units: of it.
        normalization: from pixels to what the network gets.
        seed: of the noise of the start and of the jitter.
        jitter: by how many pixels the image is moved in each step, at most; 0 where a unit sees a part of it.
        steps: of gradient ascent.
        starts: with different noise, for each unit.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    mean, std = (
        torch.tensor(each, device=device).view(1, -1, 1, 1) for each in (normalization.mean, normalization.std)
    )
    raised = _before_activation(model, node)
    every = [unit for unit in units for _ in range(starts)]  # (N * S)

    def activations(layer: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        maps = layer((pixels - mean) / std)
        return torch.stack([maps[(i, unit.filter, *unit.place)] for i, unit in enumerate(every)])

    noise = torch.randn(starts, *model.network.input_shape, generator=generator)
    noise *= (NOISE * 2.0 ** torch.arange(starts)).view(-1, 1, 1, 1)
    # All units start from the same noise, so that what is made for one does not depend on the others.
    pixels = (mean + noise.to(device)).clamp(0, 1).repeat(len(units), 1, 1, 1)  # (N * S, C, H, W)
    adam = Adam(pixels)
    for step in range(steps):
        inputs = pixels.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(activations(raised, _moved(inputs, jitter, generator)).sum(), inputs)
        left = 1 - step / steps
        downhill = left * (SMOOTH * _roughness(pixels) + GRAY * (pixels - mean)) - _of_size_one(slope)
        pixels = (pixels - RATE * left * adam.direction(downhill)).clamp(0, 1)
    with torch.no_grad():
        reached = activations(raised, pixels).view(len(units), starts)
        best = reached.argmax(1) + starts * torch.arange(len(units), device=device)
        values = activations(lambda images: model.outputs(images, [node.name])[node.name], pixels)[best]
    return Maximized(images=pixels[best], values=tuple(values.tolist()))


def _before_activation(model: CnnModule, node: Node) -> Callable[[Tensor], Tensor]:
    """What a layer makes of images (N, C, H, W) before its activation function, if it ends with one."""
    module = model.layer(node)

    def inputs(images: Tensor) -> list[Tensor]:
        found = model.outputs(images, set(node.inputs))
        return [found[name] for name in node.inputs]

    if node.layer.is_activation:
        return lambda images: inputs(images)[0]
    if "activation" not in node.layer.followers():
        return lambda images: model.outputs(images, [node.name])[node.name]
    if isinstance(module, AddPaths):
        return lambda images: torch.stack(inputs(images)).sum(0)
    parts = [part for name, part in module.named_children() if name != "activation"]

    def without(images: Tensor) -> Tensor:
        (values,) = inputs(images)
        for part in parts:
            values = part(values)
        return values

    return without


class Adam:
    """Kingma and Ba, "Adam" (ICLR 2015), in the numbers of `torch.optim.Adam`.

    That one loads torch's compiler when it is made, which takes longer than all the steps for a small network.

    Args:
        numbers: what will be changed; only its shape, type and device matter.
    """

    def __init__(self, numbers: Tensor, *, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self._betas = betas
        self._mean, self._square = torch.zeros_like(numbers), torch.zeros_like(numbers)
        self._steps = 0

    def direction(self, slope: Tensor) -> Tensor:
        """What to subtract next, times the learning rate, for a gradient of the shape of the numbers."""
        self._steps += 1
        self._mean.lerp_(slope, 1 - self._betas[0])
        self._square.lerp_(slope.square(), 1 - self._betas[1])
        mean, square = (
            each / (1 - beta**self._steps) for each, beta in zip((self._mean, self._square), self._betas, strict=True)
        )
        return mean / (square.sqrt() + 1e-8)


def _moved(images: Tensor, jitter: int, generator: Generator) -> Tensor:
    """Images (N, C, H, W) moved by up to so many pixels; what leaves on one side comes in on the other."""
    if not jitter:
        return images
    down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3))


def _of_size_one(slope: Tensor) -> Tensor:
    """Gradients (N, C, H, W), each divided by the root mean square of its numbers that are not 0."""
    numbers = slope.count_nonzero((1, 2, 3)).clamp_min(1).view(-1, 1, 1, 1)
    size = (slope.square().sum((1, 2, 3), keepdim=True) / numbers).sqrt()
    return slope / size.clamp_min(torch.finfo(slope.dtype).tiny)


def _roughness(pixels: Tensor) -> Tensor:
    """How far each pixel of images (N, C, H, W) is above its neighbors, added up over these.

    It is the gradient of half the sum of the squared differences between neighbors.
    """
    slope = torch.zeros_like(pixels)
    for dim in (2, 3):
        steps = pixels.diff(dim=dim)
        length = steps.shape[dim]
        slope.narrow(dim, 1, length).add_(steps)
        slope.narrow(dim, 0, length).sub_(steps)
    return slope


TILE, IN_CARD = 84, 28
"""Pixels for the longer side of a patch: in a file, and in a TensorBoard card."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """What was made for a unit and the real patch that excites its filter most.

    Attributes:
        name: of the filter.
        made, real: the two.
        lines: their activations, and where the real one is from.
        short: their activations in few characters.
    """

    name: str
    made: Cutting
    real: Cutting
    lines: Sequence[str]
    short: str


def maximize_picture(pairs: Sequence[Pair], *, title: str, captions: Sequence[str]) -> Picture:
    """Pairs side by side: on the left what was made, on the right what is real.

    Returns:
        A picture with a box for each (0, pair, 0), the made one, and (0, pair, 1), the real one.
    """
    cells = _cells(pairs, TILE, LARGEST)
    return sheet([Section(cells=cells)], title=title, captions=captions, side_by_side=True)


def maximize_card(pairs: Sequence[Pair], *, title: str) -> Pixels:
    """As many pairs as a TensorBoard card has room for, small and with their activations only: uint8 (H, W, 3)."""
    short = [replace(pair, lines=[pair.short]) for pair in pairs]
    cells = _cells(short, IN_CARD, IN_CARD)
    return card(lambda count: [Section(cells=cells[:count])], len(cells), title=title, side_by_side=True)


def _cells(pairs: Sequence[Pair], tile: int, largest: int) -> list[Cell]:
    sizes = [side for pair in pairs for each in (pair.made, pair.real) for side in each.padding.shape]
    step = thinning(sizes, largest)
    scale = enlargement([-(-side // step) for side in sizes], tile)
    return [
        Cell(
            panels=[Panel(pixels=patch_pixels(each)[::step, ::step], scale=scale) for each in (pair.made, pair.real)],
            above=pair.name,
            below=pair.lines,
        )
        for pair in pairs
    ]


MOST_FILTERS = 9
"""In one picture, unless they are named; of logits all classes up to `MOST_CLASSES`."""
MOST_CLASSES = 30
SEED = 0
AT_ONCE = 16
"""Units whose images are made together."""


def maximized(
    run: Run, *, layers: Sequence[str] = (), filters: Sequence[int] = (), steps: int = STEPS
) -> Iterator[Exhibit]:
    """A picture for each convolution and for the last layer, or for each of `layers`.

    Of a layer with positions the unit in the middle is excited, and what it sees is shown.

    Args:
        run: whose network it is.
        layers: names.
        filters: numbers; without any, the first `MOST_FILTERS`.
        steps: of gradient ascent.

    Raises:
        UsageError: a layer has no such name, or no such filter.
    """
    nodes = layers_with_filters(run, layers)
    if not layers:
        nodes = tuple(dict.fromkeys((*nodes, run.network.nodes[-1])))
    chosen = {
        node.name: filters_of(node, filters, MOST_CLASSES if node.layer.gives_logits else MOST_FILTERS)
        for node in nodes
    }
    batches = run.batches(batch_size=images_at_once(run.network))
    real = most_exciting(run.model, list(chosen), (images for images, _ in batches.epoch(1)), count=1)
    for node in nodes:
        yield _exhibit(run, node, [real[node.name][i] for i in chosen[node.name]], steps)


def class_images(run: Run) -> Iterator[Exhibit]:
    """Only the images of the last layer: one for each class."""
    yield from maximized(run, layers=[run.network.nodes[-1].name])


def _exhibit(run: Run, node: Node, real: Sequence[TopActivations], steps: int) -> Exhibit:
    pairs, reached = [], []
    for excited, (made, value) in zip(real, _made(run, node, [each.filter for each in real], steps), strict=True):
        (best,) = excited.best
        label = run.classes[int(run.test.labels[best.image])]
        lines = [f"made {value:.4g}", f"real {best.value:.4g}", f"{label}, #{best.image}"]
        pairs.append(
            Pair(
                name=filter_name(run, node, excited.filter),
                made=made,
                real=cutting(run, node, best),
                lines=lines,
                short=f"{value:.3g} / {best.value:.3g}",
            )
        )
        reached.append(value >= best.value)
    title = f"{node.name}: made to excite its {'classes' if node.layer.gives_logits else 'filters'}"
    where = (
        f"the unit at row {center(node)[0]}, column {center(node)[1]}, cut at its field"
        if node.shape[1:]
        else "the whole image"
    )
    legend = f"Left: made in {steps} steps of gradient ascent; {where}. Right: the best real one, of all test images."
    counts = [
        f"{sum(reached)} of {len(reached)} made ones reach at least what the best real one does.",
        *left_out(node, len(real)),
    ]
    return Exhibit(
        tag=f"maximize/{run.network.numbered()[node.name]}",
        title=title,
        pixels=maximize_picture(pairs, title=title, captions=[legend, *counts]).pixels,
        card=maximize_card(pairs, title=title),
        tiles=[
            patch_tile(each, f"{pair.name}, {line}")
            for pair in pairs
            for each, line in zip((pair.made, pair.real), pair.lines, strict=False)
        ],
        numbers={"made_at_least_real": sum(reached), "made": len(reached)},
        lines=[" ".join(counts)],
    )


def _made(run: Run, node: Node, filters: Sequence[int], steps: int) -> Iterator[tuple[Cutting, float]]:
    """For each filter what its unit sees of the image made for it, and its activation."""
    place = center(node)
    together = max(1, min(AT_ONCE, images_at_once(run.network) // (4 * STARTS)))  # gradients need more room
    for first in range(0, len(filters), together):
        found = maximize(
            run.model,
            node,
            [Unit(filter=number, place=place) for number in filters[first : first + together]],
            normalization=run.normalization,
            seed=SEED,
            jitter=0 if place else 1,
            steps=steps,
        )
        for image, value in zip(found.images, found.values, strict=True):
            picture = (image * 255).round().byte().cpu()
            patch = crop_patch(run.table, node.name, place, picture, beyond=BEYOND)
            shown = Cutting(
                pixels=patch.pixels, padding=patch.padding, unread=patch.unread, source=picture, marked=None
            )
            yield shown, value
