"""The chapter's own numbers, which every topic begins with."""

import torch
from torch import Tensor

from cnncli.explain.page import Values

X = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype=torch.float64)
"""The input, (3, 3)."""
K = torch.tensor([[0.0, 1], [2, 3]], dtype=torch.float64)
"""The kernel, (2, 2)."""
X_TWO = torch.stack([X, X + 1])
"""Two input channels, (2, 3, 3)."""
K_TWO = torch.stack([K, K + 1])
"""A kernel for two input channels, (2, 2, 2)."""
K_THREE = torch.stack([K_TWO, K_TWO + 1, K_TWO + 2])
"""Three of them, (3, 2, 2, 2)."""


def noise(side: int) -> Tensor:
    """Numbers between -1 and 1 without any pattern, (side, side), the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(side, side, generator=generator, dtype=torch.float64) * 2 - 1


def given(values: Values | None, otherwise: Tensor) -> Tensor:
    """The user's own numbers as a tensor, else the chapter's."""
    return otherwise if values is None else torch.from_numpy(values)
