"""Effective receptive fields against numbers worked by hand."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from cnncli.config.config import read_config
from cnncli.module import CnnModule
from cnncli.views.effective_receptive_field import SHARES, gradients, square_sides

TWO_OF_ONES = """
version: 1
name: ones
data: {name: digits, size: 11}
model:
  layers:
    - conv: {out_channels: 1, kernel_size: 3, padding: same, bias: false}
    - conv: {out_channels: 1, kernel_size: 3, padding: same, bias: false}
    - global_avg_pool
    - logits
"""


def test_two_convolutions_of_ones(tmp_path: Path) -> None:
    """Rows of weights 1 2 3 2 1, and as many columns: the center has 9 of 81, the 3x3 around it 49."""
    path = tmp_path / "ones.yaml"
    path.write_text(TWO_OF_ONES)
    model = CnnModule(read_config(str(path), data_dir=tmp_path).network)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    found = gradients(model, "conv2", (5, 5), torch.zeros(3, 1, 11, 11))
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])
    assert np.array_equal(found, expected)
    assert square_sides(found, (5.0, 5.0)) == {20: 3, 50: 3, 90: 5, 99: 5}


def test_squares_around_a_center_between_pixels() -> None:
    """A kernel of two has its center between them: its squares have even sides."""
    weights = np.zeros((6, 6))
    weights[2:4, 2:4] = 0.25
    assert square_sides(weights, (2.5, 2.5)) == dict.fromkeys(SHARES, 2)
