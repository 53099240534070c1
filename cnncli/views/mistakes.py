"""The test images that a run gets wrong."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from cnncli.drawing.canvas import text_width
from cnncli.drawing.image import Tile, enlargement, thinning
from cnncli.drawing.sheet import Cell, Panel, Section, card, sheet
from cnncli.run import Run
from cnncli.views.view import Exhibit

_log = logging.getLogger(__name__)

COUNT = 24
"""Images shown, if no number is given."""
TILE, IN_CARD = 84, 56
"""Pixels for the longer side of an image: in a file, and in a TensorBoard card. Larger ones are thinned out."""


def misclassified(run: Run, *, count: int = COUNT) -> Iterator[Exhibit]:
    """The images that are wrong on one sheet, those first of which the network was surest; none where all are right.

    Args:
        run: whose test images they are.
        count: how many to show, at most.
    """
    found = run.predictions
    wrong = np.flatnonzero(~found.correct)
    if not len(wrong):
        _log.info(f"none of the {len(found):,} test images is wrong: there is nothing to show")
        return
    shown = wrong[np.argsort(-found.confidence[wrong], kind="stable")][:count].tolist()
    tiles, answers, others = [], [], []
    for number in shown:
        true, taken = (run.classes[each[number]] for each in (found.labels, found.predicted))
        sure = f"{found.confidence[number]:.1%}"
        picture = run.test.images[number]
        tiles.append(Tile.image(picture, label=f"test image {number}: {true} -> {taken}, {sure}"))
        answers.append((true, f"-> {taken}"))
        others.append((sure, f"#{number}"))
    every = f"{len(wrong):,} of {len(found):,} test images are wrong"
    which = f", and the {len(shown)} surest of them are shown" if len(shown) < len(wrong) else ""
    title = "wrong, surest first: true -> taken for"
    yield Exhibit(
        tag="eval/misclassified",
        title=every,
        pixels=sheet(
            [Section(cells=_cells(tiles, answers, others, TILE))],
            title=f"{len(shown)} of {len(wrong):,} {title}",
            captions=["Below each: how sure the network was, and the number of the test image."],
        ).pixels,
        card=card(
            lambda most: [
                Section(cells=_cells(tiles[:most], answers[:most], [each[:1] for each in others[:most]], IN_CARD))
            ],
            len(tiles),
            title=f"{len(wrong):,} {title}",
        ),
        tiles=tiles,
        numbers={"wrong": len(wrong)},
        lines=[every + which],
    )


def _cells(
    tiles: Sequence[Tile], answers: Sequence[tuple[str, str]], others: Sequence[tuple[str, ...]], side: int
) -> list[Cell]:
    """Images, the longer side as near to `side` pixels as a whole factor allows, each with its lines below.

    True and predicted class stand in one line where that is not much wider than the image, else in two.
    """
    if all(text_width(" ".join(answer)) <= side * 5 // 4 for answer in answers):
        lines = [(" ".join(answer), *other) for answer, other in zip(answers, others, strict=True)]
    else:
        lines = [(*answer, *other) for answer, other in zip(answers, others, strict=True)]
    cells = []
    for tile, below in zip(tiles, lines, strict=True):
        step = thinning(tile.values.shape, side)
        pixels = tile.pixels[::step, ::step]
        panel = Panel(pixels=pixels, scale=enlargement(pixels.shape[:2], side))
        cells.append(Cell(panels=[panel], below=below))
    return cells
