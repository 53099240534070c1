"""A convolutional layer with weights of its own, trained through the loops of the definition."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Size: TypeAlias = int | tuple[int, int]
"""One number for both axes, or (height, width)."""


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def need_dimensions(name: str, value: Tensor, letters: str) -> None:
    """Raise ValueError unless `value` has one dimension per letter of, say, "C, H, W"."""
    if value.ndim != len(letters.split(", ")):
        raise ValueError(f"{name} must have the shape ({letters}), got {tuple(value.shape)}")


def padded(x: Tensor, padding: tuple[int, int], value: float) -> Tensor:
    """A copy of `x` (H, W) with `padding` rows and columns of `value` on each side: (H + 2ph, W + 2pw)."""
    (height, width), (ph, pw) = x.shape, padding
    framed = torch.full((height + 2 * ph, width + 2 * pw), value, dtype=x.dtype, device=x.device)
    framed[ph : ph + height, pw : pw + width] = x
    return framed


def slide(
    x: Tensor, window: tuple[int, int], *, stride: Size, padding: Size, dilation: Size = 1, fill: float = 0.0
) -> list[list[Tensor]]:
    """What the window sees at each stop: OH rows of OW tensors (kh, kw).

    OH = floor((H + 2p - d(kh - 1) - 1) / s) + 1, and OW likewise.

    Raises:
        ValueError: a size out of range, or a window that does not fit into the padded input.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window, pair(stride), pair(padding), pair(dilation)
    if min(kh, kw, sh, sw, dh, dw) < 1 or min(ph, pw) < 0:
        raise ValueError(
            f"window {(kh, kw)}, stride {(sh, sw)} and dilation {(dh, dw)} must be at least 1,"
            f" padding {(ph, pw)} at least 0"
        )
    x_padded = padded(x, (ph, pw), fill)
    height, width = x_padded.shape
    span_h, span_w = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    if span_h > height or span_w > width:
        raise ValueError(
            f"a window {(kh, kw)} with dilation {(dh, dw)} spans {(span_h, span_w)} and does not fit"
            f" into an input {tuple(x.shape)} with padding {(ph, pw)}"
        )
    return [
        [x_padded[i : i + span_h : dh, j : j + span_w : dw] for j in range(0, width - span_w + 1, sw)]
        for i in range(0, height - span_h + 1, sh)
    ]


@dataclass(frozen=True)
class Stop:
    """One place of the window.

    Attributes:
        output: the row and the column of the output that come of it.
        rows: of the input under the window; those outside 0 .. H - 1 are padding.
        columns: likewise.
        window: what is there, (kh, kw).
    """

    output: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    window: Tensor

    def products(self, kernel: Tensor) -> Tensor:
        """Each number under the window times the number of the kernel on it, (kh, kw); their sum is the output."""
        return self.window * kernel


def stops(
    x: Tensor,
    window: tuple[int, int],
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    fill: float = 0.0,
) -> list[Stop]:
    """Every stop of a window on x (H, W), row by row.

    Args:
        x: (H, W).
        window: (kh, kw).
        stride, padding, dilation: as in `corr2d`.
        fill: what the padding is made of.

    Raises:
        ValueError: as `corr2d`.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window, pair(stride), pair(padding), pair(dilation)
    return [
        Stop(
            output=(i, j),
            rows=tuple(i * sh - ph + dh * a for a in range(kh)),
            columns=tuple(j * sw - pw + dw * b for b in range(kw)),
            window=seen,
        )
        for i, row in enumerate(slide(x, window, stride=stride, padding=padding, dilation=dilation, fill=fill))
        for j, seen in enumerate(row)
    ]


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
    """Values (h, w) with `stride - 1` zeros between neighbors: (sh (h - 1) + 1, sw (w - 1) + 1)."""
    (height, width), (sh, sw) = values.shape, pair(stride)
    result = torch.zeros(sh * (height - 1) + 1, sw * (width - 1) + 1, dtype=values.dtype, device=values.device)
    result[::sh, ::sw] = values
    return result


def pool2d(
    x: Tensor,
    kernel_size: Size,
    *,
    mode: Literal["max", "average"] = "max",
    stride: Size | None = None,
    padding: Size = 0,
) -> Tensor:
    """The largest value, or the mean, of each window; every channel on its own.

    Padding is -inf for `max`, so that it never wins, and zeros that count for `average`, as in torch.

    Args:
        x: floating point, (H, W) or (C, H, W).
        kernel_size: of the window, one number or (kh, kw).
        mode: "max" or "average".
        stride: the window's own size if not given, so that windows touch and do not overlap.
        padding: at most half the window, so that no window lies in the padding alone.

    Returns:
        (OH, OW) or (C, OH, OW).

    Raises:
        ValueError: wrong dimensions or mode, integers, too much padding, or a window that does not fit.
    """
    if x.ndim == 3:
        return torch.stack([pool2d(channel, kernel_size, mode=mode, stride=stride, padding=padding) for channel in x])
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    if x.ndim != 2:
        raise ValueError(f"the input must have the shape (H, W) or (C, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"the input must hold floating point numbers, got {x.dtype} {tuple(x.shape)}")
    if mode not in ("max", "average"):
        raise ValueError(f'mode must be "max" or "average", got {mode!r}')
    if 2 * ph > kh or 2 * pw > kw:
        raise ValueError(f"padding {(ph, pw)} is more than half of the window {(kh, kw)}")
    fill = -torch.inf if mode == "max" else 0.0
    windows = slide(x, (kh, kw), stride=(kh, kw) if stride is None else stride, padding=padding, fill=fill)
    return torch.stack(
        [torch.stack([window.max() if mode == "max" else window.mean() for window in row]) for row in windows]
    )


Kernel = tuple[tuple[float, ...], ...]

EDGE: Kernel = ((1, -1),)
"""The difference of two neighbors: where white becomes black it gives 1, the other way round -1."""

SOBEL: Kernel = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
"""Vertical edges: what is on the right minus what is on the left (Sobel and Feldman, 1968)."""

SOBEL_ROWS: Kernel = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))
"""Horizontal edges: what is below minus what is above."""

BLUR: Kernel = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
"""A mean that weighs the middle most, after the binomial coefficients; it adds up to one."""

SHARPEN: Kernel = ((0, -1, 0), (-1, 5, -1), (0, -1, 0))
"""A pixel, plus how much it differs from its four neighbors."""

EMBOSS: Kernel = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
"""A pixel, plus the slope toward the lower right: as if light came from the side."""

CLASSIC: Mapping[str, Kernel] = MappingProxyType(
    {
        "vertical edges": SOBEL,
        "horizontal edges": SOBEL_ROWS,
        "blur": BLUR,
        "sharpen": SHARPEN,
        "emboss": EMBOSS,
    }
)
"""What a kernel does -> the kernel."""


@dataclass(frozen=True)
class Descended:
    """Where the descent is after `step` steps: the loss with this kernel, and a copy of the kernel."""

    step: int
    loss: float
    kernel: Tensor


def descend(
    predict: Callable[[], Tensor], kernel: Tensor, target: Tensor, *, rate: float, steps: int
) -> Iterator[Descended]:
    """Change a kernel, step by step, so that a prediction comes nearer to a target.

    The loss is the sum of squared differences. Each step takes away `rate` times its gradient.

    Args:
        predict: what the kernel makes of the input, in the shape of `target`.
        kernel: a leaf that requires gradients; it is changed in place.
        target: what should come out.
        rate: the learning rate.
        steps: how many to take.

    Yields:
        `steps + 1` times: at the start, then after each step.
    """
    for step in range(steps + 1):
        loss = (predict() - target).square().sum()
        yield Descended(step, loss.item(), kernel.detach().clone())
        (gradient,) = torch.autograd.grad(loss, kernel)
        with torch.no_grad():
            kernel -= rate * gradient


def steady_rate(x: Tensor, window: tuple[int, int]) -> float:
    """The learning rate at which descent on the squared difference of `corr2d(x, kernel)` is fastest.

    The loss is a bowl whose curvatures are twice the eigenvalues of `P^T P`, with the patches of x as the rows of P.
    The rate that shrinks the flattest and the steepest direction alike is 2 / (flattest + steepest) (Polyak, 1964).
    Directions in which the bowl is flat altogether, because x never shows them, do not count.

    Args:
        x: (H, W).
        window: (kh, kw) of the kernel.

    Returns:
        The rate; 0 if x is zero under every window, so that nothing can be learned from it.
    """
    patches = torch.stack([stop.window.reshape(-1) for stop in stops(x, window)])  # (OH OW, kh kw)
    curvatures = 2 * torch.linalg.eigvalsh(patches.T @ patches)
    steepest = curvatures.max().item()
    seen = curvatures[curvatures > steepest * 1e-9]
    return 2 / (seen.min().item() + steepest) if len(seen) else 0.0


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
