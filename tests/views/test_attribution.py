"""Saliency against numbers worked by hand, against Captum, and against a cue that was planted to decide the class.

The cue: in noise stands a small sign, of bars that lie or stand, somewhere; the class is which. Nothing else tells it.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnncli.inspection.graph import graph_of
from cnncli.inspection.receptive_field import ReceptiveFields, receptive_fields
from cnncli.module import CnnModule
from cnncli.views import attribution
from cnncli.views.attribution import (
    complete_gradients,
    grad_cam,
    gradient,
    integrated_gradients,
    occlusion,
    occlusion_window,
    overlay,
    smooth_gradient,
)
from tests.networks import network_of

Build = Callable[..., CnnModule]
SMALL = (
    "[{conv: {out_channels: 4, kernel_size: 3, activation: relu}}, {max_pool: 2}, "
    "{conv: {out_channels: 5, kernel_size: 3, padding: same, activation: relu}}, flatten, logits]"
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Worked by hand


def test_of_a_linear_network_the_gradient_is_the_weight(build: Build) -> None:
    model, image = build("[flatten, logits]", (2, 3, 4)), normal(2, 3, 4)
    weight = model.get_parameter("logits1.weight").detach().view(3, 2, 3, 4)
    black = torch.full_like(image, -0.5)
    for target in range(3):
        assert torch.equal(gradient(model, image[None], target)[0], weight[target])
        assert torch.allclose(smooth_gradient(model, image, target, seed=1), weight[target], atol=1e-6)
        parts = integrated_gradients(model, image, target, baseline=black, steps=3)
        assert torch.allclose(parts, weight[target] * (image + 0.5), atol=1e-6)


def test_smoothgrad_is_the_mean_over_noise_of_the_given_size() -> None:
    """The gradient of x ** 3 / 3 is x ** 2; its mean over noise of deviation s is x ** 2 + s ** 2."""

    class Cube(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images**3 / 3).flatten(1).sum(1, keepdim=True)

    image = torch.tensor([[[0.0, 1.0, 2.0]]])
    smooth = smooth_gradient(Cube(), image, 0, seed=0, samples=20000, noise=0.15)
    assert torch.allclose(smooth, image**2 + (0.15 * 2) ** 2, atol=0.02)


def test_smoothgrad_is_reproducible(build: Build) -> None:
    model, image = build(SMALL, (1, 8, 8)), normal(1, 8, 8)
    first, again, other = (smooth_gradient(model, image, 1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_grad_cam_worked_by_hand(build: Build) -> None:
    """Two maps, of the image and of its negative plus 1; the logits weigh their means with 3 and 1, 0 and 8."""
    model = build("[{conv: {out_channels: 2, kernel_size: 1}}, global_avg_pool, logits]", (1, 2, 2), classes=2)
    with torch.no_grad():
        model.kernels()["conv1"].copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        model.get_parameter("conv1.conv.bias").copy_(torch.tensor([0.0, 1.0]))
        model.get_parameter("logits1.weight").copy_(torch.tensor([[3.0, 1.0], [0.0, 8.0]]))
    image = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    # A mean over 4 positions: each of the maps' gradients is the logit's weight / 4, and so is their mean.
    # Class 0: 3/4 x + 1/4 (1 - x) = (2 x + 1) / 4. Class 1: 2 (1 - x), and 0 where that is negative.
    assert grad_cam(model, image, 0, layer="conv1").tolist() == [[0.25, 0.75], [1.25, 2.25]]
    assert grad_cam(model, image, 1, layer="conv1").tolist() == [[2.0, 0.0], [0.0, 0.0]]


def test_a_map_is_laid_over_the_centers_of_the_receptive_fields(build: Build) -> None:
    """Units see rows 0 to 2 and 4 to 6, of which the middles are 1 and 5, and columns 0 and 2."""
    model = build("[{conv: {out_channels: 1, kernel_size: [3, 1], stride: [4, 2]}}]", (1, 7, 4))
    fields = receptive_fields(graph_of(model.network, ""))["conv1"]
    assert isinstance(fields, ReceptiveFields)
    over = overlay(torch.tensor([[0.0, 4.0], [8.0, 12.0]]), fields.axes, (7, 4))
    assert over[0].tolist() == [0, 2, 4, 4]
    assert over[:, 0].tolist() == [0, 0, 2, 4, 6, 8, 8]
    assert over[3, 1] == 6


def test_overlay_with_uneven_bins_and_with_units_that_all_see_the_same(build: Build) -> None:
    for layers in ("[{adaptive_avg_pool: 3}]", "[{conv: {out_channels: 2, kernel_size: 3, norm: {group: 1}}}]"):
        model = build(layers, (2, 7, 7))
        name = model.network.nodes[-1].name
        fields = receptive_fields(graph_of(model.network, ""))[name]
        assert isinstance(fields, ReceptiveFields)
        cam = normal(*model.network.nodes[-1].shape[1:])
        over = overlay(cam, fields.axes, (7, 7))
        assert over.shape == (7, 7)
        assert over[3, 3] == pytest.approx(float(cam[cam.shape[0] // 2, cam.shape[1] // 2]))
        assert (over.min(), over.max()) >= (cam.min(), torch.tensor(-torch.inf))


def test_occlusion_against_every_window_by_hand(build: Build) -> None:
    model, image, fill = build(SMALL, (2, 8, 9)), normal(2, 8, 9), torch.tensor([0.3, -0.2]).view(2, 1, 1)
    found = occlusion(model, image, 2, fill=fill, size=(3, 4), stride=(2, 3))
    falls: dict[tuple[int, int], list[float]] = {(y, x): [] for y in range(8) for x in range(9)}
    with torch.no_grad():
        whole = model(image[None])[0, 2].item()
        for y in (0, 2, 4, 5):
            for x in (0, 3, 5):
                covered = image.clone()
                covered[0, y : y + 3, x : x + 4], covered[1, y : y + 3, x : x + 4] = 0.3, -0.2
                for pixel in ((row, column) for row in range(y, y + 3) for column in range(x, x + 4)):
                    falls[pixel].append(whole - model(covered[None])[0, 2].item())
    for (y, x), values in falls.items():
        assert found[y, x].item() == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_occlusion_windows_for_image_sizes() -> None:
    assert occlusion_window((28, 28)) == ((4, 4), (2, 2))
    assert occlusion_window((8, 32)) == ((1, 5), (1, 2))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_integrated_gradients_add_up_to_the_difference_of_the_logits(build: Build, activation: str) -> None:
    model, image = build(SMALL.replace("relu", activation), (1, 8, 8)), normal(1, 8, 8)
    black = torch.full_like(image, -0.4)
    with torch.no_grad():
        logits = model(torch.stack([image, black]))
    for target in range(3):
        found = complete_gradients(model, image, target, baseline=black)
        difference = (logits[0, target] - logits[1, target]).item()
        assert found.parts.sum().item() == pytest.approx(difference, rel=0.003)
        assert found.error == pytest.approx(abs(found.parts.sum().item() / difference - 1), abs=1e-5)


def test_steps_are_added_until_the_sum_is_right(build: Build) -> None:
    """On a network without a bend one point is as good as many; on one with ReLU it usually is not."""
    black, image = torch.full((1, 8, 8), -0.4), normal(1, 8, 8)
    straight = complete_gradients(build("[flatten, logits]", (1, 8, 8)), image, 0, baseline=black)
    assert straight.steps == attribution.STEPS
    assert straight.error < 1e-5
    bent = build(SMALL, (1, 8, 8))
    coarse = integrated_gradients(bent, image, 0, baseline=black, steps=2).sum()
    with torch.no_grad():
        logits = bent(torch.stack([image, black]))[:, 0]
    assert abs(coarse / (logits[0] - logits[1]) - 1) > 0.01
    assert complete_gradients(bent, image, 0, baseline=black).steps > attribution.STEPS


# Against another implementation


def test_captum_agrees(build: Build) -> None:
    captum = pytest.importorskip("captum.attr", reason="captum, of the extra dev, is not installed")
    model, image, black = build(SMALL, (2, 10, 12)), normal(2, 10, 12), torch.full((2, 10, 12), -0.4)
    inputs = image[None].clone().requires_grad_()
    theirs = {
        "gradient": captum.Saliency(model).attribute(inputs, target=1, abs=False)[0],
        "integrated": captum.IntegratedGradients(model).attribute(
            inputs, baselines=black[None], target=1, n_steps=256, method="riemann_middle"
        )[0],
        "gradcam": captum.LayerGradCam(model, model.get_submodule("conv2")).attribute(
            inputs, target=1, relu_attributions=True
        )[0, 0],
        "occlusion": captum.Occlusion(model).attribute(
            image[None], sliding_window_shapes=(2, 4, 4), strides=(2, 2, 2), baselines=black[None], target=1
        )[0, 0],
    }
    ours = {
        "gradient": gradient(model, image[None], 1)[0],
        "integrated": integrated_gradients(model, image, 1, baseline=black, steps=256),
        "gradcam": grad_cam(model, image, 1, layer="conv2"),
        "occlusion": occlusion(model, image, 1, fill=black, size=(4, 4), stride=(2, 2)),
    }
    for method, attributed in theirs.items():
        expected = attributed.detach()
        assert expected.abs().max() > 0
        assert torch.allclose(ours[method], expected, atol=1e-5 * float(expected.abs().max())), method


# A planted cue

CUE, SIDE = 5, 16


def planted(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, 16, 16), labels (N,), and masks (N, 16, 16) of where the cue is."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, SIDE, SIDE, generator=generator)
    labels = torch.randint(2, (count,), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    bars = (torch.arange(CUE) % 2 == 0).float().expand(CUE, CUE)
    for image, label, mask in zip(images, labels, masks, strict=True):
        y, x = torch.randint(SIDE - CUE + 1, (2,), generator=generator).tolist()
        image[0, y : y + CUE, x : x + CUE] = bars if label else bars.T
        mask[y : y + CUE, x : x + CUE] = True
    return images, labels, masks


@pytest.fixture(scope="module")
def trained_on_cue() -> CnnModule:
    """A network that has learned to recognize the cue."""
    layers = (
        "[{conv: {out_channels: 8, kernel_size: 3, activation: relu}}, "
        "{conv: {out_channels: 8, kernel_size: 3, activation: relu}}, global_max_pool, logits]"
    )
    torch.manual_seed(0)
    model = CnnModule(network_of(layers, (1, SIDE, SIDE), 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    images, labels, _ = planted(512, seed=1)
    for step in range(160):
        chosen = slice(step % 8 * 64, step % 8 * 64 + 64)
        loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    model.eval()
    images, labels, _ = planted(256, seed=2)
    assert (model(images).argmax(1) == labels).float().mean() > 0.97, "there is nothing to explain otherwise"
    return model


def maps_of(model: CnnModule, image: Tensor, target: int) -> dict[str, Tensor]:
    """The magnitude that each method gives to each pixel: (16, 16)."""
    fields = receptive_fields(graph_of(model.network, ""))["conv2"]
    assert isinstance(fields, ReceptiveFields)
    black = torch.zeros_like(image)
    return {
        "gradient": gradient(model, image[None], target)[0, 0].abs(),
        "smoothgrad": smooth_gradient(model, image, target, seed=0)[0].abs(),
        "integrated": integrated_gradients(model, image, target, baseline=black, steps=64)[0].abs(),
        "gradcam": overlay(grad_cam(model, image, target, layer="conv2"), fields.axes, (SIDE, SIDE)),
        "occlusion": occlusion(model, image, target, fill=black, size=(3, 3), stride=(1, 1)).abs(),
    }


def mass_on_the_cue(model: CnnModule) -> dict[str, float]:
    """The share of each method's magnitude that falls on the cue, averaged over images."""
    images, labels, masks = planted(24, seed=3)
    shares: dict[str, list[float]] = {}
    for image, label, mask in zip(images, labels.tolist(), masks, strict=True):
        for method, values in maps_of(model, image, label).items():
            shares.setdefault(method, []).append(float(values[mask].sum() / values.sum().clamp_min(1e-12)))
    return {method: sum(each) / len(each) for method, each in shares.items()}


def test_the_mass_falls_on_the_cue_and_collapses_with_random_weights(trained_on_cue: CnnModule) -> None:
    """As Adebayo et al. check, "Sanity Checks for Saliency Maps" (NeurIPS 2018): a map must depend on the weights."""
    torch.manual_seed(5)
    learned, by_chance = mass_on_the_cue(trained_on_cue), mass_on_the_cue(CnnModule(trained_on_cue.network).eval())
    area = CUE**2 / SIDE**2
    for method, share in learned.items():
        assert share > 3 * area, f"{method}: {share:.2f} of the mass on a tenth of the area"
        assert by_chance[method] < 0.6 * share, f"{method}: {by_chance[method]:.2f} without having learned anything"


def test_deleting_the_most_salient_pixels_hurts_more_than_deleting_random_ones(trained_on_cue: CnnModule) -> None:
    images, labels, _ = planted(24, seed=4)
    generator = torch.Generator().manual_seed(0)
    falls: dict[str, list[float]] = {}
    for image, label in zip(images, labels.tolist(), strict=True):
        maps = {**maps_of(trained_on_cue, image, label), "random": torch.rand(SIDE, SIDE, generator=generator)}
        with torch.no_grad():
            whole = trained_on_cue(image[None])[0]
            for method, values in maps.items():
                without = image.clone()
                without.flatten()[values.flatten().topk(12).indices] = 0
                logits = trained_on_cue(without[None])[0]
                margins = [each[label] - each[1 - label] for each in (whole, logits)]
                falls.setdefault(method, []).append(float(margins[0] - margins[1]))
    means = {method: sum(each) / len(each) for method, each in falls.items()}
    for method in means.keys() - {"random"}:
        assert means[method] > 3 * max(means["random"], 0), f"{method}: {means}"
