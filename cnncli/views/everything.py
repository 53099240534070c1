"""All kinds of pictures, with their defaults."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from cnncli.errors import UsageError
from cnncli.run import Run
from cnncli.views.activation_maximization import class_images
from cnncli.views.calibration import calibration_view as calibration
from cnncli.views.confusion import confusion
from cnncli.views.effective_receptive_field import effective
from cnncli.views.embedding import embedding
from cnncli.views.feature_maps import features
from cnncli.views.kernels import kernels
from cnncli.views.mistakes import misclassified
from cnncli.views.patches import patches
from cnncli.views.saliency import saliency
from cnncli.views.view import Exhibit


def everything(run: Run, *, notify: Callable[[str], None]) -> Iterator[Exhibit]:
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


def _kinds(notify: Callable[[str], None]) -> Mapping[str, Callable[[Run], Iterable[Exhibit]]]:
    """In the order of the lecture: what was learned, what it makes of an image, what excites it, where it errs."""
    return {
        "kernels": kernels,
        "features": features,
        "patches": patches,
        "saliency": partial(saliency, notify=notify),
        "maximize": class_images,
        "confusion": confusion,
        "misclassified": partial(misclassified, notify=notify),
        "calibration": calibration,
        "embedding": embedding,
        "effective": effective,
    }
