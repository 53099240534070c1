"""The torch modules that `torch.nn` does not have. Letters for shapes: N images, C channels, H height, W width."""

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position: (N, C, H, W) to the same."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize each position of maps (N, C, H, W) over C."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, channels: int, init: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), init))

    def forward(self, maps: Tensor) -> Tensor:
        """Multiply maps (N, C, ...) by the factors (C,)."""
        return maps * self.weight.view(-1, *[1] * (maps.ndim - 2))


class AddPaths(nn.Module):
    """The sum of paths, then an activation."""

    def __init__(self, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, *paths: Tensor) -> Tensor:
        """Add paths of one shape (N, C, H, W) or (N, F)."""
        total = paths[0]
        for path in paths[1:]:
            total = total + path
        return total if self.activation is None else self.activation(total)


class ConcatPaths(nn.Module):
    """The channels of paths one after another."""

    def forward(self, *paths: Tensor) -> Tensor:
        """Concatenate paths (N, C_i, H, W) to (N, sum of C_i, H, W)."""
        return torch.cat(paths, dim=1)


def chain(parts: dict[str, nn.Module]) -> nn.Sequential:
    """Modules one after another, under their names."""
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence
