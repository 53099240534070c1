"""Cross-correlation, which deep learning calls convolution, from one channel to many.

Letters: C input channels, O output channels, (H, W) input, (kh, kw) kernel, (OH, OW) output.
`stride`, `padding` and `dilation` are one number or (height, width). Everything is differentiable.
"""

import torch
from torch import Tensor

from cnncli.reference.windows import Size, need_dimensions, slide


def corr2d(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Y[i, j] = sum over a, b of X[s i + d a - p, s j + d b - p] K[a, b], with X zero outside.

    Args:
        x: (H, W).
        kernel: (kh, kw).
        stride: pixels from one stop of the kernel to the next.
        padding: zeros on each side.
        dilation: pixels from one tap of the kernel to the next.

    Returns:
        (OH, OW).

    Raises:
        ValueError: wrong dimensions, or a kernel that does not fit into the input.
    """
    need_dimensions("the input", x, "H, W")
    need_dimensions("the kernel", kernel, "kh, kw")
    kh, kw = kernel.shape
    windows = slide(x, (kh, kw), stride=stride, padding=padding, dilation=dilation)
    return torch.stack([torch.stack([(window * kernel).sum() for window in row]) for row in windows])


def conv2d(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Convolution as in mathematics: cross-correlation with the kernel turned by 180 degrees.

    Arguments, result and errors are those of `corr2d`.
    """
    need_dimensions("the kernel", kernel, "kh, kw")
    return corr2d(x, kernel.flip(0, 1), stride=stride, padding=padding, dilation=dilation)


def corr2d_multi_in(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Each channel with its own slice of the kernel, then the sum over channels.

    Args:
        x: (C, H, W).
        kernel: (C, kh, kw).
        stride: as in `corr2d`, and so are `padding` and `dilation`.
        padding: see `stride`.
        dilation: see `stride`.

    Returns:
        (OH, OW).

    Raises:
        ValueError: wrong dimensions, different numbers of channels, or a kernel that does not fit.
    """
    need_dimensions("the input", x, "C, H, W")
    need_dimensions("the kernel", kernel, "C, kh, kw")
    if len(x) != len(kernel):
        raise ValueError(
            f"the input {tuple(x.shape)} has {len(x)} channels, the kernel {tuple(kernel.shape)} has {len(kernel)}"
        )
    channels = [
        corr2d(channel, slice_, stride=stride, padding=padding, dilation=dilation)
        for channel, slice_ in zip(x, kernel, strict=True)
    ]
    return torch.stack(channels).sum(dim=0)  # (C, OH, OW) -> (OH, OW)


def corr2d_multi_in_out(
    x: Tensor, kernels: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1
) -> Tensor:
    """One feature map per kernel.

    Args:
        x: (C, H, W).
        kernels: (O, C, kh, kw).
        stride: as in `corr2d`, and so are `padding` and `dilation`.
        padding: see `stride`.
        dilation: see `stride`.

    Returns:
        (O, OH, OW).

    Raises:
        ValueError: as `corr2d_multi_in`.
    """
    need_dimensions("the kernels", kernels, "O, C, kh, kw")
    return torch.stack(
        [corr2d_multi_in(x, kernel, stride=stride, padding=padding, dilation=dilation) for kernel in kernels]
    )


def corr2d_1x1(x: Tensor, kernels: Tensor) -> Tensor:
    """A 1x1 convolution as a matrix product: the same fully connected layer at every pixel.

    Args:
        x: (C, H, W).
        kernels: (O, C, 1, 1).

    Returns:
        (O, H, W).

    Raises:
        ValueError: wrong dimensions, kernels larger than 1x1, or different numbers of channels.
    """
    need_dimensions("the input", x, "C, H, W")
    need_dimensions("the kernels", kernels, "O, C, 1, 1")
    channels, height, width = x.shape
    if kernels.shape[1:] != (channels, 1, 1):
        raise ValueError(
            f"kernels for an input {tuple(x.shape)} must have the shape (O, {channels}, 1, 1),"
            f" got {tuple(kernels.shape)}"
        )
    pixels = x.reshape(channels, height * width)  # (C, H, W) -> (C, H W)
    matrix = kernels.reshape(len(kernels), channels)  # (O, C, 1, 1) -> (O, C)
    return (matrix @ pixels).reshape(len(kernels), height, width)
