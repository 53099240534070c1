"""Kernels set by hand have the colors they must have, and pictures can be read back into weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cnncli.drawing.canvas import text_width
from cnncli.drawing.color import Scale
from cnncli.drawing.grid import Picture, Strip
from cnncli.drawing.layout import CAPTION_SIZE, HEIGHT, MARGIN, PAGE, WIDTH
from cnncli.views import kernels
from cnncli.views.kernels import kernel_picture

Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]
WHITE, BLUE, RED, MAGENTA = [247, 247, 247], [18, 58, 128], [138, 16, 36], [255, 0, 255]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def colors(picture: Picture, output: int, input_: int) -> list[list[list[int]]]:
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
    seen: list[str] = []

    def compose(*_: object, captions: list[str], **__: object) -> None:
        seen.extend(captions)

    monkeypatch.setattr(kernels, "compose", compose)
    kernel_picture(weight, title="")
    return seen


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
    seen: dict[str, Any] = {}

    def compose(strips: list[Strip], *_: object, **others: Any) -> None:
        seen.update(others, labels=[strip.label for strip in strips])

    monkeypatch.setattr(kernels, "compose", compose)
    kernel_picture(weight, title="", **options)
    return seen


def test_by_norm_filters_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.zeros(4, 2, 2, 2)
    weight[0, 0, 0, 0] = 3.0  # norm 3
    weight[1, :, 0, 0] = 2.5  # norm 3.54, though no weight of it is as large
    weight[3, 1, 1, 1] = -4.0  # norm 4
    seen = drawn(monkeypatch, weight, by_norm=True)
    assert seen["labels"] == ["3", "1", "0", "2"]
    assert "filters by their L2 norm, the largest first" in seen["captions"]
    weight[2, 0, 0, 0] = float("nan")
    assert drawn(monkeypatch, weight, by_norm=True)["labels"] == ["2", "3", "1", "0"]
    assert drawn(monkeypatch, weight)["labels"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("depth", [1, 3])
def test_scales_of_their_own_are_printed_and_the_bar_has_no_number(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.tensor([0.5, -2.0])[:, None, None, None].expand(-1, depth, 5, 5)
    scales = [Scale(low=-high, high=high, signed=True) for high in (0.5, 2.0)]
    seen = drawn(monkeypatch, weight, scales=scales, sheet=PAGE)
    assert seen["labels"] == ["0 ±0.5", "1 ±2"]
    assert (seen["scale"].low, seen["scale"].high) == ("-max", "max")
    assert "each filter on its own scale, ± its largest weight" in seen["captions"]
    shared = drawn(monkeypatch, weight, scales=scales[:1] * 2, sheet=PAGE)
    assert shared["labels"] == ["0", "1"]
    assert shared["scale"] == scales[0]
    assert len(shared["captions"]) == 1


def test_with_groups_inputs_are_counted_from_the_first_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = drawn(monkeypatch, normal(8, 2, 3, 3), groups=4)
    assert seen["columns"] == ["+0", "+1"]
    assert seen["captions"] == ["3x3, 8 filters down, 2 inputs of each of 4 groups across"]
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
