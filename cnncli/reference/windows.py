"""A window that slides over one channel: where it stops, and what it sees there.

Letters: (H, W) input, (kh, kw) window, (OH, OW) output; s stride, p padding, d dilation, each per axis.
"""

from typing import TypeAlias

import torch
from torch import Tensor

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
