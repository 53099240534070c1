"""Images that were made to excite units, each beside the real one that excites its unit most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnncli.pictures.colour import Pixels
from cnncli.pictures.grid import Picture
from cnncli.pictures.image import enlargement, thinning
from cnncli.pictures.patches import LARGEST, Cutting, patch_pixels
from cnncli.pictures.sheet import Cell, Panel, Section, card, sheet

TILE, IN_CARD = 84, 28
"""Pixels for the longer side of a patch: in a file, and in a TensorBoard card."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """What was made for a unit and the real patch that excites its filter most.

    Attributes:
        name: of the filter.
        made, real: the two.
        lines: their activations, and where the real one is from.
        short: their activations in few characters.
    """

    name: str
    made: Cutting
    real: Cutting
    lines: Sequence[str]
    short: str


def maximise_picture(pairs: Sequence[Pair], *, title: str, captions: Sequence[str]) -> Picture:
    """Pairs side by side: on the left what was made, on the right what is real.

    Returns:
        A picture with a box for each (0, pair, 0), the made one, and (0, pair, 1), the real one.
    """
    cells = _cells(pairs, TILE, LARGEST)
    return sheet([Section(cells=cells)], title=title, captions=captions, side_by_side=True)


def maximise_card(pairs: Sequence[Pair], *, title: str) -> Pixels:
    """As many pairs as a TensorBoard card has room for, small and with their activations only: uint8 (H, W, 3)."""
    short = [replace(pair, lines=[pair.short]) for pair in pairs]
    cells = _cells(short, IN_CARD, IN_CARD)
    return card(lambda count: [Section(cells=cells[:count])], len(cells), title=title, side_by_side=True)


def _cells(pairs: Sequence[Pair], tile: int, largest: int) -> list[Cell]:
    sizes = [side for pair in pairs for each in (pair.made, pair.real) for side in each.padding.shape]
    step = thinning(sizes, largest)
    scale = enlargement([-(-side // step) for side in sizes], tile)
    return [
        Cell(
            panels=[Panel(pixels=patch_pixels(each)[::step, ::step], scale=scale) for each in (pair.made, pair.real)],
            above=pair.name,
            below=pair.lines,
        )
        for pair in pairs
    ]
