"""What the numbers mean, in words, with an edit to consider. Each kind of hint has a name and a page in the docs."""

from collections.abc import Callable, Collection, Iterator

from cnncli.analysis.hints.base import Hint, Subject
from cnncli.analysis.hints.cost import most_parameters
from cnncli.analysis.hints.coverage import border, critical, unread, whole_input
from cnncli.analysis.hints.windows import checkerboard, dropped, even_kernel, holes, skipped

HINTS: dict[str, Callable[[Subject], Iterator[Hint]]] = {
    "whole-input": whole_input,
    "unread": unread,
    "dropped": dropped,
    "skipped": skipped,
    "holes": holes,
    "critical": critical,
    "border": border,
    "even-kernel": even_kernel,
    "checkerboard": checkerboard,
    "most-parameters": most_parameters,
}
"""Name of a kind of hint -> what finds it."""


def find_hints(subject: Subject, ignore: Collection[str] = ()) -> tuple[Hint, ...]:
    """All hints but those whose names are to be ignored, in the order of `HINTS` and then of layers."""
    return tuple(hint for name, find in HINTS.items() if name not in ignore for hint in find(subject))


__all__ = ["HINTS", "Hint", "Subject", "find_hints"]
