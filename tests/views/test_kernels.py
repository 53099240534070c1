"""Kernels planted in a checkpoint, read back from the PNG and from the event file: their colors and their order.

The pictures are read without asking the program where the tiles are.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

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
    assert show("kernels", run, "--layer", "conv1", "--scale", "kernel") == 0
    for read in (png, card):
        assert listed(tiles(read(run, "kernels/01_conv1"), (3, 3))) == FIRST_COLORS


def test_all_layers_may_share_a_scale(plant: Plant, show: Show, png: Read, tiles: Tiles) -> None:
    run = plant({"conv1.conv.weight": FIRST, "conv2.conv.weight": torch.full((6, 4, 3, 3), -4.0)})
    assert show("kernels", run, "--scale", "run") == 0
    first, second = (listed(tiles(png(run, f"kernels/{name}"), (3, 3))) for name in ("01_conv1", "03_conv2"))
    assert first[1] == [[WHITE] * 3, [WHITE, PALE_RED, WHITE], [WHITE] * 3]  # 2 of 4
    assert second == [[[BLUE] * 3] * 3] * 24
