"""Kernels set by hand have the right colors, and pictures are read back into weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cnncli.cli.messages import show_log
from cnncli.drawing.color import Scale
from cnncli.drawing.layout import CAPTION_SIZE, HEIGHT, MARGIN, PAGE, WIDTH
from cnncli.drawing.sheet import Drawing, Strip
from cnncli.drawing.text import text_width
from cnncli.run import Run, load_run
from cnncli.views import kernels
from cnncli.views.kernels import Kernels, kernel_picture
from cnncli.views.view import Picture

Pixels = npt.NDArray[np.uint8]


Plant = Callable[[Mapping[str, Tensor]], Path]


Show = Callable[..., int]


Read = Callable[[Path, str], Pixels]


Tiles = Callable[..., list[Pixels]]


WHITE, BLUE, RED = [247, 247, 247], [18, 58, 128], [138, 16, 36]


PALE_BLUE, PALE_RED = [96, 158, 212], [236, 128, 104]


SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])


DELTA = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])


# Sobel, delta, all zero, and the delta's opposite: (4, 1, 3, 3).
FIRST = torch.stack([SOBEL, DELTA, torch.zeros(3, 3), -DELTA])[:, None]


FIRST_COLORS = [
    [[PALE_BLUE, WHITE, PALE_RED], [BLUE, WHITE, RED], [PALE_BLUE, WHITE, PALE_RED]],
    [[WHITE] * 3, [WHITE, RED, WHITE], [WHITE] * 3],
    [[WHITE] * 3] * 3,
    [[WHITE] * 3, [WHITE, BLUE, WHITE], [WHITE] * 3],
]


def listed(tiles: list[Pixels]) -> list[list[list[list[int]]]]:
    return [tile.tolist() for tile in tiles]


def huge() -> Tensor:
    """(6, 4, 3, 3): small weights and one that is not."""
    weight = torch.full((6, 4, 3, 3), 1e-3)
    weight[2, 1, 0, 2] = -1e6
    return weight


def numbered() -> Tensor:
    """(6, 4, 3, 3): kernel (o, i) is the number of its place, 1 to 24, in the corner."""
    weight = torch.zeros(6, 4, 3, 3)
    weight[:, :, 0, 0] = torch.arange(1.0, 25.0).reshape(6, 4)
    return weight


def places(tiles: list[Pixels], undiverging: Callable[[Pixels], npt.NDArray[np.float64]]) -> list[int]:
    """The numbers of `numbered` kernels as they stand in a picture."""
    return [round(24 * float(undiverging(tile)[0, 0])) for tile in tiles]


def ratio(tile: Pixels) -> npt.NDArray[np.float64]:
    """How far positive colors are along the red half of the scale, by their green."""
    return np.asarray(np.interp(tile[..., 1].astype(float), (16, 128, 247), (1.0, 0.5, 0.0)))


def test_planted_kernels_have_their_colors(plant: Plant, show: Show, png: Read, card: Read, tiles: Tiles) -> None:
    run = plant({"conv1.conv.weight": FIRST, "conv2.conv.weight": huge()})
    assert show("kernels", run) == 0
    assert listed(tiles(png(run, "kernels/01_conv1"), (3, 3))) == FIRST_COLORS
    assert listed(tiles(card(run, "kernels/01_conv1"), (3, 3))) == FIRST_COLORS
    second = listed(tiles(png(run, "kernels/03_conv2"), (3, 3)))
    assert len(second) == 24
    assert second.pop(2 * 4 + 1) == [[WHITE, WHITE, BLUE], [WHITE] * 3, [WHITE] * 3]
    assert second == [[[WHITE] * 3] * 3] * 23


def test_the_other_sign_swaps_the_colors(plant: Plant, show: Show, png: Read, tiles: Tiles) -> None:
    run = plant({"conv1.conv.weight": -FIRST})
    assert show("kernels", run, "--layer", "conv1") == 0
    swapped = listed(tiles(png(run, "kernels/01_conv1"), (3, 3)))
    opposite = {tuple(a): b for a, b in ((RED, BLUE), (BLUE, RED), (PALE_RED, PALE_BLUE), (PALE_BLUE, PALE_RED))}
    assert swapped == [[[opposite.get(tuple(cell), cell) for cell in row] for row in kernel] for kernel in FIRST_COLORS]


@pytest.mark.parametrize("tag", ["kernels/01_conv1", "kernels/03_conv2"])
def test_ten_times_the_weights_changes_only_the_printed_scale(
    tag: str, plant: Plant, show: Show, png: Read, card: Read
) -> None:
    weights = {"conv1.conv.weight": FIRST, "conv2.conv.weight": torch.linspace(-0.875, 1, 216).reshape(6, 4, 3, 3)}
    pictures = []
    for factor in (1, 10):
        run = plant({name: weight * factor for name, weight in weights.items()})
        assert show("kernels", run) == 0
        pictures.append((png(run, tag), card(run, tag)))
    for once, ten_times in zip(*pictures, strict=True):
        # The numbers may take another width, and the page with them.
        height, width = once.shape[0], min(once.shape[1], ten_times.shape[1])
        assert ten_times.shape[0] == height
        changed = np.argwhere((once[:, :width] != ten_times[:, :width]).any(axis=-1))
        assert len(changed)
        assert changed[:, 0].max() < 15  # in the line of the title
        assert changed[:, 1].min() > 40  # beyond the title


def test_tiles_stand_filter_by_filter(plant: Plant, show: Show, png: Read, tiles: Tiles) -> None:
    run = plant({"conv2.conv.weight": numbered()})
    assert show("kernels", run, "--layer", "conv2") == 0
    page = png(run, "kernels/03_conv2")
    assert places(tiles(page, (3, 3)), ratio) == list(range(1, 25))


def test_by_norm_the_largest_comes_first(plant: Plant, show: Show, png: Read, tiles: Tiles) -> None:
    run = plant({"conv2.conv.weight": numbered()})
    assert show("kernels", run, "--layer", "conv2", "--sort", "norm") == 0
    by_filter = [places(tiles(png(run, "kernels/03_conv2"), (3, 3)), ratio)[i : i + 4] for i in range(0, 24, 4)]
    assert by_filter == [[4 * o + i for i in range(1, 5)] for o in (5, 4, 3, 2, 1, 0)]


def test_each_kernel_may_have_its_own_scale(plant: Plant, show: Show, png: Read, card: Read, tiles: Tiles) -> None:
    weight = FIRST * torch.tensor([1.0, 1e-3, 1.0, 1e3])[:, None, None, None]
    run = plant({"conv1.conv.weight": weight})
    assert show("kernels", run, "--layer", "conv1", "--color-scale", "kernel") == 0
    for read in (png, card):
        assert listed(tiles(read(run, "kernels/01_conv1"), (3, 3))) == FIRST_COLORS


def test_all_layers_may_share_a_scale(plant: Plant, show: Show, png: Read, tiles: Tiles) -> None:
    run = plant({"conv1.conv.weight": FIRST, "conv2.conv.weight": torch.full((6, 4, 3, 3), -4.0)})
    assert show("kernels", run, "--color-scale", "run") == 0
    first, second = (listed(tiles(png(run, f"kernels/{name}"), (3, 3))) for name in ("01_conv1", "03_conv2"))
    assert first[1] == [[WHITE] * 3, [WHITE, PALE_RED, WHITE], [WHITE] * 3]  # 2 of 4
    assert second == [[[BLUE] * 3] * 3] * 24


WHITE, BLUE, RED, MAGENTA = [247, 247, 247], [18, 58, 128], [138, 16, 36], [255, 0, 255]


GRAY = [128, 128, 128]


def noise(channels: int = 1) -> Tensor:
    return torch.randint(256, (3, channels, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def values_of(picture: Picture) -> dict[str, npt.NDArray[np.float64]]:
    return {tile.label: tile.values for tile in picture.tiles}


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_filter_is_what_one_point_of_its_input_becomes(groups: int, run_of: Callable[..., Run]) -> None:
    run = run_of(f"[{{conv: {{out_channels: 4, kernel_size: 3}}}}, {{conv_transpose: {{out_channels: 6, "
                    f"kernel_size: [2, 3], groups: {groups}}}}}, flatten, logits]", noise())  # fmt: skip
    weight = run.model.get_parameter("conv_transpose1.conv.weight").detach()
    (picture,) = Kernels(layers=["conv_transpose1"]).pictures(run)
    shown = values_of(picture)
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


def test_depthwise_filters_have_one_input_each(run_of: Callable[..., Run]) -> None:
    run = run_of("[{conv: {out_channels: 4, kernel_size: 3}}, "
                    "{conv: {out_channels: 8, kernel_size: 3, groups: 4}}, flatten, logits]", noise())  # fmt: skip
    (picture,) = Kernels(layers=["conv2"]).pictures(run)
    weight = run.model.kernels()["conv2"].detach()
    assert list(values_of(picture)) == list("01234567")
    np.testing.assert_array_equal(values_of(picture)["5"], weight[5, 0].numpy().astype(np.float64))


def test_single_numbers_are_a_matrix(run_of: Callable[..., Run]) -> None:
    run = run_of("[{conv: {out_channels: 4, kernel_size: 3}}, {conv: {out_channels: 5, kernel_size: 1}}, "
                    "flatten, logits]", noise())  # fmt: skip
    (picture,) = Kernels(layers=["conv2"]).pictures(run)
    weight = run.model.kernels()["conv2"].detach().double().numpy()
    ((label, matrix),) = values_of(picture).items()
    assert label == "5 filters down, 4 inputs across"
    np.testing.assert_array_equal(matrix, weight[:, :, 0, 0])
    (own,) = Kernels(layers=["conv2"], color_scale="kernel").pictures(run)
    for output, tile in enumerate(own.tiles):
        np.testing.assert_array_equal(tile.values, weight[output : output + 1, :, 0, 0])
        assert tile.scale.high == np.abs(weight[output]).max()


def test_filters_of_colors_are_shown_in_color_too(run_of: Callable[..., Run], tiles: Tiles) -> None:
    run = run_of("[{conv: {out_channels: 3, kernel_size: 2}}, {conv: {out_channels: 2, kernel_size: 2}}, "
                    "flatten, logits]", noise(3))  # fmt: skip
    weight = run.model.kernels()["conv1"]
    with torch.no_grad():
        weight.zero_()
        weight[0, 0, 0, 0], weight[1, 1, 0, 1], weight[2, :, 1, 1] = 0.5, 0.5, -0.5
        weight[2, 2, 0, 0] = torch.nan
    first, color, second = Kernels().pictures(run)
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


def test_a_deep_layer_is_capped_and_a_page_shows_more_of_it(run_of: Callable[..., Run]) -> None:
    run = run_of("[{conv: {out_channels: 120, kernel_size: 3}}, {conv: {out_channels: 160, kernel_size: 3}}, "
                    "global_avg_pool, logits]", noise())  # fmt: skip
    (picture,) = Kernels(layers=["conv2"]).pictures(run)
    outputs, inputs = zip(*(map(int, label.split(",")) for label in values_of(picture)), strict=True)
    assert (max(inputs) + 1) * (max(outputs) + 1) == len(picture.tiles) < 120 * 160
    assert len(picture.tiles) > 5000
    assert picture.pixels.shape[1] <= 1000
    assert picture.card is not None
    assert picture.card.shape == (215, 304, 3)


Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def colors(picture: Drawing, output: int, input_: int) -> list[list[list[int]]]:
    rows: list[list[list[int]]] = picture.colors(picture.boxes[output, input_]).tolist()
    return rows


def test_a_delta_is_one_red_cell() -> None:
    weight = torch.zeros(2, 1, 3, 3)
    weight[0, 0, 0, 2] = 0.7
    picture = kernel_picture(weight, title="delta")
    assert colors(picture, 0, 0) == [[WHITE, WHITE, RED], [WHITE] * 3, [WHITE] * 3]
    assert colors(picture, 1, 0) == [[WHITE] * 3] * 3


def test_zero_weights_are_neutral() -> None:
    picture = kernel_picture(torch.zeros(2, 3, 2, 2), title="zero")
    assert all(colors(picture, *key) == [[WHITE] * 2] * 2 for key in [(0, 0), (0, 2), (1, 1)])


def test_one_huge_weight_sets_the_scale_of_the_layer() -> None:
    weight = torch.full((3, 2, 3, 3), 1e-3)
    weight[2, 1, 1, 1] = -1e6
    picture = kernel_picture(weight, title="huge")
    assert colors(picture, 2, 1)[1][1] == BLUE
    assert colors(picture, 0, 0) == [[WHITE] * 3] * 3


def test_the_other_sign_is_the_other_color() -> None:
    weight = torch.tensor([[[[1.0, -1.0], [0.5, -0.5]]]])
    plus, minus = kernel_picture(weight, title=""), kernel_picture(-weight, title="")
    assert colors(plus, 0, 0) == [[RED, BLUE], [[236, 128, 104], [96, 158, 212]]]
    assert colors(minus, 0, 0) == [[BLUE, RED], [[96, 158, 212], [236, 128, 104]]]


def test_ten_times_the_weights_changes_only_the_printed_numbers() -> None:
    weight = normal(6, 1, 5, 5).double()
    weight[0, 0, 0, 0] = 4.0
    once, ten_times = kernel_picture(weight, title="a"), kernel_picture(10 * weight, title="a")
    differing = np.argwhere((once.pixels != ten_times.pixels).any(axis=-1))
    assert len(differing) > 0
    assert differing[:, 0].max() < 15
    assert differing[:, 1].min() > WIDTH // 2
    assert once.boxes == ten_times.boxes


@pytest.mark.parametrize(
    "shape",
    [(6, 1, 5, 5), (16, 6, 5, 5), (64, 32, 3, 3), (32, 3, 3, 3), (8, 4, 1, 7), (4, 2, 3, 2), (10, 16, 1, 1),
     (160, 192, 1, 1), (1, 1, 1, 1), (64, 1, 3, 3), (64, 3, 11, 11), (2, 2, 120, 120)],
)  # fmt: skip  # a table
def test_the_pixels_can_be_read_back_into_the_weights(shape: tuple[int, ...], undiverging: Decode) -> None:
    weight = normal(*shape)
    picture = kernel_picture(weight, title="layer")
    limit = float(weight.abs().max())
    for key, box in picture.boxes.items():
        decoded = undiverging(picture.colors(box), limit)
        # 0.003: half a step of the green channel, which has 89 steps over half of the blue scale
        assert decoded == pytest.approx(weight[key].numpy(), abs=0.003 * limit)
    outputs, inputs = (max(key[axis] for key in picture.boxes) + 1 for axis in (0, 1))
    assert set(picture.boxes) == {(o, i) for o in range(outputs) for i in range(inputs)}
    if max(shape[2:]) < 100:
        assert picture.pixels.shape == (HEIGHT, WIDTH, 3)


def test_rows_are_filters_and_columns_are_inputs() -> None:
    boxes = kernel_picture(normal(16, 20, 3, 3), title="").boxes
    assert boxes[0, 0].y == boxes[0, 19].y
    assert boxes[0, 0].x < boxes[0, 1].x < boxes[0, 19].x
    assert boxes[0, 0].x == boxes[15, 0].x
    assert boxes[0, 0].y < boxes[1, 0].y < boxes[15, 0].y


def test_a_heat_map_has_no_gaps() -> None:
    boxes = kernel_picture(normal(10, 16, 1, 1), title="").boxes
    assert boxes[0, 1].x == boxes[0, 0].right
    assert boxes[1, 0].y == boxes[0, 0].bottom


def test_small_layers_are_shown_whole() -> None:
    assert len(kernel_picture(normal(16, 6, 5, 5), title="").boxes) == 16 * 6
    assert len(kernel_picture(normal(32, 1, 3, 3), title="").boxes) == 32
    assert len(kernel_picture(normal(64, 64, 1, 1), title="").boxes) == 64 * 64


def captions_of(weight: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The captions handed to the drawing, since letters cannot be read back from pixels."""
    captured: list[str] = []

    def draw_tiles(*_: object, captions: list[str], **__: object) -> None:
        captured.extend(captions)

    monkeypatch.setattr(kernels, "draw_tiles", draw_tiles)
    kernel_picture(weight, title="")
    return captured


def test_captions_say_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert captions_of(normal(6, 1, 5, 5), monkeypatch) == ["5x5, 6 filters"]
    assert captions_of(normal(16, 6, 5, 5), monkeypatch) == ["5x5, 16 filters down, 6 inputs across"]
    (caption,) = captions_of(normal(64, 32, 3, 3), monkeypatch)
    assert caption == "3x3, first 16 of 64 filters down, 28 of 32 inputs across"


def test_captions_count_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = normal(2, 1, 3, 3)
    weight[1, 0, 0, 0], weight[0, 0, 2, 2] = float("nan"), float("inf")
    assert captions_of(weight, monkeypatch)[1] == "2 of 18 weights are not finite: magenta"
    assert captions_of(torch.zeros(1, 1, 3, 3), monkeypatch)[1] == "every weight is 0"
    monkeypatch.undo()
    assert colors(kernel_picture(weight, title=""), 1, 0)[0][0] == MAGENTA


def test_the_longest_captions_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.full((2048, 1024, 1, 1), float("nan"))
    for caption in captions_of(weight, monkeypatch):
        assert text_width(caption, CAPTION_SIZE) <= WIDTH - 2 * MARGIN


def test_half_precision_and_gradients_do_not_matter() -> None:
    weight = normal(2, 2, 3, 3).bfloat16()
    expected = kernel_picture(weight.float(), title="a").pixels
    assert np.array_equal(kernel_picture(weight.requires_grad_(), title="a").pixels, expected)


def drawn(monkeypatch: pytest.MonkeyPatch, weight: torch.Tensor, **options: Any) -> dict[str, Any]:
    """What is handed to the drawing: `labels` of the strips, `captions`, `columns` and `scale`."""
    captured: dict[str, Any] = {}

    def draw_tiles(strips: list[Strip], *_: object, **others: Any) -> None:
        captured.update(others, labels=[strip.label for strip in strips])

    monkeypatch.setattr(kernels, "draw_tiles", draw_tiles)
    kernel_picture(weight, title="", **options)
    return captured


def test_by_norm_filters_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.zeros(4, 2, 2, 2)
    weight[0, 0, 0, 0] = 3.0  # norm 3
    weight[1, :, 0, 0] = 2.5  # norm 3.54, though no weight of it is as large
    weight[3, 1, 1, 1] = -4.0  # norm 4
    captured = drawn(monkeypatch, weight, by_norm=True)
    assert captured["labels"] == ["3", "1", "0", "2"]
    assert "filters by their L2 norm, the largest first" in captured["captions"]
    weight[2, 0, 0, 0] = float("nan")
    assert drawn(monkeypatch, weight, by_norm=True)["labels"] == ["2", "3", "1", "0"]
    assert drawn(monkeypatch, weight)["labels"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("depth", [1, 3])
def test_scales_of_their_own_are_printed_and_the_bar_has_no_number(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.tensor([0.5, -2.0])[:, None, None, None].expand(-1, depth, 5, 5)
    scales = [Scale(low=-high, high=high, signed=True) for high in (0.5, 2.0)]
    captured = drawn(monkeypatch, weight, scales=scales, sheet=PAGE)
    assert captured["labels"] == ["0 ±0.5", "1 ±2"]
    assert (captured["scale"].low, captured["scale"].high) == ("-max", "max")
    assert "each filter on its own scale, ± its largest weight" in captured["captions"]
    shared = drawn(monkeypatch, weight, scales=scales[:1] * 2, sheet=PAGE)
    assert shared["labels"] == ["0", "1"]
    assert shared["scale"] == scales[0]
    assert len(shared["captions"]) == 1


def test_with_groups_inputs_are_counted_from_the_first_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = drawn(monkeypatch, normal(8, 2, 3, 3), groups=4)
    assert captured["columns"] == ["+0", "+1"]
    assert captured["captions"] == ["3x3, 8 filters down, 2 inputs of each of 4 groups across"]
    assert drawn(monkeypatch, normal(8, 1, 3, 3), groups=8)["captions"] == ["3x3, 8 filters, 8 groups"]


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (16, 6, 5, 5), (512, 512, 3, 3), (64, 64, 1, 1), (1, 1, 1, 1)])
def test_a_page_is_as_large_as_it_must_be_and_no_larger(shape: tuple[int, ...]) -> None:
    picture = kernel_picture(normal(*shape), title="layer", sheet=PAGE)
    height, width, _ = picture.pixels.shape
    assert height <= PAGE.height
    assert width <= PAGE.width
    assert height - max(box.bottom for box in picture.boxes.values()) < 20
    assert len(picture.boxes) >= len(kernel_picture(normal(*shape), title="layer").boxes)
    assert all(max(shape[2:]) * box.scale <= 96 for box in picture.boxes.values())


def test_kernels_of_several_inputs_are_a_matrix_in_a_terminal(run: Path) -> None:
    """Those of one input are not: they are numbered in order."""
    with show_log(pytest.fail):
        opened = load_run(run, data_dir=run)
    first, deeper = Kernels().pictures(opened)
    assert {tile.row for tile in first.tiles} == {None}
    assert [(tile.row, tile.label) for tile in deeper.tiles] == [(o, f"{o},{i}") for o in range(6) for i in range(4)]
