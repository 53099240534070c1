"""Filters that people designed long before networks learned them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

Filter: TypeAlias = tuple[tuple[float, ...], ...]

EDGE: Filter = ((1, -1),)
"""The difference of two neighbors: 1 where bright is left of dark, -1 where dark is left of bright."""

SOBEL_X: Filter = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
"""Vertical edges: right minus left (Sobel and Feldman, 1968)."""

SOBEL_Y: Filter = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))
"""Horizontal edges: below minus above."""

BLUR: Filter = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))
"""A binomial (approximately Gaussian) blur; the weights add up to one."""

SHARPEN: Filter = ((0, -1, 0), (-1, 5, -1), (0, -1, 0))
"""The pixel minus the Laplacian: it adds how much the pixel differs from its four neighbors."""

EMBOSS: Filter = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
"""The pixel plus the slope toward the lower right, as if light came from the side."""

CLASSIC_FILTERS: Mapping[str, Filter] = MappingProxyType(
    {
        "vertical edges": SOBEL_X,
        "horizontal edges": SOBEL_Y,
        "blur": BLUR,
        "sharpen": SHARPEN,
        "emboss": EMBOSS,
    }
)
"""Effect -> filter."""
