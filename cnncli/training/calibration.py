"""The calibration of predictions: how their accuracy compares with their confidence.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017).

Letters for shapes: N images, B bins.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float64]

BINS = 15
"""As in the paper."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Bins:
    """The confidence and accuracy of each bin. Bin b holds confidences above b / B, up to (b + 1) / B.

    Attributes:
        counts: int64 (B,), images in each bin.
        confidence: (B,), their mean confidence; NaN in an empty bin.
        accuracy: (B,), the share of them that is correct, in the same form.
    """

    counts: npt.NDArray[np.int64]
    confidence: Values
    accuracy: Values

    @property
    def gaps(self) -> Values:
        """(B,), confidence - accuracy: above 0 where the network is overconfident; 0 in an empty bin."""
        return np.nan_to_num(self.confidence - self.accuracy)

    @property
    def mean_confidence(self) -> float:
        """Over all images."""
        return self._mean(self.confidence)

    @property
    def expected_error(self) -> float:
        """ECE: the mean over images of the size of their bin's gap."""
        return self._mean(np.abs(self.gaps))

    @property
    def maximum_error(self) -> float:
        """MCE: the largest gap of a bin that has images."""
        return float(np.abs(self.gaps).max())

    def _mean(self, values: Values) -> float:
        return float(np.nansum(self.counts * values) / self.counts.sum())


def bin_predictions(confidence: Values, right: npt.NDArray[np.bool_], *, bins: int = BINS) -> Bins:
    """Put predictions into bins.

    Args:
        confidence: (N,), of each prediction, above 0 and up to 1; at least one.
        right: (N,), whether it is right.
        bins: how many.
    """
    assert len(confidence), "a calibration needs images"
    edges = np.arange(1, bins) / bins  # between two bins
    bin_of = np.searchsorted(edges, confidence, side="left")  # an edge itself belongs to the bin below it
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is meant to be NaN
        return Bins(
            counts=counts,
            confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / counts,
            accuracy=np.bincount(bin_of, weights=right, minlength=bins) / counts,
        )
