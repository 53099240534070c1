"""Which classes a run takes for which."""

from collections.abc import Iterator

import numpy as np

from cnncli.gallery.exhibit import Exhibit
from cnncli.pictures.colour import Scale
from cnncli.pictures.confusion import confusion_picture, share_colours, shares_of_rows
from cnncli.pictures.tile import Tile
from cnncli.trained import TrainedRun

WORST = 5
"""Pairs of classes that are named."""


def confusion(run: TrainedRun) -> Iterator[Exhibit]:
    """The confusion matrix over the test images, and the pairs of classes that are confused most."""
    found = run.predictions
    share = f"{found.accuracy:.2%} of {len(found):,} test images are right"
    counts = found.confusion
    shares = shares_of_rows(counts)
    picture = confusion_picture(counts, run.classes, title=f"accuracy {found.accuracy:.2%}")
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [(int(each) // len(counts), int(each) % len(counts)) for each in order]
    yield Exhibit(
        tag="eval/confusion",
        title=share,
        pixels=picture.pixels,
        tiles=[
            Tile(
                label="rows: true; columns: taken for",
                values=counts.astype(np.float64),
                scale=Scale.from_zero(counts.astype(np.float64)),
                pixels=share_colours(shares),
            )
        ],
        numbers={"accuracy": found.accuracy},
        lines=[
            share,
            *(
                f"{run.classes[true]} taken for {run.classes[taken]}: {wrong[true, taken]:,} of "
                f"{counts[true].sum():,} ({shares[true, taken]:.1%})"
                for true, taken in pairs
                if wrong[true, taken]
            ),
        ],
    )
