"""What the classic kernels promise."""

import pytest
import torch

from cnncli.lessons.reference import BLUR, CLASSIC, EDGE, SHARPEN, SOBEL, SOBEL_ROWS, corr2d

STEP = torch.tensor([[0.0, 0, 1, 1]] * 3)
"""Black on the left, white on the right."""


def test_edges_are_found_and_even_ground_is_not() -> None:
    assert corr2d(STEP, torch.tensor(SOBEL)).tolist() == [[4, 4]]
    assert corr2d(STEP, torch.tensor(SOBEL_ROWS)).tolist() == [[0, 0]]
    assert corr2d(STEP.T, torch.tensor(SOBEL_ROWS)).tolist() == [[4], [4]]
    assert corr2d(STEP[:1], torch.tensor(EDGE).float()).tolist() == [[0, -1, 0]]


@pytest.mark.parametrize("kernel", [BLUR, SHARPEN, CLASSIC["emboss"]])
def test_even_ground_stays_as_it_is(kernel: tuple[tuple[float, ...], ...]) -> None:
    assert sum(map(sum, kernel)) == 1
