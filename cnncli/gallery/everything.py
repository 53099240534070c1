"""All kinds of pictures, with their defaults."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from cnncli.errors import UsageError
from cnncli.gallery.calibration import calibration
from cnncli.gallery.confusion import confusion
from cnncli.gallery.effective import effective
from cnncli.gallery.embedding import embedding
from cnncli.gallery.exhibit import Exhibit
from cnncli.gallery.features import features
from cnncli.gallery.kernels import kernels
from cnncli.gallery.maximise import class_images
from cnncli.gallery.misclassified import misclassified
from cnncli.gallery.patches import patches
from cnncli.gallery.saliency import saliency
from cnncli.trained import TrainedRun

KINDS: Mapping[str, Callable[[TrainedRun], Iterable[Exhibit]]] = {
    "kernels": kernels,
    "features": features,
    "patches": patches,
    "saliency": saliency,
    "maximise": class_images,
    "confusion": confusion,
    "misclassified": misclassified,
    "calibration": calibration,
    "embedding": embedding,
    "effective": effective,
}
"""In the order of the lecture: what was learned, what it makes of an image, what excites it, where it errs."""


def everything(run: TrainedRun, *, notify: Callable[[str], None]) -> Iterator[Exhibit]:
    """The exhibits of every kind, one kind after the other.

    Args:
        run: whose exhibits they are.
        notify: gets a sentence for each kind that the network has nothing for.
    """
    for name, kind in KINDS.items():
        try:
            yield from kind(run)
        except UsageError as error:
            notify(f"no {name}: {error.message}")
