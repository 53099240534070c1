"""The misclassified test images, on one sheet."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cnncli.drawing.image import Tile
from cnncli.drawing.sheet import Cell, Section, draw_card, draw_sections, fit_panels
from cnncli.drawing.text import Name, Words, text_width
from cnncli.views.view import Picture, View

if TYPE_CHECKING:
    from cnncli.run import Run

_log = logging.getLogger(__name__)

TILE, CARD_TILE = 84, 56
"""Pixels for the longer side of an image, in a file and in a card. Larger ones are subsampled."""


@dataclass(frozen=True, kw_only=True)
class Mistakes(View):
    """Misclassified test images, the most confident mistakes first.

    Examples:

      cnncli show mistakes runs/lenet5-20260131-120000

      cnncli show mistakes runs/lenet5-20260131-120000 --count 100
    """

    name = "mistakes"

    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="Maximum number of images.")] = 24

    def pictures(self, run: Run) -> Iterator[Picture]:
        """One sheet; none where every test image is right."""
        predictions = run.predictions
        wrong = np.flatnonzero(~predictions.correct)
        if not len(wrong):
            _log.info(f"all {len(predictions):,} test images are classified correctly: there are no mistakes to show")
            return
        order = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")].tolist()
        mistakes = [
            {
                "image": number,
                "true": run.classes[predictions.labels[number]],
                "predicted": run.classes[predictions.predicted[number]],
                "probability": float(predictions.confidence[number]),
            }
            for number in order
        ]
        shown = order[: self.count]
        tiles, answers, notes = [], [], []
        for number in shown:
            true, predicted = (run.classes[each[number]] for each in (predictions.labels, predictions.predicted))
            confidence = f"{predictions.confidence[number]:.1%}"
            label = f"test image {number}: {true} -> {predicted}, {confidence}"
            tiles.append(Tile.image(run.test.images[number], label=label))
            answers.append((Name(true), Name(predicted)))
            notes.append((confidence, f"#{number}"))
        count = f"{len(wrong):,} of {len(predictions):,} test images are misclassified"
        which = f"; the {len(shown)} most confident mistakes are shown" if len(shown) < len(wrong) else ""
        title = "mistakes, most confident first: true -> predicted"
        cells = _cells(tiles, answers, [each[:1] for each in notes], CARD_TILE)
        yield Picture(
            tag="eval/mistakes",
            title=count,
            canvas=draw_sections(
                [Section(cells=_cells(tiles, answers, notes, TILE))],
                title=f"{len(shown)} of {len(wrong):,} {title}",
                captions=["Below each: the confidence of the prediction, and the number of the test image."],
            ).canvas,
            card=draw_card(lambda most: [Section(cells=cells[:most])], len(cells), title=f"{len(wrong):,} {title}"),
            tiles=tiles,
            numbers={"wrong": len(wrong)},
            data={"mistakes": mistakes},
            lines=[count + which],
        )


def _cells(
    tiles: Sequence[Tile], answers: Sequence[tuple[Name, Name]], notes: Sequence[tuple[str, ...]], side: int
) -> list[Cell]:
    """Images, the longer side as near to `side` pixels as a whole factor allows, each with its lines below.

    True and predicted class stand in one line where that is not much wider than the image, else in two.
    """
    one_line: list[Words] = [[true, " -> ", predicted] for true, predicted in answers]
    lines: list[list[Words]]
    if all(text_width(each) <= side * 5 // 4 for each in one_line):
        lines = [[each, *note] for each, note in zip(one_line, notes, strict=True)]
    else:
        lines = [[[true], ["-> ", predicted], *note] for (true, predicted), note in zip(answers, notes, strict=True)]
    panels = (fit_panels([tile.pixels], side=side) for tile in tiles)
    return [Cell(panels=panel, below=below) for panel, below in zip(panels, lines, strict=True)]
