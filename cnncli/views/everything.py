"""All kinds of pictures, with their defaults."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

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

_log = logging.getLogger(__name__)


_KINDS: Mapping[str, Callable[[Run], Iterable[Exhibit]]] = {
    "kernels": kernels,
    "features": features,
    "patches": patches,
    "saliency": saliency,
    "maximize": class_images,
    "confusion": confusion,
    "misclassified": misclassified,
    "calibration": calibration,
    "embedding": embedding,
    "effective": effective,
}
"""In the order of the lecture: what was learned, what it makes of an image, what excites it, where it errs."""


def everything(run: Run) -> Iterator[Exhibit]:
    """The exhibits of every kind, one kind after the other.

    Args:
        run: whose exhibits they are.
    """
    for name, kind in _KINDS.items():
        try:
            yield from kind(run)
        except UsageError as error:
            _log.info(f"no {name}: {error.message}")
