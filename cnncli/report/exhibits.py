"""Pictures of the gallery in the page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.patches import patches
from cnncli.report.encoded import webp
from cnncli.trained import TrainedRun

SIZE = 1_000_000
"""Characters of all pictures of a kind in the page at most."""


@dataclass(frozen=True)
class Kind:
    """A kind of picture in the page: its anchor, its heading, and what makes it."""

    name: str
    heading: str
    make: Callable[[TrainedRun], Iterable[Exhibit]]


KINDS = (Kind("patches", "What excites the filters", patches),)
"""To show a kind is to name it here."""


def exhibits_data(run: TrainedRun, kinds: Sequence[Kind] = KINDS) -> list[dict[str, Any]]:
    """The first exhibits of each kind, as many as there is room for, as JSON; a kind without any is left out."""
    sections = []
    for kind in kinds:
        pictures = [
            {"title": each.title, "lines": list(each.lines), "webp": webp(each.pixels)} for each in kind.make(run)
        ]
        shown = _affordable([len(each["webp"]) for each in pictures])
        if shown:
            sections.append(
                {
                    "kind": kind.name,
                    "heading": kind.heading,
                    "pictures": pictures[:shown],
                    "left_out": len(pictures) - shown,
                }
            )
    return sections


def _affordable(sizes: Sequence[int]) -> int:
    """How many of the first there is room for; at least one, if there is any."""
    return max((i for i in range(len(sizes) + 1) if i <= 1 or sum(sizes[:i]) <= SIZE), default=0)
