"""Kernels that people designed long before networks learned theirs."""

from collections.abc import Mapping
from types import MappingProxyType

Kernel = tuple[tuple[float, ...], ...]

EDGE: Kernel = ((1, -1),)
"""The difference of two neighbours: where white becomes black it gives 1, the other way round -1."""

SOBEL: Kernel = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
"""Vertical edges: what is on the right minus what is on the left (Sobel and Feldman, 1968)."""

SOBEL_ROWS: Kernel = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))
"""Horizontal edges: what is below minus what is above."""

BLUR: Kernel = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
"""A mean that weighs the middle most, after the binomial coefficients; it adds up to one."""

SHARPEN: Kernel = ((0, -1, 0), (-1, 5, -1), (0, -1, 0))
"""A pixel, plus how much it differs from its four neighbours."""

EMBOSS: Kernel = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
"""A pixel, plus the slope towards the lower right: as if light came from the side."""

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
