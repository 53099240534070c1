"""The torch modules that `torch.nn` does not have. Letters for shapes: N images, C channels, H height, W width."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses


class RmsNorm(nn.RMSNorm):
    """RMS norm in single precision also inside `torch.autocast`, as torch itself does it for layer norm."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (N, ..., F) over F."""
        return super().forward(x.to(self.weight.dtype))


class _OverChannels(nn.Module):
    """A norm of vectors, applied to the channels of each position: (N, C, H, W) to the same."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize each position of maps (N, C, H, W) over C."""
        normalized: Tensor = super().forward(maps.permute(0, 2, 3, 1))
        return normalized.permute(0, 3, 1, 2)


class ChannelNorm(_OverChannels, nn.LayerNorm):
    """Layer norm over the channels of each position."""


class ChannelRmsNorm(_OverChannels, RmsNorm):
    """RMS norm over the channels of each position."""


class LogSigmoid(nn.LogSigmoid):
    """The same by a softplus: in an ONNX file the logarithm of a sigmoid would be inexact, and NaN below -88."""

    def forward(self, x: Tensor) -> Tensor:
        """`log(sigmoid(x))` of each number."""
        return -F.softplus(-x)


class ChannelScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, channels: int, init: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), init))

    def forward(self, maps: Tensor) -> Tensor:
        """Multiply maps (N, C, ...) by the factors (C,)."""
        return maps * self.weight.view(-1, *[1] * (maps.ndim - 2))


class DropImages(nn.Module):
    """Dropout of whole images: in training, each is set to 0 with probability `p`, or divided by `1 - p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, maps: Tensor) -> Tensor:
        """Multiply maps (N, ...) by a factor for each image."""
        if not (self.training and self.p):
            return maps
        # The factors come from dropout, of which several processes draw one mask for the whole batch.
        return maps * F.dropout(maps.new_ones(len(maps), *[1] * (maps.ndim - 1)), self.p)


class MaxOfChannels(nn.Module):
    """The largest of each `pieces` neighboring channels."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, ...) to (N, C / pieces, ...)."""
        return torch.unflatten(maps, 1, (-1, self.pieces)).max(dim=2).values


class AttentionOverPositions(nn.Module):
    """Multi-head self-attention, where the positions of maps are the sequence.

    Weights are initialized like those of `nn.MultiheadAttention`.
    """

    def __init__(self, channels: int, num_heads: int, *, qkv_bias: bool, out_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, qkv_bias)
        self.out = nn.Linear(channels, channels, out_bias)
        nn.init.xavier_uniform_(self.qkv.weight)
        for each in (self.qkv, self.out):
            if each.bias is not None:
                nn.init.zeros_(each.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same; L = H W positions, D = C / heads channels of a head."""
        _, channels, height, width = maps.shape
        heads = (self.num_heads, channels // self.num_heads)
        parts = self.qkv(maps.flatten(2).transpose(1, 2)).chunk(3, dim=2)  # (N, L, C) each
        query, key, value = (torch.unflatten(each, 2, heads).transpose(1, 2) for each in parts)  # (N, heads, L, D)
        results = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.out(results.transpose(1, 2).flatten(2))  # (N, L, C)
        return torch.unflatten(output.transpose(1, 2), 2, (height, width))


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


class MultiplyPaths(nn.Module):
    """The product of paths, of which some may have a size of 1, or be vectors."""

    def forward(self, *paths: Tensor) -> Tensor:
        """Multiply paths (N, C or 1, H or 1, W or 1) or (N, C)."""
        axes = max(path.ndim for path in paths)
        first, *others = (path.view(*path.shape, *[1] * (axes - path.ndim)) for path in paths)
        for path in others:
            first = first * path
        return first


class MaxPaths(nn.Module):
    """The largest of paths."""

    def forward(self, *paths: Tensor) -> Tensor:
        """The largest of paths of one shape (N, C, H, W) or (N, F)."""
        largest = paths[0]
        for path in paths[1:]:
            largest = torch.maximum(largest, path)
        return largest


class MeanPaths(nn.Module):
    """The mean of paths."""

    def forward(self, *paths: Tensor) -> Tensor:
        """The mean of paths of one shape (N, C, H, W) or (N, F)."""
        total = paths[0]
        for path in paths[1:]:
            total = total + path
        return total / len(paths)


class PositionMeans(nn.Module):
    """`nn.AdaptiveAvgPool2d(1)` and `nn.Flatten`, whose strides for maps with channels last ONNX would imitate."""

    def forward(self, maps: Tensor) -> Tensor:
        """The mean of each channel, (N, C, H, W) to (N, C)."""
        return maps.mean((2, 3))


class BinMeans(nn.Module):
    """`nn.AdaptiveAvgPool2d` for one input size, as a product with a matrix per axis: (N, C, H, W) to (N, C, H', W').

    Args:
        rows: the rows of each of the H' bins.
        columns: the columns of each of the W' bins.
    """

    def __init__(self, rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        for name, bins in (("over_rows", rows), ("over_columns", columns)):
            matrix = torch.zeros(len(bins), bins[-1][-1] + 1)  # (H', H) or (W', W)
            for unit, positions in enumerate(bins):
                matrix[unit, positions[0] : positions[-1] + 1] = 1 / len(positions)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """The mean of each bin of maps (N, C, H, W)."""
        over_rows, over_columns = self.get_buffer("over_rows"), self.get_buffer("over_columns")
        return over_rows @ maps @ over_columns.T


class BinMaxima(nn.Module):
    """`nn.AdaptiveMaxPool2d` for one input size, as maxima of gathered rows and columns; see `BinMeans`."""

    def __init__(self, rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        for name, bins in (("rows", rows), ("columns", columns)):
            longest = max(map(len, bins))
            # The last position is repeated in shorter bins, which does not change their maximum.
            filled = [[*positions, *[positions[-1]] * (longest - len(positions))] for positions in bins]
            self.register_buffer(name, torch.tensor(filled), persistent=False)  # (H', longest) or (W', longest)

    def forward(self, maps: Tensor) -> Tensor:
        """The maximum of each bin of maps (N, C, H, W)."""
        over_rows = maps[:, :, self.get_buffer("rows")].amax(3)  # (N, C, H', W)
        return over_rows[..., self.get_buffer("columns")].amax(4)


class BlurPool(nn.Module):
    """A fixed filter of each channel, with a stride: (N, C, H, W) to (N, C, H', W').

    Args:
        padding: what pads the maps before.
        rows: weights along the height, (kh,).
        columns: weights along the width, (kw,).
        stride: of height and width.
    """

    def __init__(
        self, padding: nn.Module, rows: Sequence[float], columns: Sequence[float], stride: tuple[int, int]
    ) -> None:
        super().__init__()
        self.padding, self.stride = padding, stride
        self.register_buffer("kernel", torch.tensor(rows)[:, None] * torch.tensor(columns), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Filter maps (N, C, H, W)."""
        channels, kernel = maps.shape[1], self.get_buffer("kernel")
        kernels = kernel.expand(channels, 1, *kernel.shape)  # (C, 1, kh, kw)
        return F.conv2d(self.padding(maps), kernels, stride=self.stride, groups=channels)


class AppendCoordinates(nn.Module):
    """Two more channels, the row and the column of each position from -1 to 1: (N, C, H, W) to (N, C + 2, H, W)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Append the coordinates to maps (N, C, H, W)."""
        rows, columns = (
            torch.linspace(-1 if size > 1 else 0, 1, size, dtype=maps.dtype, device=maps.device) for size in self.size
        )
        each = (rows[:, None].expand(self.size), columns.expand(self.size))
        return torch.cat([maps, torch.stack(each).expand(maps.shape[0], -1, -1, -1)], dim=1)


def chain(parts: dict[str, nn.Module]) -> nn.Sequential:
    """Modules one after another, under their names."""
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence
