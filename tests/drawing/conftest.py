"""The way back from a color to its value, for the tests of pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Decode = Callable[[npt.NDArray[np.uint8], float], npt.NDArray[np.float64]]


@pytest.fixture
def undiverging() -> Decode:
    """Colors (..., 3) and the printed limit -> values (...): blue is negative, green tells magnitude."""

    def decode(pixels: npt.NDArray[np.uint8], limit: float) -> npt.NDArray[np.float64]:
        red, green, blue = (pixels[..., channel].astype(float) for channel in range(3))
        positive: Any = np.interp(green, (16, 128, 247), (1.0, 0.5, 0.0))
        negative: Any = np.interp(green, (58, 158, 247), (-1.0, -0.5, 0.0))
        values: npt.NDArray[np.float64] = np.where(red >= blue, positive, negative) * limit
        return values

    return decode


@pytest.fixture
def unsequential() -> Decode:
    """Colors (..., 3) and the printed upper end -> values (...): green rises with the value."""

    def decode(pixels: npt.NDArray[np.uint8], high: float) -> npt.NDArray[np.float64]:
        green = pixels[..., 1].astype(float)
        values: npt.NDArray[np.float64] = np.interp(green, (16, 66, 132, 192, 242), (0, 0.25, 0.5, 0.75, 1)) * high
        return values

    return decode
