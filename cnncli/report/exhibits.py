"""Pictures of the gallery in the page."""

from collections.abc import Callable, Iterable
from typing import Any

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.kernels import kernels
from cnncli.report.encoded import png
from cnncli.trained import TrainedRun

Kind = Callable[[TrainedRun], Iterable[Exhibit]]

KINDS: tuple[tuple[str, Kind], ...] = (("Kernels of the best epoch", kernels),)
"""What is shown, under which heading: to show a kind is to name it here."""


def exhibits_data(run: TrainedRun) -> list[dict[str, Any]]:
    """The exhibits of each kind, as JSON."""
    return [
        {
            "heading": heading,
            "pictures": [
                {"title": each.title, "lines": list(each.lines), "png": png(each.pixels)} for each in kind(run)
            ],
        }
        for heading, kind in KINDS
    ]
