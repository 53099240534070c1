"""How different colors look to people with and without each kind of cone, as an oracle for palettes.

The matrices are those of Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency" (2009), for a complete deficiency; they apply to linear RGB. Differences are Euclidean in CIE L*a*b* (1976).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

VISION = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def linear(colors: Floats) -> Floats:
    """sRGB from 0 to 255 -> linear RGB from 0 to 1."""
    shares = colors / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def _lab(rgb: Floats) -> Floats:
    ratio = rgb @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def least_difference(colors: object) -> dict[str, float]:
    """For each kind of vision, the difference of the two colors (K, 3) that are most alike; about 2 can be seen."""
    rgb = linear(np.asarray(colors, dtype=np.float64))
    differences = {}
    for name, matrix in VISION.items():
        seen = _lab(np.clip(rgb @ np.array(matrix, dtype=np.float64).T, 0, 1))
        distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        differences[name] = float(distances[~np.eye(len(seen), dtype=bool)].min())
    return differences


def contrast(color: object, background: object) -> float:
    """The contrast ratio of WCAG 2.2."""
    luminance = [float(linear(np.asarray(each, dtype=np.float64)) @ _TO_XYZ[1]) for each in (color, background)]
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)
