"""The effective field as a picture: where its frames lie."""

import numpy as np

from cnncli.drawing.canvas import FRAME
from cnncli.views.effective_receptive_field import effective_picture


def test_squares_lie_around_the_center() -> None:
    """11 x 11 pixels, enlarged 12 times; the square of 3 around (6, 4) holds rows 5 to 7 and columns 3 to 5."""
    nothing = np.zeros((11, 11))
    pixels = effective_picture({"trained": (nothing, {50: 3})}, field=((1, 10), (0, 9)), center=(6.0, 4.0), title="")
    framed = (pixels == FRAME).all(axis=2)
    top, left = np.argwhere(framed).min(axis=0) + 1  # of the tile, inside its own frame
    across, down = (np.flatnonzero(line) for line in (framed[top + 6 * 12 + 6], framed[:, left + 4 * 12 + 6]))
    assert (across - left).tolist() == [-1, 0, 3 * 12, 6 * 12 - 1, 10 * 12 - 1, 11 * 12]
    assert (down - top).tolist() == [-1, 12, 5 * 12, 8 * 12 - 1, 11 * 12 - 1, 11 * 12]
