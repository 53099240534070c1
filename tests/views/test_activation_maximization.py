"""Images made to excite units, against optima that are known and against images drawn at random."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cnncli.config.network import Node
from cnncli.data.batches import Normalization
from cnncli.module import CnnModule
from cnncli.views.activation_maximization import Adam, Unit, center, maximize

Build = Callable[..., CnnModule]
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
    units = [Unit(filter=number, place=center(node)) for number in range(4)]
    made = maximize(model, node, units, normalization=used, seed=0, jitter=0)
    bias = model.get_parameter("conv1.conv.bias").detach()
    for number, (image, value) in enumerate(zip(made.images, made.values, strict=True)):
        # Rows 3 to 5 and columns 4 to 7 are what unit 4, 5 sees: one column of padding before an even kernel.
        assert torch.equal(image[:, 3:6, 4:8], (kernel[number] > 0).float())
        ends = torch.stack([prepared(torch.full((1, 2, 1, 1), end), used) for end in (0.0, 1.0)])  # (2, 1, 2, 1, 1)
        optimum = (kernel[number] * ends[:, 0]).amax(0).sum() + bias[number]
        assert value == pytest.approx(float(optimum), rel=1e-5)


def test_the_value_is_that_of_the_image_and_pixels_stay_in_range(build: Build) -> None:
    model, used = build(f"[{{{CONV}}}, {{max_pool: 2}}, flatten, logits]", (2, 8, 8)), normalization(2)
    units = [Unit(filter=number, place=()) for number in range(3)]
    made = maximize(model, last(model), units, normalization=used, seed=1, jitter=1, steps=20)
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    with torch.no_grad():
        logits = model(prepared(made.images, used))
    assert list(made.values) == pytest.approx(logits.diagonal().tolist(), rel=1e-5)


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
def test_more_than_any_of_many_random_images_reach(build: Build, layers: str) -> None:
    model, used = build(layers, (1, 10, 10)), normalization(1)
    node = last(model)
    units = [Unit(filter=number, place=center(node)) for number in range(node.shape[0])]
    made = maximize(model, node, units, normalization=used, seed=0, jitter=0)
    drawn = torch.rand(4000, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        values = model(prepared(drawn, used))
    for unit, value in zip(units, made.values, strict=True):
        assert value >= values[(slice(None), unit.filter, *unit.place)].max()


def test_a_unit_that_is_silent_at_the_start_wakes_up(build: Build) -> None:
    """With a bias of -20 the ReLU has no gradient on any image near the start; before it there is one."""
    model, used = build("[{conv: {out_channels: 1, kernel_size: 3, activation: relu}}]", (1, 7, 7)), normalization(1)
    with torch.no_grad():
        model.kernels()["conv1"].fill_(1.0)
        model.get_parameter("conv1.conv.bias").fill_(-20.0)
    (value,) = maximize(model, last(model), [Unit(filter=0, place=(2, 2))], normalization=used, seed=0, jitter=0).values
    assert value == pytest.approx(9 * 0.7 / 0.2 - 20)


def test_the_same_bits_again_and_the_same_image_in_other_company(build: Build) -> None:
    model, used = build(f"[{{{CONV}}}, {{max_pool: 2}}, {{{CONV}}}, flatten, logits]", (1, 8, 8)), normalization(1)
    units = [Unit(filter=number, place=()) for number in range(3)]
    first, again = (
        maximize(model, last(model), units, normalization=used, seed=0, jitter=1, steps=10) for _ in range(2)
    )
    assert torch.equal(first.images, again.images)
    assert first.values == again.values
    alone = maximize(model, last(model), units[1:2], normalization=used, seed=0, jitter=1, steps=10)
    assert torch.allclose(alone.images[0], first.images[1], atol=1e-4)
    other = maximize(model, last(model), units, normalization=used, seed=1, jitter=1, steps=10)
    assert not torch.equal(first.images, other.images)


def test_the_model_is_left_as_it_was(build: Build) -> None:
    model = build(f"[{{{CONV}}}, flatten, logits]", (1, 6, 6))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    maximize(model, last(model), [Unit(filter=0, place=())], normalization=normalization(1), seed=0, jitter=1, steps=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_adam_steps_as_torchs_does() -> None:
    slopes = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    theirs = torch.zeros(4, 3, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], 0.1)
    ours, adam = torch.zeros(4, 3), Adam(theirs)
    for slope in slopes:
        theirs.grad = slope.clone()
        optimizer.step()
        ours = ours - 0.1 * adam.direction(slope)
    assert torch.allclose(ours, theirs, atol=1e-6)
