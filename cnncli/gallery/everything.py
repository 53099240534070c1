"""All kinds of pictures, with their defaults."""

from collections.abc import Callable, Iterable, Iterator

from cnncli.gallery.calibration import calibration
from cnncli.gallery.confusion import confusion
from cnncli.gallery.effective import effective
from cnncli.gallery.embedding import embedding
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.kernels import kernels
from cnncli.gallery.misclassified import misclassified
from cnncli.trained import TrainedRun

_KINDS: tuple[Callable[[TrainedRun], Iterable[Exhibit]], ...] = (
    kernels,
    confusion,
    misclassified,
    calibration,
    embedding,
    effective,
)


def everything(run: TrainedRun) -> Iterator[Exhibit]:
    """The exhibits of every kind, one kind after the other."""
    for kind in _KINDS:
        yield from kind(run)
