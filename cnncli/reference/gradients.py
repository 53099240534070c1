"""The gradients of a cross-correlation, which are a correlation and a convolution themselves.

Letters: (H, W) input, (kh, kw) kernel, (OH, OW) output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnncli.reference.cross_correlation import conv2d, corr2d
from cnncli.reference.windows import Size, need_dimensions, pair


@dataclass(frozen=True)
class Gradients:
    """How a loss changes with the kernel (kh, kw) and with the input (H, W) of a cross-correlation."""

    kernel: Tensor
    x: Tensor


def corr2d_backward(
    x: Tensor, kernel: Tensor, upstream: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1
) -> Gradients:
    """Carry the gradient of a loss back through `corr2d(x, kernel)`.

    For the kernel it is the input correlated with `upstream`, in which stride and dilation have changed places. For
    the input it is `upstream`, spread out by the stride and framed with zeros, convolved with the kernel.

    Args:
        x: (H, W).
        kernel: (kh, kw).
        upstream: the loss's gradient for the output, (OH, OW).
        stride, padding, dilation: of the cross-correlation.

    Raises:
        ValueError: wrong dimensions, or a kernel that does not fit into the input.
    """
    need_dimensions("the upstream gradient", upstream, "OH, OW")
    (kh, kw), (ph, pw), (dh, dw) = kernel.shape, pair(padding), pair(dilation)
    # The last windows may end before the input does: rows and columns that none of them reads come out as surplus.
    for_kernel = corr2d(x, upstream, stride=dilation, padding=padding, dilation=stride)[:kh, :kw]
    frame = (dh * (kh - 1), dw * (kw - 1))
    reached = conv2d(spread(upstream, stride), kernel, padding=frame, dilation=dilation)
    height, width = x.shape
    for_padded = upstream.new_zeros(height + 2 * ph, width + 2 * pw)
    for_padded[: reached.shape[0], : reached.shape[1]] = reached
    return Gradients(kernel=for_kernel, x=for_padded[ph : ph + height, pw : pw + width])


def spread(values: Tensor, stride: Size) -> Tensor:
    """Values (h, w) with `stride - 1` zeros between neighbours: (sh (h - 1) + 1, sw (w - 1) + 1)."""
    (height, width), (sh, sw) = values.shape, pair(stride)
    result = torch.zeros(sh * (height - 1) + 1, sw * (width - 1) + 1, dtype=values.dtype, device=values.device)
    result[::sh, ::sw] = values
    return result
