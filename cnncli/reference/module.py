"""A convolutional layer with weights of its own, trained through the loops of the definition."""

import math

import torch
from torch import Tensor, nn

from cnncli.reference.cross_correlation import corr2d_multi_in_out
from cnncli.reference.windows import Size, need_dimensions, pair


class Conv2D(nn.Module):
    """Cross-correlation plus bias: (N, C, H, W) -> (N, O, OH, OW).

    `weight` is (O, C, kh, kw) and `bias` (O,), named and laid out as in `torch.nn.Conv2d`. Both start uniform
    within +-1 / sqrt(C kh kw).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kh, kw = pair(kernel_size)
        bound = 1 / math.sqrt(in_channels * kh * kw)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kh, kw).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """One feature map per kernel, for each image.

        Raises:
            ValueError: wrong dimensions or number of channels, or a kernel that does not fit.
        """
        need_dimensions("the input", x, "N, C, H, W")
        maps = torch.stack(
            [
                corr2d_multi_in_out(
                    image, self.weight, stride=self.stride, padding=self.padding, dilation=self.dilation
                )
                for image in x
            ]
        )
        return maps if self.bias is None else maps + self.bias[:, None, None]  # (O, 1, 1) over (N, O, OH, OW)
