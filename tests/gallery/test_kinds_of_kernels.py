"""Convolutions that are not like others: transposed, in groups, 1x1, of colors; and networks without any."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from cnncli.config.config import read_config
from cnncli.data.batches import Normalization
from cnncli.data.images import ImageSet
from cnncli.errors import UsageError
from cnncli.module import seeded_module
from cnncli.run import Run, RunData
from cnncli.views.everything import everything
from cnncli.views.kernels import kernels
from cnncli.views.view import Exhibit

Pixels = npt.NDArray[np.uint8]
Tiles = Callable[..., list[Pixels]]

WHITE, BLUE, RED, MAGENTA = [247, 247, 247], [18, 58, 128], [138, 16, 36], [255, 0, 255]
GRAY = [128, 128, 128]


@pytest.fixture
def untrained(tmp_path: Path) -> Callable[..., Run]:
    """A run of some layers with the weights of its seed, on images of noise."""

    def make(layers: str, channels: int = 1, size: int = 8) -> Run:
        path = tmp_path / "some.yaml"
        section = f"data: {{name: digits, size: {size}, channels: {channels}}}"
        path.write_text(f"version: 1\nname: some\n{section}\nmodel: {{layers: {layers}}}\n", encoding="utf-8")
        config = read_config(str(path), data_dir=tmp_path)
        pixels = torch.randint(256, (3, *config.network.input_shape), dtype=torch.uint8)
        data = RunData(
            splits={"test": (ImageSet(images=pixels, labels=torch.tensor([1, 2, 3])), None)},
            normalization=Normalization.none(channels),
        )
        return Run(
            path=tmp_path,
            config=config,
            model=seeded_module(config.network, 0).eval(),
            epoch=1,
            step=1,
            load_data=lambda: data,
        )

    return make


def values_of(exhibit: Exhibit) -> dict[str, npt.NDArray[np.float64]]:
    return {tile.label: tile.values for tile in exhibit.tiles}


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_filter_is_what_one_point_of_its_input_becomes(groups: int, untrained: Callable[..., Run]) -> None:
    run = untrained(f"[{{conv: {{out_channels: 4, kernel_size: 3}}}}, {{conv_transpose: {{out_channels: 6, "
                    f"kernel_size: [2, 3], groups: {groups}}}}}, flatten, logits]")  # fmt: skip
    weight = run.model.get_parameter("conv_transpose1.conv.weight").detach()
    (exhibit,) = kernels(run, layers=["conv_transpose1"])
    shown = values_of(exhibit)
    assert len(shown) == 6 * 4 // groups
    for input_ in range(4):
        point = torch.zeros(1, 4, 1, 1)
        point[0, input_] = 1
        answer = functional.conv_transpose2d(point, weight, groups=groups)[0]  # (6, 2, 3)
        for output in range(6):
            if output // (6 // groups) != input_ // (4 // groups):
                assert not answer[output].any()
                continue
            label = f"{output},{input_}" if groups == 1 else f"{output},+{input_ % 2}"
            np.testing.assert_allclose(shown[label], answer[output].numpy())


def test_depthwise_filters_have_one_input_each(untrained: Callable[..., Run]) -> None:
    run = untrained("[{conv: {out_channels: 4, kernel_size: 3}}, "
                    "{conv: {out_channels: 8, kernel_size: 3, groups: 4}}, flatten, logits]")  # fmt: skip
    (exhibit,) = kernels(run, layers=["conv2"])
    weight = run.model.kernels()["conv2"].detach()
    assert list(values_of(exhibit)) == list("01234567")
    np.testing.assert_array_equal(values_of(exhibit)["5"], weight[5, 0].numpy().astype(np.float64))


def test_single_numbers_are_a_matrix(untrained: Callable[..., Run]) -> None:
    run = untrained("[{conv: {out_channels: 4, kernel_size: 3}}, {conv: {out_channels: 5, kernel_size: 1}}, "
                    "flatten, logits]")  # fmt: skip
    (exhibit,) = kernels(run, layers=["conv2"])
    weight = run.model.kernels()["conv2"].detach().double().numpy()
    ((label, matrix),) = values_of(exhibit).items()
    assert label == "5 filters down, 4 inputs across"
    np.testing.assert_array_equal(matrix, weight[:, :, 0, 0])
    (own,) = kernels(run, layers=["conv2"], scale="kernel")
    for output, tile in enumerate(own.tiles):
        np.testing.assert_array_equal(tile.values, weight[output : output + 1, :, 0, 0])
        assert tile.scale.high == np.abs(weight[output]).max()


def test_filters_of_colors_are_shown_in_color_too(untrained: Callable[..., Run], tiles: Tiles) -> None:
    run = untrained("[{conv: {out_channels: 3, kernel_size: 2}}, {conv: {out_channels: 2, kernel_size: 2}}, "
                    "flatten, logits]", channels=3)  # fmt: skip
    weight = run.model.kernels()["conv1"]
    with torch.no_grad():
        weight.zero_()
        weight[0, 0, 0, 0], weight[1, 1, 0, 1], weight[2, :, 1, 1] = 0.5, 0.5, -0.5
        weight[2, 2, 0, 0] = torch.nan
    first, color, second = kernels(run)
    assert [each.tag for each in (first, color, second)] == [
        "kernels/01_conv1",
        "kernels/01_conv1_rgb",
        "kernels/02_conv2",
    ]
    for pixels in (color.pixels, color.card):
        red, green, black = (tile.tolist() for tile in tiles(pixels, (2, 2)))
        assert red == [[[255, 128, 128], GRAY], [GRAY, GRAY]]
        assert green == [[GRAY, [128, 255, 128]], [GRAY, GRAY]]
        assert black == [[MAGENTA, GRAY], [GRAY, [1, 1, 1]]]
    channels = tiles(first.pixels, (2, 2))
    assert channels[0].tolist() == [[RED, WHITE], [WHITE, WHITE]]
    assert channels[1].tolist() == [[WHITE, WHITE], [WHITE, WHITE]]


def test_a_deep_layer_is_capped_and_a_page_shows_more_of_it(untrained: Callable[..., Run]) -> None:
    run = untrained("[{conv: {out_channels: 120, kernel_size: 3}}, {conv: {out_channels: 160, kernel_size: 3}}, "
                    "global_avg_pool, logits]")  # fmt: skip
    (exhibit,) = kernels(run, layers=["conv2"])
    outputs, inputs = zip(*(map(int, label.split(",")) for label in values_of(exhibit)), strict=True)
    assert (max(inputs) + 1) * (max(outputs) + 1) == len(exhibit.tiles) < 120 * 160
    assert len(exhibit.tiles) > 5000
    assert exhibit.pixels.shape[1] <= 1000
    assert exhibit.card is not None
    assert exhibit.card.shape == (215, 304, 3)


def test_a_network_without_convolutions_has_none_and_the_others_are_shown(
    untrained: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    run = untrained("[flatten, {linear: 5}, logits]")
    with pytest.raises(UsageError, match="no layer of this network has kernels"):
        list(kernels(run))
    list(everything(run))
    assert any(line.startswith("no kernels: ") for line in caplog.messages)
    assert any(line.startswith("no features: ") for line in caplog.messages)
