"""All kinds of pictures, with their defaults."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

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


def everything(run: TrainedRun, *, notify: Callable[[str], None]) -> Iterator[Exhibit]:
    """The exhibits of every kind, one kind after the other.

    Args:
        run: whose exhibits they are.
        notify: gets a sentence for each kind that the network has nothing for, and what kinds have to say themselves.
    """
    for name, kind in _kinds(notify).items():
        try:
            yield from kind(run)
        except UsageError as error:
            notify(f"no {name}: {error.message}")


def _kinds(notify: Callable[[str], None]) -> Mapping[str, Callable[[TrainedRun], Iterable[Exhibit]]]:
    """In the order of the lecture: what was learned, what it makes of an image, what excites it, where it errs."""
    return {
        "kernels": kernels,
        "features": features,
        "patches": patches,
        "saliency": partial(saliency, notify=notify),
        "maximise": class_images,
        "confusion": confusion,
        "misclassified": partial(misclassified, notify=notify),
        "calibration": calibration,
        "embedding": embedding,
        "effective": effective,
    }
