"""Dead filters: networks in which they are known, and how pictures mark them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

from cnncli.config.config import read_config
from cnncli.drawing.canvas import MARK, Box
from cnncli.drawing.color import Pixels, Scale
from cnncli.drawing.sheet import Drawing
from cnncli.module import CnnModule, seeded_module
from cnncli.views.dead_filters import can_be_dead, dead_channels, dead_in_pictures
from cnncli.views.feature_maps import feature_map_picture
from cnncli.views.kernels import kernel_picture
from cnncli.views.view import dead_caption

IMAGES = torch.rand(70, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def network(folder: Path, layers: str, end: str = "flatten, logits") -> CnnModule:
    """A module for 8x8 images in which nothing is random but the seed's weights."""
    path = folder / "dead.yaml"
    path.write_text(f"data: {{name: digits, size: 8}}\nmodel: {{layers: [{layers}, {end}]}}\n", encoding="utf-8")
    return seeded_module(read_config(str(path), data_dir=folder).network, 0)


def batches(images: Tensor = IMAGES) -> Iterator[tuple[Tensor, None]]:
    """Of different sizes, the last the smallest."""
    for start in range(0, len(images), 32):
        yield images[start : start + 32], None


CONV = "conv: {out_channels: 6, kernel_size: 3"


def test_negative_biases_make_filters_dead(tmp_path: Path) -> None:
    model = network(tmp_path, f"{{{CONV}, activation: relu}}}}")
    conv = model.get_submodule("conv1.conv")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias[:] = torch.tensor([0.0, -100.0, 0.0, 0.0, -100.0, 0.0])
    assert dead_channels(model, batches()) == {"conv1": (1, 4)}
    direct = F.conv2d(IMAGES, conv.weight, conv.bias).relu()  # (70, 6, 6, 6)
    assert [channel for channel in range(6) if not direct[:, channel].any()] == [1, 4]


@pytest.mark.parametrize("bright", [0, 40, 64])
def test_a_filter_active_at_one_position_of_one_image_is_not_dead(bright: int, tmp_path: Path) -> None:
    """One image, of any batch, has one bright pixel, in a corner that only one position sees."""
    model = network(tmp_path, f"{{{CONV}, activation: relu}}}}")
    conv = model.get_submodule("conv1.conv")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.constant_(conv.weight, 1.0)
    nn.init.constant_(conv.bias, -0.5)
    images = torch.zeros(65, 1, 8, 8)
    assert dead_channels(model, batches(images)) == {"conv1": tuple(range(6))}
    images[bright, 0, 7, 7] = 1.0
    assert dead_channels(model, batches(images)) == {"conv1": ()}


def test_a_filter_that_is_only_negative_is_not_dead(tmp_path: Path) -> None:
    """hardswish is below 0 from -3 to 0 and exactly 0 below -3: here at -4 everywhere but under the bright pixel."""
    model = network(tmp_path, f"{{{CONV}, activation: hardswish}}}}")
    conv = model.get_submodule("conv1.conv")
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, -4.0)
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.weight[:, 0, 1, 1] = torch.tensor([2.5, 1.0, 0.5, 0.0, 3.0, 8.0])
    images = torch.zeros(5, 1, 8, 8)
    images[2, 0, 4, 4] = 1.0
    assert dead_channels(model, batches(images)) == {"conv1": (1, 2, 3)}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "silu", "elu", "{leaky_relu: 0.01}", "none"])
def test_activations_that_are_never_zero_are_not_reported(activation: str, tmp_path: Path) -> None:
    model = network(tmp_path, f"{{{CONV}, activation: {activation}}}}}")
    assert can_be_dead(model.network) == ()
    assert dead_channels(model, batches()) == {}
    assert dead_in_pictures(model.network, {}) == {}


@pytest.mark.parametrize("activation", ["relu", "hardswish", "{leaky_relu: 0}"])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("apart", [False, True])
def test_norms_and_activations_inside_and_as_layers(activation: str, norm: str, apart: bool, tmp_path: Path) -> None:
    """What counts is what is after the activation, whether conv, norm and activation are one layer or three."""
    within = f"{{{CONV}, norm: {norm}, activation: {activation}}}}}"
    normalized = "batch_norm, " if norm == "batch" else ""
    model = network(tmp_path, f"{{{CONV}}}}}, {normalized}{activation}, {{max_pool: 2}}" if apart else within)
    shift = next(
        module.bias
        for type_ in (nn.BatchNorm2d, nn.Conv2d)
        for module in model.modules()
        if isinstance(module, type_) and module.bias is not None
    )
    with torch.no_grad():
        shift[3] = -1000.0
    name = activation.strip("{}").partition(":")[0] + "1" if apart else "conv1"
    found = dead_channels(model, batches())
    assert found == {name: (3,)}
    outlined = dead_in_pictures(model.network, found)
    expected = {
        name,
        "conv1",
        *(["max_pool1"] if apart else []),
        *(["batch_norm1"] if apart and norm == "batch" else []),
    }
    assert {layer: dead for layer, dead in outlined.items() if layer != "flatten1"} == dict.fromkeys(expected, (3,))


def test_a_filter_that_another_layer_reads_as_well_is_not_dead(tmp_path: Path) -> None:
    """The sum reads conv1 beside the ReLU: the filter is not lost, though the ReLU's channel is."""
    branch = "{branch: {merge: add, paths: [[relu], [identity]]}}"
    model = network(tmp_path, f"{{{CONV}}}}}, {branch}")
    conv = model.get_submodule("conv1")
    bias = next(module.bias for module in conv.modules() if isinstance(module, nn.Conv2d))
    assert bias is not None
    with torch.no_grad():
        bias[2] = -100.0
    found = dead_channels(model, batches())
    assert found == {"branch1.path1.relu1": (2,)}
    assert dead_in_pictures(model.network, found) == found


def test_linear_layers_and_sums_can_be_dead(tmp_path: Path) -> None:
    text = (
        f"{{residual: {{main: [{{{CONV}, padding: same, norm: batch}}}}], activation: relu}}}}, flatten, "
        "{linear: {out_features: 5, activation: relu, name: hidden}}"
    )
    model = network(tmp_path, text, end="logits")
    hidden = model.get_submodule("hidden.linear")
    assert isinstance(hidden, nn.Linear)
    with torch.no_grad():
        hidden.bias[:2] = -1000.0
    assert can_be_dead(model.network) == ("residual1.add", "hidden")
    assert dead_channels(model, batches()) == {"residual1.add": (), "hidden": (0, 1)}


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_unchanged(training: bool, tmp_path: Path) -> None:
    model = network(tmp_path, f"{{{CONV}, norm: batch, activation: relu}}}}, {{dropout: 0.5}}").train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    first, second = dead_channels(model, batches()), dead_channels(model, batches())
    assert first == second
    assert all(module.training is training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


def kernels(shape: tuple[int, ...], dead: tuple[int, ...] | None) -> Drawing:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return kernel_picture(weight, title="layer", dead=dead)


def around(picture: Drawing, box: Box) -> Pixels:
    """The line of pixels around a tile."""
    part = picture.pixels[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1]
    return np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])


def green(pixels: Pixels) -> int:
    return int((pixels == MARK).all(axis=-1).sum())


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (8, 4, 3, 3), (8, 4, 1, 1)])
def test_every_value_keeps_its_color(shape: tuple[int, ...]) -> None:
    marked, plain = kernels(shape, (2, 5)), kernels(shape, ())
    assert marked.boxes == plain.boxes, "nothing moves when a filter dies"
    for key, box in plain.boxes.items():
        assert np.array_equal(marked.colors(box), plain.colors(box)), key


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (8, 4, 3, 3)])
def test_dead_filters_are_framed(shape: tuple[int, ...]) -> None:
    picture = kernels(shape, (2, 5))
    for (output, _), box in picture.boxes.items():
        assert (around(picture, box) == MARK).all() == (output in (2, 5))


def test_where_there_is_no_gap_a_bar_stands_beside_the_row() -> None:
    picture = kernels((8, 4, 1, 1), (2, 5))
    for output in range(8):
        box = picture.boxes[output, 0]
        beside = picture.pixels[box.y : box.bottom, box.x - 4 : box.x - 2]
        assert (beside == MARK).all() == (output in (2, 5))


def test_dead_channels_are_framed() -> None:
    maps = torch.rand(6, 5, 5)
    maps[[1, 4]] = 0
    picture = feature_map_picture(maps, image=torch.rand(1, 8, 8), title="layer", dead=(1, 4))
    for (channel,), box in picture.boxes.items():
        assert (around(picture, box) == MARK).all() == (channel in (1, 4))


def test_where_none_is_dead_nothing_is_green() -> None:
    assert green(kernels((8, 4, 3, 3), ()).pixels) == green(kernels((8, 4, 3, 3), None).pixels) == 0


def test_the_caption_counts() -> None:
    assert dead_caption(None, of=8, what="filters") == []
    assert dead_caption((), of=8, what="filters") == ["0 of 8 filters dead"]
    assert dead_caption((2, 5), of=8, what="filters") == ["2 of 8 filters dead: outlined"]


@pytest.mark.parametrize("scale", [Scale(low=-1, high=1, signed=True), Scale(low=0, high=1, signed=False)])
def test_the_mark_is_on_no_color_scale(scale: Scale) -> None:
    distances = np.abs(scale.gradient(511)[0].astype(int) - MARK).max(axis=-1)
    assert distances.min() > 40
