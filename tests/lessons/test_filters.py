"""Classic filters on a step edge and on a constant image."""

import pytest
import torch

from cnncli.lessons.filters import BLUR, CLASSIC_FILTERS, EDGE, SHARPEN, SOBEL_X, SOBEL_Y
from cnncli.lessons.reference import corr2d

STEP = torch.tensor([[0.0, 0, 1, 1]] * 3)
"""Dark on the left, bright on the right."""


def test_edge_filters_detect_their_edges_only() -> None:
    assert corr2d(STEP, torch.tensor(SOBEL_X)).tolist() == [[4, 4]]
    assert corr2d(STEP, torch.tensor(SOBEL_Y)).tolist() == [[0, 0]]
    assert corr2d(STEP.T, torch.tensor(SOBEL_Y)).tolist() == [[4], [4]]
    assert corr2d(STEP[:1], torch.tensor(EDGE).float()).tolist() == [[0, -1, 0]]


@pytest.mark.parametrize("kernel", [BLUR, SHARPEN, CLASSIC_FILTERS["emboss"]])
def test_weights_add_up_to_one(kernel: tuple[tuple[float, ...], ...]) -> None:
    assert sum(map(sum, kernel)) == 1
