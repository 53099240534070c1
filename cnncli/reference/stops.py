"""Where a window stops on one channel, and what it finds there: the definition, a step at a time.

Letters: (H, W) input, (kh, kw) window.
"""

from dataclasses import dataclass

from torch import Tensor

from cnncli.reference.windows import Size, pair, slide


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
