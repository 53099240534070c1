"""Both colour scales in the 256 colours that terminals have had since xterm.

To take the nearest of the 256 for each colour would make a pale red orange and a pale blue violet, and signs could not
be told. These few keep hue and order: blue, near white, red; and from dark to bright.
"""

import numpy as np

from cnncli.pictures.colour import NOT_FINITE, Pixels, Scale, Values

_BLUE = ((0, 0, 175), (0, 95, 215), (95, 135, 255), (135, 175, 255), (175, 215, 255))
_NEUTRAL = (238, 238, 238)
_RED = ((255, 175, 175), (255, 135, 135), (255, 95, 95), (215, 0, 0), (135, 0, 0))
DIVERGING = (*_BLUE, _NEUTRAL, *_RED)
SEQUENTIAL = (
    (0, 0, 95),
    (0, 0, 175),
    (0, 95, 135),
    (0, 135, 135),
    (0, 175, 135),
    (95, 215, 135),
    (215, 215, 135),
    (255, 255, 175),
)


def xterm_colours(values: Values, scale: Scale) -> Pixels:
    """The colours of values of any shape, the three channels behind it; each is one of the terminal's."""
    palette = np.array(DIVERGING if scale.signed else SEQUENTIAL, dtype=np.uint8)
    finite = np.isfinite(values)
    low = scale.low if scale.high > scale.low else scale.low - (1.0 if scale.signed else 0.0)
    whole = (scale.high - scale.low) or (2.0 if scale.signed else 1.0)
    shares = (np.where(finite, values, scale.low) - low) / whole
    pixels: Pixels = palette[np.rint(shares.clip(0, 1) * (len(palette) - 1)).astype(int)]
    pixels[~finite] = NOT_FINITE
    return pixels
