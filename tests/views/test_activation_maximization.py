"""Images optimized to activate units, against known optima, against random images, and read back from the pictures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cnncli.config.network import Node
from cnncli.data.batches import Normalization
from cnncli.drawing.layout import CARD
from cnncli.drawing.sheet import Drawing
from cnncli.module import CnnModule
from cnncli.run import Run
from cnncli.views.activation_maximization import ActivationMaximization, Unit, center_unit, maximize
from cnncli.views.patches import Patches
from cnncli.views.saliency import Saliency
from cnncli.views.view import Picture

Build = Callable[..., CnnModule]

RunOf = Callable[..., Run]


CONV = "conv: {out_channels: 3, kernel_size: 3, padding: same, activation: relu}"


def normalization(channels: int) -> Normalization:
    return Normalization(mean=(0.3, 0.5)[:channels], std=(0.2, 0.4)[:channels])


def prepared(images: Tensor, used: Normalization) -> Tensor:
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (used.mean, used.std))
    return (images - mean) / std


def last(model: CnnModule) -> Node:
    return model.network.nodes[-1]


def test_of_a_linear_filter_the_best_patch_is_the_sign_of_its_kernel(build: Build) -> None:
    model, used = build("[{conv: {out_channels: 4, kernel_size: [3, 4], padding: same}}]", (2, 9, 10)), normalization(2)
    kernel = model.kernels()["conv1"].detach()  # (4, 2, 3, 4)
    with torch.no_grad():
        kernel.copy_(torch.sign(kernel))
    node = last(model)
    units = [Unit(filter=number, position=center_unit(node)) for number in range(4)]
    optimized = maximize(model, node, units, normalization=used, seed=0, jitter=0)
    bias = model.get_parameter("conv1.conv.bias").detach()
    for number, (image, value) in enumerate(zip(optimized.images, optimized.values, strict=True)):
        # Rows 3 to 5 and columns 4 to 7 are what unit 4, 5 sees: one column of padding before an even kernel.
        assert torch.equal(image[:, 3:6, 4:8], (kernel[number] > 0).float())
        ends = torch.stack([prepared(torch.full((1, 2, 1, 1), end), used) for end in (0.0, 1.0)])  # (2, 1, 2, 1, 1)
        optimum = (kernel[number] * ends[:, 0]).amax(0).sum() + bias[number]
        assert value == pytest.approx(float(optimum), rel=1e-5)


def test_the_value_is_that_of_the_image_and_pixels_stay_in_range(build: Build) -> None:
    model, used = build(f"[{{{CONV}}}, {{max_pool: 2}}, flatten, logits]", (2, 8, 8)), normalization(2)
    units = [Unit(filter=number, position=()) for number in range(3)]
    optimized = maximize(model, last(model), units, normalization=used, seed=1, jitter=1, steps=20)
    assert optimized.images.min() >= 0
    assert optimized.images.max() <= 1
    with torch.no_grad():
        logits = model(prepared(optimized.images, used))
    assert list(optimized.values) == pytest.approx(logits.diagonal().tolist(), rel=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        f"[{{{CONV}}}, {{max_pool: 2}}, {{{CONV}}}]",
        "[{conv: {out_channels: 3, kernel_size: 3, norm: batch, activation: tanh}}]",
        "[{conv: {out_channels: 3, kernel_size: 3}}, relu]",
        f"[{{{CONV}}}, {{residual: {{main: [{{{CONV}}}], activation: relu}}}}]",
        f"[{{{CONV}}}, flatten, {{linear: {{out_features: 4, activation: sigmoid}}}}]",
        f"[{{{CONV}}}, global_avg_pool, logits]",
        f"[{{{CONV}}}, {{avg_pool: 3}}]",
    ],
)
def test_activation_is_higher_than_for_any_of_many_random_images(build: Build, layers: str) -> None:
    model, used = build(layers, (1, 10, 10)), normalization(1)
    node = last(model)
    units = [Unit(filter=number, position=center_unit(node)) for number in range(node.shape[0])]
    optimized = maximize(model, node, units, normalization=used, seed=0, jitter=0)
    drawn = torch.rand(4000, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        values = model(prepared(drawn, used))
    for unit, value in zip(units, optimized.values, strict=True):
        assert value >= values[(slice(None), unit.filter, *unit.position)].max()


def test_a_unit_inactive_at_the_start_becomes_active(build: Build) -> None:
    """With a bias of -20 the ReLU has no gradient on any image near the start; before it there is one."""
    model, used = build("[{conv: {out_channels: 1, kernel_size: 3, activation: relu}}]", (1, 7, 7)), normalization(1)
    with torch.no_grad():
        model.kernels()["conv1"].fill_(1.0)
        model.get_parameter("conv1.conv.bias").fill_(-20.0)
    (value,) = maximize(
        model, last(model), [Unit(filter=0, position=(2, 2))], normalization=used, seed=0, jitter=0
    ).values
    assert value == pytest.approx(9 * 0.7 / 0.2 - 20)


def test_results_are_reproducible_and_independent_of_other_units(build: Build) -> None:
    model, used = build(f"[{{{CONV}}}, {{max_pool: 2}}, {{{CONV}}}, flatten, logits]", (1, 8, 8)), normalization(1)
    units = [Unit(filter=number, position=()) for number in range(3)]
    first, again = (
        maximize(model, last(model), units, normalization=used, seed=0, jitter=1, steps=10) for _ in range(2)
    )
    assert torch.equal(first.images, again.images)
    assert first.values == again.values
    alone = maximize(model, last(model), units[1:2], normalization=used, seed=0, jitter=1, steps=10)
    assert torch.allclose(alone.images[0], first.images[1], atol=1e-4)
    other = maximize(model, last(model), units, normalization=used, seed=1, jitter=1, steps=10)
    assert not torch.equal(first.images, other.images)


def test_the_model_is_unchanged(build: Build) -> None:
    model = build(f"[{{{CONV}}}, flatten, logits]", (1, 6, 6))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    maximize(
        model, last(model), [Unit(filter=0, position=())], normalization=normalization(1), seed=0, jitter=1, steps=3
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


SMALL = "[{conv: {out_channels: 3, kernel_size: 3, padding: same, activation: relu}}, {max_pool: 2}, flatten, logits]"


def noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_the_optimized_image_is_beside_the_best_real_patch(drawn: list[Drawing], run_of: RunOf) -> None:
    """The kernel wants white left and black right; every such edge in an image of bars is as good as another."""
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[1, :, :, :4] = 200
    run = run_of("[{conv: {out_channels: 1, kernel_size: 2}}, flatten, logits]", images)
    with torch.no_grad():
        run.model.kernels()["conv1"].copy_(torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
        run.model.get_parameter("conv1.conv.bias").zero_()
    (picture,) = ActivationMaximization(layers=["conv1"]).pictures(run)
    optimized, real = (drawn[0].colors(drawn[0].boxes[0, 0, panel])[..., 0].tolist() for panel in (0, 1))
    assert optimized == [[255, 0], [255, 0]]
    assert real == [[200, 0], [200, 0]]
    assert picture.numbers == {"optimized": 1, "optimized_at_least_real": 1}
    # Normalized, white and black are 1 / 0.3 apart; two rows of that.
    assert [tile.label for tile in picture.tiles] == [
        f"filter 0, optimized {2 / 0.3:.4g}", f"filter 0, real {2 * 200 / 255 / 0.3:.4g}"
    ]  # fmt: skip


def test_the_overview_has_only_the_classes(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(4, 1, 8, 8))
    tags = [picture.tag for picture in ActivationMaximization(steps=2).pictures(run)]
    assert tags == ["activation_maximization/01_conv1", "activation_maximization/04_logits1"]
    (classes,) = ActivationMaximization.overview(run).pictures(run)
    assert classes.tag == "activation_maximization/04_logits1"
    assert len(drawn[-1].boxes) == 6
    assert drawn[-1].colors(drawn[-1].boxes[0, 0, 0]).shape == (8, 8, 3)


def test_pictures_are_reproducible(drawn: list[Drawing], run_of: RunOf) -> None:
    run = run_of(SMALL, noise(4, 1, 8, 8))

    def everything() -> list[Picture]:
        return [*Patches().pictures(run), *Saliency().pictures(run), *ActivationMaximization(steps=5).pictures(run)]

    for first, again in zip(everything(), everything(), strict=True):
        assert np.array_equal(first.pixels, again.pixels)
        assert first.card is not None
        assert first.card.shape == (CARD.height, CARD.width, 3), "TensorBoard shows it pixel for pixel"
