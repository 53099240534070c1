"""Images that were made to excite a unit as much as possible.

After Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep Network" (2009): gradient
ascent on the pixels. They stay from black to white; against noise that only the network sees, the image is kept smooth
and near the mean grey, and moved about by a pixel or so where the unit sees all of it (Olah, Mordvintsev and Schubert,
"Feature Visualization", Distill 2017).

Letters for shapes: N images, S starts of each, C channels, (H, W) image, F filters of the layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from cnncli.data.batches import Normalization
from cnncli.model import AddPaths, CnnModule
from cnncli.spec.layers import Activation
from cnncli.spec.network import Node

STEPS, STARTS = 128, 3
RATE = 0.1
"""Of Adam in the first step; it falls to 0 in a line. A pixel goes from 0, black, to 1, white."""
NOISE = 0.1
"""Standard deviation of the first start, around the mean grey of the images that were learned from; each further start
has twice as much, lest a ReLU be silent on all of them."""
SMOOTH, GREY = 0.5, 0.1
"""How strongly neighbours are kept alike, and pixels at the mean grey, where the activation's gradient has size 1. This
too falls to 0: it chooses among the images that excite the unit, and does not hold it back."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of a layer: its filter, and (row, column) in its map; empty for a layer without positions."""

    filter: int
    place: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Maximised:
    """Images (N, C, H, W), from 0 to 1, and the activation of each one's unit, after its norm and its activation."""

    images: Tensor
    values: tuple[float, ...]


def centre(node: Node) -> tuple[int, ...]:
    """The place in the middle of a layer's maps; empty for a layer without positions."""
    return tuple(size // 2 for size in node.shape[1:])


def maximise(
    model: CnnModule,
    node: Node,
    units: Sequence[Unit],
    *,
    normalization: Normalization,
    seed: int,
    jitter: int,
    steps: int = STEPS,
    starts: int = STARTS,
) -> Maximised:
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
        downhill = left * (SMOOTH * _roughness(pixels) + GREY * (pixels - mean)) - _of_size_one(slope)
        pixels = (pixels - RATE * left * adam.direction(downhill)).clamp(0, 1)
    with torch.no_grad():
        reached = activations(raised, pixels).view(len(units), starts)
        best = reached.argmax(1) + starts * torch.arange(len(units), device=device)
        values = activations(lambda images: model.outputs(images, [node.name])[node.name], pixels)[best]
    return Maximised(images=pixels[best], values=tuple(values.tolist()))


def _before_activation(model: CnnModule, node: Node) -> Callable[[Tensor], Tensor]:
    """What a layer makes of images (N, C, H, W) before its activation function, if it ends with one."""
    module = model.layer(node)

    def inputs(images: Tensor) -> list[Tensor]:
        found = model.outputs(images, set(node.inputs))
        return [found[name] for name in node.inputs]

    if isinstance(node.layer, Activation):
        return lambda images: inputs(images)[0]
    if getattr(node.layer, "activation", None) is None:
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
    """How far each pixel of images (N, C, H, W) is above its neighbours, added up over these.

    It is the gradient of half the sum of the squared differences between neighbours.
    """
    slope = torch.zeros_like(pixels)
    for dim in (2, 3):
        steps = pixels.diff(dim=dim)
        length = steps.shape[dim]
        slope.narrow(dim, 1, length).add_(steps)
        slope.narrow(dim, 0, length).sub_(steps)
    return slope
