"""Pooling: one number for each window of each channel.

Letters: C channels, (H, W) input, (kh, kw) window, (OH, OW) output.
"""

from typing import Literal

import torch
from torch import Tensor

from cnncli.reference.windows import Size, pair, slide


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
