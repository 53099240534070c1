"""Whether a network is as sure as it is right.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017): images are put into bins
of equal width by the confidence of their prediction, and in each bin the mean confidence is compared with the accuracy.

Letters for shapes: N images, B bins.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

BINS = 15
"""As in the paper."""

Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Confidence against accuracy, bin by bin. Bin b holds confidences above b / B, up to (b + 1) / B.

    Attributes:
        counts: int64 (B,), images in each bin.
        confidence: (B,), their mean confidence; NaN in an empty bin.
        accuracy: (B,), the share of them that is right; likewise.
    """

    counts: npt.NDArray[np.int64]
    confidence: Values
    accuracy: Values

    @property
    def gaps(self) -> Values:
        """(B,), confidence - accuracy: above 0 where the network is too sure; 0 in an empty bin."""
        return np.nan_to_num(self.confidence - self.accuracy)

    @property
    def mean_confidence(self) -> float:
        """Over all images."""
        return self._mean(self.confidence)

    @property
    def mean_accuracy(self) -> float:
        """Over all images."""
        return self._mean(self.accuracy)

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


def calibration(confidence: Values, right: npt.NDArray[np.bool_], *, bins: int = BINS) -> Calibration:
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
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is the NaN that is wanted
        return Calibration(
            counts=counts,
            confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / counts,
            accuracy=np.bincount(bin_of, weights=right, minlength=bins) / counts,
        )
