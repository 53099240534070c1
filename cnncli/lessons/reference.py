"""The operations of a convolutional layer, implemented as they are defined, in readable loops.

They are slow on purpose; compare them with `torch.nn.functional`. The names follow "Dive into Deep Learning" by Zhang
et al., chapter 7. Letters: N images, C input channels, O output channels, (H, W) input, (kh, kw) kernel, (OH, OW)
output; s stride, p padding, d dilation.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Size: TypeAlias = int | tuple[int, int]
"""One number for both axes, or (height, width)."""


@dataclass(frozen=True)
class WindowPosition:
    """One position of a sliding window.

    Attributes:
        output: (row, column) of the output computed here.
        rows: rows of the input under the window; those outside 0 .. H - 1 are padding.
        columns: columns of the input under the window, in the same form.
        patch: the numbers under the window, (kh, kw).
    """

    output: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    patch: Tensor

    def products(self, kernel: Tensor) -> Tensor:
        """The elementwise product of the patch and a kernel, both (kh, kw); its sum is the output."""
        return self.patch * kernel


def window_positions(
    x: Tensor,
    window: tuple[int, int],
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    fill: float = 0.0,
) -> list[WindowPosition]:
    """Every position of a window on an input, row by row.

    Args:
        x: (H, W).
        window: (kh, kw).
        stride: pixels from one position to the next.
        padding: rows and columns added on each side.
        dilation: pixels from one element of the window to the next.
        fill: value of the padding.

    Returns:
        OH x OW positions, with OH = floor((H + 2p - d(kh - 1) - 1) / s) + 1, and OW accordingly.

    Raises:
        ValueError: a size is out of range, or the window does not fit into the padded input.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window, _pair(stride), _pair(padding), _pair(dilation)
    if min(kh, kw, sh, sw, dh, dw) < 1 or min(ph, pw) < 0:
        raise ValueError(
            f"window {(kh, kw)}, stride {(sh, sw)} and dilation {(dh, dw)} must be at least 1, padding {(ph, pw)} at "
            "least 0"
        )
    height, width = x.shape
    span_h, span_w = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    if span_h > height + 2 * ph or span_w > width + 2 * pw:
        raise ValueError(
            f"a window {(kh, kw)} with dilation {(dh, dw)} spans {(span_h, span_w)} and does not fit into an input "
            f"{tuple(x.shape)} with padding {(ph, pw)}"
        )
    padded = x.new_full((height + 2 * ph, width + 2 * pw), fill)
    padded[ph : ph + height, pw : pw + width] = x
    positions = []
    for i, top in enumerate(range(0, height + 2 * ph - span_h + 1, sh)):
        for j, left in enumerate(range(0, width + 2 * pw - span_w + 1, sw)):
            rows, columns = range(top, top + span_h, dh), range(left, left + span_w, dw)
            positions.append(
                WindowPosition(
                    output=(i, j),
                    rows=tuple(row - ph for row in rows),
                    columns=tuple(column - pw for column in columns),
                    patch=padded[top : top + span_h : dh, left : left + span_w : dw],
                )
            )
    return positions


def corr2d(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Cross-correlation: Y[i, j] = sum over a, b of X[s i + d a - p, s j + d b - p] K[a, b], with X zero outside.

    This is what deep learning calls a convolution (`torch.nn.functional.conv2d`).

    Args:
        x: (H, W).
        kernel: (kh, kw).
        stride: pixels from one position of the kernel to the next.
        padding: rows and columns of zeros on each side.
        dilation: pixels from one weight of the kernel to the next.

    Returns:
        (OH, OW).

    Raises:
        ValueError: wrong dimensions, or a kernel that does not fit into the input.
    """
    _check_dimensions("the input", x, "H, W")
    _check_dimensions("the kernel", kernel, "kh, kw")
    kh, kw = kernel.shape
    positions = window_positions(x, (kh, kw), stride=stride, padding=padding, dilation=dilation)
    return _output(positions, [position.products(kernel).sum() for position in positions])


def conv2d(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Convolution as mathematics defines it: cross-correlation with the kernel flipped along both axes.

    Arguments, result and errors are those of `corr2d`.
    """
    _check_dimensions("the kernel", kernel, "kh, kw")
    return corr2d(x, kernel.flip(0, 1), stride=stride, padding=padding, dilation=dilation)


def corr2d_multi_in(x: Tensor, kernel: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Tensor:
    """Cross-correlate each input channel with its slice of the kernel, and sum over the channels.

    Args:
        x: (C, H, W).
        kernel: (C, kh, kw).
        stride: see `corr2d`; so for `padding` and `dilation`.
        padding: see `corr2d`.
        dilation: see `corr2d`.

    Returns:
        (OH, OW).

    Raises:
        ValueError: wrong dimensions, different numbers of channels, or a kernel that does not fit.
    """
    _check_dimensions("the input", x, "C, H, W")
    _check_dimensions("the kernel", kernel, "C, kh, kw")
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
    """One feature map for each kernel: (C, H, W) and kernels (O, C, kh, kw) -> (O, OH, OW).

    The other arguments are those of `corr2d`, the errors those of `corr2d_multi_in`.
    """
    _check_dimensions("the kernels", kernels, "O, C, kh, kw")
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
    _check_dimensions("the input", x, "C, H, W")
    _check_dimensions("the kernels", kernels, "O, C, 1, 1")
    channels, height, width = x.shape
    if kernels.shape[1:] != (channels, 1, 1):
        raise ValueError(
            f"kernels for an input {tuple(x.shape)} must have the shape (O, {channels}, 1, 1), got "
            f"{tuple(kernels.shape)}"
        )
    pixels = x.reshape(channels, height * width)  # (C, H, W) -> (C, H W)
    matrix = kernels.reshape(len(kernels), channels)  # (O, C, 1, 1) -> (O, C)
    return (matrix @ pixels).reshape(len(kernels), height, width)


def pool2d(
    x: Tensor,
    kernel_size: Size,
    *,
    mode: Literal["max", "average"] = "max",
    stride: Size | None = None,
    padding: Size = 0,
) -> Tensor:
    """The maximum or the mean of each window, channel by channel.

    Padding is -inf for `max`, so that it is never the maximum, and zeros that count for `average`, as in torch.

    Args:
        x: floating point, (H, W) or (C, H, W).
        kernel_size: of the window, one number or (kh, kw).
        mode: "max" or "average".
        stride: the size of the window by default, so that windows do not overlap.
        padding: at most half the window, so that no window covers padding only.

    Returns:
        (OH, OW) or (C, OH, OW).

    Raises:
        ValueError: wrong dimensions or mode, integers, too much padding, or a window that does not fit.
    """
    if x.ndim == 3:
        return torch.stack([pool2d(channel, kernel_size, mode=mode, stride=stride, padding=padding) for channel in x])
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    if x.ndim != 2:
        raise ValueError(f"the input must have the shape (H, W) or (C, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"the input must hold floating point numbers, got {x.dtype} {tuple(x.shape)}")
    if mode not in ("max", "average"):
        raise ValueError(f'mode must be "max" or "average", got {mode!r}')
    if 2 * ph > kh or 2 * pw > kw:
        raise ValueError(f"padding {(ph, pw)} is more than half of the window {(kh, kw)}")
    fill = -torch.inf if mode == "max" else 0.0
    positions = window_positions(x, (kh, kw), stride=(kh, kw) if stride is None else stride, padding=padding, fill=fill)
    return _output(positions, [each.patch.max() if mode == "max" else each.patch.mean() for each in positions])


@dataclass(frozen=True)
class Gradients:
    """The gradients of a loss with respect to the kernel (kh, kw) and the input (H, W) of a cross-correlation."""

    kernel: Tensor
    x: Tensor


def corr2d_backward(
    x: Tensor, kernel: Tensor, upstream: Tensor, *, stride: Size = 1, padding: Size = 0, dilation: Size = 1
) -> Gradients:
    """Backpropagate through `corr2d(x, kernel)` (Dumoulin and Visin, "A guide to convolution arithmetic", 2016).

    dL/dK is the input cross-correlated with `upstream`, with stride and dilation exchanged. dL/dX is `upstream`,
    dilated by the stride and padded with zeros, convolved with the kernel.

    Args:
        x: (H, W).
        kernel: (kh, kw).
        upstream: dL/dY, (OH, OW).
        stride: of the cross-correlation; so for `padding` and `dilation`.
        padding: see `stride`.
        dilation: see `stride`.

    Raises:
        ValueError: wrong dimensions, or a kernel that does not fit into the input.
    """
    _check_dimensions("the upstream gradient", upstream, "OH, OW")
    (kh, kw), (ph, pw), (dh, dw) = kernel.shape, _pair(padding), _pair(dilation)
    # Rows and columns after the last window are never read; they would extend the result beyond (kh, kw).
    for_kernel = corr2d(x, upstream, stride=dilation, padding=padding, dilation=stride)[:kh, :kw]
    full = conv2d(dilate(upstream, stride), kernel, padding=(dh * (kh - 1), dw * (kw - 1)), dilation=dilation)
    height, width = x.shape
    for_padded = upstream.new_zeros(height + 2 * ph, width + 2 * pw)
    for_padded[: full.shape[0], : full.shape[1]] = full
    return Gradients(kernel=for_kernel, x=for_padded[ph : ph + height, pw : pw + width])


def dilate(values: Tensor, factor: Size) -> Tensor:
    """Put `factor - 1` zeros between neighbors: (h, w) -> (fh (h - 1) + 1, fw (w - 1) + 1)."""
    (height, width), (fh, fw) = values.shape, _pair(factor)
    result = values.new_zeros(fh * (height - 1) + 1, fw * (width - 1) + 1)
    result[::fh, ::fw] = values
    return result


class Conv2D(nn.Module):
    """Cross-correlation plus bias: (N, C, H, W) -> (N, O, OH, OW).

    `weight` is (O, C, kh, kw) and `bias` is (O,), as in `torch.nn.Conv2d`. Both are initialized uniformly within
    +-1 / sqrt(C kh kw).
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
        kh, kw = _pair(kernel_size)
        bound = 1 / math.sqrt(in_channels * kh * kw)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kh, kw).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """One feature map for each kernel and image.

        Raises:
            ValueError: wrong dimensions or number of channels, or a kernel that does not fit.
        """
        _check_dimensions("the input", x, "N, C, H, W")
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        maps = torch.stack([corr2d_multi_in_out(image, self.weight, **settings) for image in x])
        return maps if self.bias is None else maps + self.bias[:, None, None]  # (O, 1, 1) over (N, O, OH, OW)


@dataclass(frozen=True)
class DescentStep:
    """The state of gradient descent after `step` steps: the loss, and a copy of the kernel."""

    step: int
    loss: float
    kernel: Tensor


def gradient_descent(
    predict: Callable[[], Tensor], kernel: Tensor, target: Tensor, *, learning_rate: float, steps: int
) -> Iterator[DescentStep]:
    """Minimize the sum of squared differences between a prediction and a target: K = K - learning_rate dL/dK.

    Args:
        predict: computes the prediction from the kernel, in the shape of `target`.
        kernel: a leaf that requires gradients; changed in place.
        target: the wanted output.
        learning_rate: step size.
        steps: number of steps.

    Yields:
        `steps + 1` states: the initial one, and one after each step.
    """
    for step in range(steps + 1):
        loss = (predict() - target).square().sum()
        yield DescentStep(step, loss.item(), kernel.detach().clone())
        (gradient,) = torch.autograd.grad(loss, kernel)
        with torch.no_grad():
            kernel -= learning_rate * gradient


def optimal_learning_rate(x: Tensor, window: tuple[int, int]) -> float:
    """The learning rate with which `gradient_descent` on `corr2d(x, kernel)` converges fastest.

    The loss is quadratic; its curvatures are twice the eigenvalues of `P^T P`, where the rows of P are the patches of
    x. The best rate is 2 / (smallest + largest curvature) (Polyak, 1964). Directions without curvature do not count:
    no patch of x depends on them.

    Args:
        x: (H, W).
        window: (kh, kw) of the kernel.

    Returns:
        The rate, or 0 if all patches of x are zero, so that nothing can be learned.
    """
    patches = torch.stack([position.patch.reshape(-1) for position in window_positions(x, window)])  # (OH OW, kh kw)
    curvatures = 2 * torch.linalg.eigvalsh(patches.T @ patches)
    largest = curvatures.max().item()
    nonzero = curvatures[curvatures > largest * 1e-9]
    return 2 / (nonzero.min().item() + largest) if len(nonzero) else 0.0


def _pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def _check_dimensions(name: str, value: Tensor, letters: str) -> None:
    """Raise ValueError unless `value` has one dimension for each letter of, say, "C, H, W"."""
    if value.ndim != len(letters.split(", ")):
        raise ValueError(f"{name} must have the shape ({letters}), got {tuple(value.shape)}")


def _output(positions: list[WindowPosition], values: list[Tensor]) -> Tensor:
    """One number for each position, as a matrix (OH, OW)."""
    height, width = (last + 1 for last in positions[-1].output)
    return torch.stack(values).reshape(height, width)
