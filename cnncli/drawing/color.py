"""Numbers as colors: a diverging scale for signed values and a sequential one for values from zero up.

Both scales are piecewise linear between the anchors below, so a color can be converted back to its value, up to the
256 levels of a channel. Values outside a scale have the color of its end. Values that are not finite have the color
`NOT_FINITE`, which is on neither scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""Red, green and blue in the last axis."""
Values: TypeAlias = npt.NDArray[np.float64]
Color: TypeAlias = tuple[int, int, int]

NEUTRAL: Color = (247, 247, 247)
NOT_FINITE: Color = (255, 0, 255)

# Position and color. Blue is negative, red positive; both halves darken equally.
DIVERGING: Sequence[tuple[float, Color]] = (
    (-1.0, (18, 58, 128)),
    (-0.5, (96, 158, 212)),
    (0.0, NEUTRAL),
    (0.5, (236, 128, 104)),
    (1.0, (138, 16, 36)),
)
# From dark to bright in about equal steps of lightness.
SEQUENTIAL: Sequence[tuple[float, Color]] = (
    (0.0, (18, 16, 40)),
    (0.25, (34, 66, 122)),
    (0.5, (26, 132, 148)),
    (0.75, (118, 192, 120)),
    (1.0, (253, 242, 160)),
)


def diverging(values: Values, limit: float) -> Pixels:
    """Colors of signed values on the scale from -limit to limit, with zero exactly `NEUTRAL`.

    Args:
        values: any shape.
        limit: 0 or more; with 0 there is no scale, and every finite value is `NEUTRAL`.

    Returns:
        The shape of `values` with an axis of three channels added.
    """
    return _colors(_ratio(values, limit), values, DIVERGING)


def sequential(values: Values, low: float, high: float) -> Pixels:
    """Colors of values on the scale from `low`, dark, to `high`, bright; dark throughout if high <= low.

    The result has the shape of `values` with an axis of three channels added.
    """
    return _colors(_ratio(values - low, high - low), values, SEQUENTIAL)


@dataclass(frozen=True)
class Scale:
    """The color scale of a drawing, from `low` to `high`; `signed` if it diverges from zero."""

    low: float
    high: float
    signed: bool

    @classmethod
    def symmetric(cls, values: Values) -> Self:
        """Diverging, and wide enough for the largest finite magnitude (0 if there is none)."""
        limit = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
        return cls(low=0.0 - limit, high=limit, signed=True)

    @classmethod
    def from_zero(cls, values: Values) -> Self:
        """Sequential, from 0 to the largest finite value (0 if there is none)."""
        return cls(low=0.0, high=float(values[np.isfinite(values)].max(initial=0.0)), signed=False)

    def colors(self, values: Values) -> Pixels:
        """The colors of values of any shape, with an axis of three channels added."""
        return diverging(values, self.high) if self.signed else sequential(values, self.low, self.high)

    def gradient(self, steps: int) -> Pixels:
        """All colors from `low` to `high` in equal steps, even if both are 0: (1, steps, 3)."""
        positions = np.linspace(-1.0 if self.signed else 0.0, 1.0, steps)[None]
        return diverging(positions, 1.0) if self.signed else sequential(positions, 0.0, 1.0)


def _ratio(values: Values, whole: float) -> Values:
    """`values / whole`, and 0 where `whole` is 0 or a value is not finite."""
    if whole <= 0:
        return np.zeros_like(values)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the scale is the color of its end
        ratio: Values = np.where(np.isfinite(values), values / whole, 0.0)
    return ratio


def _colors(positions: Values, values: Values, anchors: Sequence[tuple[float, Color]]) -> Pixels:
    stops = [stop for stop, _ in anchors]
    levels = zip(*(color for _, color in anchors), strict=True)
    channels = [np.interp(positions, stops, channel) for channel in levels]
    pixels: Pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    pixels[~np.isfinite(values)] = NOT_FINITE
    return pixels
