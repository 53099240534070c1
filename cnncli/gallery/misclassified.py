"""The test images that a run gets wrong."""

from collections.abc import Callable, Iterator

import numpy as np

from cnncli.gallery.exhibit import Exhibit
from cnncli.pictures.image_sheet import Shown, image_sheet
from cnncli.pictures.tile import Tile
from cnncli.trained import TrainedRun

COUNT = 24
"""Images shown, if no number is given."""


def misclassified(
    run: TrainedRun, *, count: int = COUNT, notify: Callable[[str], None] = lambda message: None
) -> Iterator[Exhibit]:
    """The images that are wrong on one sheet, those first of which the network was surest; none where all are right.

    Args:
        run: whose test images they are.
        count: how many to show, at most.
        notify: told if there is nothing to show.
    """
    found = run.predictions
    wrong = np.flatnonzero(~found.right)
    if not len(wrong):
        notify(f"none of the {len(found):,} test images is wrong: there is nothing to show")
        return
    shown = wrong[np.argsort(-found.confidence[wrong], kind="stable")][:count].tolist()
    tiles, images, small = [], [], []
    for number in shown:
        seen = run.seen(str(number))
        true, taken = (run.classes[each[number]] for each in (found.labels, found.predicted))
        sure = f"{found.confidence[number]:.1%}"
        tile = Tile.image(seen.picture, label=f"test image {number}: {true} -> {taken}, {sure}")
        tiles.append(tile)
        images.append(Shown(tile.pixels, (true, f"-> {taken}", sure, f"image {number}")))
        small.append(Shown(tile.pixels, (f"{true} -> {taken}", sure)))
    every = f"{len(wrong):,} of {len(found):,} test images are wrong"
    which = f", and the {len(shown)} surest of them are shown" if len(shown) < len(wrong) else ""
    title = f"{len(wrong):,} wrong, surest first: true -> taken for"
    yield Exhibit(
        tag="eval/misclassified",
        title=every,
        pixels=image_sheet(images, title=f"{len(shown)} of {title}").pixels,
        card=image_sheet(small, title=title, card=True).pixels,
        tiles=tiles,
        numbers={"wrong": len(wrong)},
        lines=[every + which, *(tile.label for tile in tiles[:3])],
    )
