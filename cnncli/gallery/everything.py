"""All kinds of pictures, with their defaults."""

from collections.abc import Callable, Iterable, Iterator

from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.kernels import kernels
from cnncli.gallery.maximise import class_images
from cnncli.gallery.patches import patches
from cnncli.gallery.saliency import saliency
from cnncli.trained import TrainedRun

_KINDS: tuple[Callable[[TrainedRun], Iterable[Exhibit]], ...] = (
    kernels,
    patches,
    saliency,
    class_images,  # those of all filters take long in a deep network
)


def everything(run: TrainedRun) -> Iterator[Exhibit]:
    """The exhibits of every kind, one kind after the other."""
    for kind in _KINDS:
        yield from kind(run)
