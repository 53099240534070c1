"""Images that were made to excite units, each beside the real one that excites its unit most."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.pictures.grid import Picture
from cnncli.pictures.patches import LARGEST, Cutting, patch_pixels
from cnncli.pictures.sheet import Cell, Panel, Section, enlargement, sheet, thinning

TILE = 56
"""Pixels for the longer side of a patch: a made one and a real one take a third of the sheet."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """What was made for a unit and the real patch that excites its filter most, with their activations."""

    name: str
    made: Cutting
    real: Cutting
    lines: Sequence[str]


def maximise_picture(pairs: Sequence[Pair], *, title: str, captions: Sequence[str]) -> Picture:
    """Pairs side by side: on the left what was made, on the right what is real.

    Returns:
        A picture with a box for each (0, pair, 0), the made one, and (0, pair, 1), the real one.
    """
    sizes = [side for pair in pairs for each in (pair.made, pair.real) for side in each.padding.shape]
    step = thinning(sizes, LARGEST)
    scale = enlargement([-(-side // step) for side in sizes], TILE)
    cells = [
        Cell(
            panels=[Panel(pixels=patch_pixels(each)[::step, ::step], scale=scale) for each in (pair.made, pair.real)],
            above=pair.name,
            below=pair.lines,
        )
        for pair in pairs
    ]
    return sheet([Section(cells=cells)], title=title, captions=captions, side_by_side=True)
